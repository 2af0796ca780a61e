"""Time of IRMetrics against pytrec_eval on the same nested dicts.

    python bench/bench_metrics.py [--queries 6980] [--docs 100] [--rounds 7]

The two take turns, so that a busy machine slows both; the figure is the ratio of their medians. Both
start from Python dicts and end with per-query values. pytrec_eval is optional: without it only our own
time is printed."""

import argparse
from statistics import median
from time import perf_counter

import numpy as np

from trove_nb.evaluation.metrics import IRMetrics

names = ['ndcg_cut.10', 'recall.100', 'map_cut.100', 'P.10']


def data(n_queries, n_docs, decimals):
    "A run of random scores and one to three relevant documents per query, some of them retrieved"
    rng = np.random.default_rng(0)
    ids = np.array([str(i) for i in range(1_000_000)], dtype=object)
    docs = rng.integers(0, len(ids), (n_queries, n_docs))
    scores = np.sort(rng.normal(20, 3, docs.shape))[:, ::-1].astype(np.float32).round(decimals)
    run = {f'q{i}': dict(zip(ids[d], s)) for i, (d, s) in enumerate(zip(docs, scores.tolist()))}
    qrels = {}
    for i, retrieved in enumerate(docs):
        relevant = [*ids[rng.choice(retrieved, 2)], *ids[rng.integers(0, len(ids), 1)]]
        qrels[f'q{i}'] = dict.fromkeys(relevant, 1)
    return run, qrels


def timed(f):
    start = perf_counter()
    result = f()
    return perf_counter() - start, result


def contenders(run, qrels):
    yield 'trove_nb', lambda: IRMetrics(measures=names).evaluate(run, qrels)
    try:
        import pytrec_eval
    except ImportError:
        return
    yield 'pytrec_eval', lambda: pytrec_eval.RelevanceEvaluator(qrels, set(names)).evaluate(run)


if __name__ == '__main__':
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, default in dict(queries=6980, docs=100, rounds=7).items():
        parser.add_argument(f'--{name}', type=int, default=default)
    args = parser.parse_args()
    for what, decimals in {'scores with few ties': 6, 'scores with ties in every query': 1}.items():
        rivals = dict(contenders(*data(args.queries, args.docs, decimals)))
        times = {k: [] for k in rivals}
        for _ in range(args.rounds):
            for k, f in rivals.items():
                times[k].append(timed(f)[0])
        seconds = {k: median(v) for k, v in times.items()}
        compared = 'pytrec_eval is not installed'
        if 'pytrec_eval' in seconds:
            compared = f'pytrec_eval/trove_nb = {seconds["pytrec_eval"] / seconds["trove_nb"]:.2f}'
        print(what, {k: f'{v:.3f} s' for k, v in seconds.items()}, compared)
