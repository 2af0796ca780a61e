"""Metrics equal those of trec_eval, by way of pytrec_eval

The random graded cases hold everything that can go wrong in a run."""

import numpy as np
import pytest

from trove_nb.evaluation.metrics import IRMetrics

pytrec_eval = pytest.importorskip('pytrec_eval')

N_QUERIES = 4000
METRIC_NAMES = [
    'map',
    'ndcg',
    'recip_rank',
    'Rprec',
    'P.1,5,20',
    'recall.1,5,20',
    'map_cut.1,5,20',
    'ndcg_cut.1,5,20',
    'success.1,5,20',
]
# numeric order, code-unit order and byte order of these ids differ
IDS = np.array(
    [f'd{i}' for i in range(30)] + ['D1', 'd', 'é', 'z', 'ﬀ', '𝒅', '日本', 'd-1', 'd 1'], dtype=object
)


def random_case(rng):
    "A run and its qrels: rounded scores, unjudged documents, negative labels, short and empty rankings"
    retrieved = rng.permutation(len(IDS))[: rng.integers(0, len(IDS))]
    judged = rng.permutation(len(IDS))[: rng.integers(1, 12)]
    scores = rng.normal(size=len(retrieved)).round(rng.integers(0, 9))
    labels = rng.integers(-2, 4, len(judged)) if rng.random() < 0.9 else np.zeros(len(judged), int)
    if labels.max() < -1:
        labels[0] = -1  # pytrec_eval crashes on a query whose labels are all below -1
    run = dict(zip(IDS[retrieved], scores.tolist()))
    return run, dict(zip(IDS[judged], labels.tolist()))


@pytest.fixture(scope='module')
def cases():
    rng = np.random.default_rng(0)
    pairs = {f'q{i}': random_case(rng) for i in range(N_QUERIES)}
    run = {qid: scores for qid, (scores, _) in pairs.items()}
    qrels = {qid: labels for qid, (_, labels) in pairs.items()}
    return run, qrels


def oracle(run, qrels, names, metric_ids, relevance_threshold):
    "trec_eval's values, a row for each query of the qrels"
    evaluator = pytrec_eval.RelevanceEvaluator(qrels, set(names), relevance_level=relevance_threshold)
    found = evaluator.evaluate(run)
    rows = []
    for qid in qrels:
        values = found.get(qid, {})
        rows.append([values.get(metric_id, 0.0) for metric_id in metric_ids])
    return np.array(rows)


@pytest.mark.parametrize('relevance_threshold', [1, 2])
def test_equals_trec_eval(cases, relevance_threshold):
    metrics = IRMetrics(measures=METRIC_NAMES, relevance_threshold=relevance_threshold)
    per_query = metrics.evaluate(*cases)
    expected = oracle(*cases, METRIC_NAMES, per_query.metric_ids, relevance_threshold)
    assert {'map', 'ndcg', 'recip_rank', 'Rprec'} <= set(per_query.metric_ids)
    assert per_query.values.shape == (N_QUERIES, len(per_query.metric_ids))
    assert (expected > 0).any(0).all() and (expected < 1).any(0).all()
    np.testing.assert_allclose(per_query.values, expected, rtol=0, atol=1e-9)


def test_cases_are_hard(cases):
    run, qrels = cases
    tied = [len(set(map(np.float32, scores.values()))) < len(scores) for scores in run.values()]
    unjudged = [bool(set(scores) - set(qrels[qid])) for qid, scores in run.items()]
    assert sum(tied) > 900
    assert sum(not scores for scores in run.values()) > 50
    assert sum(max(labels.values()) < 1 for labels in qrels.values()) > 300
    assert sum(unjudged) > 1000


def test_mrr_cut_is_recip_rank_of_what_stands_above(cases):
    "trec_eval has no mrr_cut, so its recip_rank is taken where it's large enough"
    run, qrels = cases
    full = oracle(run, qrels, ['recip_rank'], ['recip_rank'], 1)[:, 0]
    for cutoff in (1, 3, 10):
        expected = np.where(full >= 1 / cutoff - 1e-12, full, 0)
        found = IRMetrics(measures=f'mrr_cut_{cutoff}').evaluate(run, qrels).values[:, 0]
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)


def test_scores_are_compared_as_32_bit_floats():
    run, qrels = {'q': {'a': 1.0 + 1e-12, 'b': 1.0}}, {'q': {'a': 1, 'b': 0}}
    expected = pytrec_eval.RelevanceEvaluator(qrels, {'recip_rank'}).evaluate(run)['q']['recip_rank']
    assert IRMetrics(measures='recip_rank').compute(run, qrels)['recip_rank'] == expected == 0.5


def as_nested_dict(table):
    "A table as a run or as qrels, whose document ids stand in the order of its columns"
    columns = [f'{i}' for i in range(table.shape[1])]
    return {f'{i}': dict(zip(columns, row)) for i, row in enumerate(table.tolist())}


def test_groups_are_ranked_as_runs_are():
    "The trainer's path gives what the nested dicts give when ids stand in column order"
    rng = np.random.default_rng(1)
    scores, labels = rng.normal(size=(50, 9)).round(0), rng.integers(-1, 3, (50, 9))
    metrics = IRMetrics([1, 3, 9])
    metrics.add_logits(scores, labels)
    per_query = metrics.evaluate(as_nested_dict(scores), as_nested_dict(labels))
    np.testing.assert_array_equal(metrics.per_query.to_pandas(), per_query.values)
