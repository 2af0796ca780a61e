"pytrec_eval, given the run file that we wrote, finds the metrics that we computed from memory"

import numpy as np
import pytest

from trove_nb.evaluation.metrics import IRMetrics
from trove_nb.evaluation.trec import TrecRun, read_run_file, write_run_file

pytrec_eval = pytest.importorskip('pytrec_eval')

METRIC_NAMES = ['ndcg_cut.10', 'map', 'recip_rank', 'P.5']


def random_run(rng, ids):
    "A hundred queries with 30 passages each; every other query has tied scores"
    run = {}
    for i in range(100):
        passages = rng.permutation(ids)[:30].tolist()
        scores = rng.normal(size=30).round(1 if i % 2 else 9)
        run[f'q{i}'] = dict(zip(passages, scores.tolist()))
    return run


def test_metrics_of_the_file(tmp_path):
    rng = np.random.default_rng(0)
    ids = [f'd{i}' for i in range(60)]
    run = random_run(rng, ids)
    qrels = {qid: dict(zip(rng.permutation(ids)[:9].tolist(), rng.integers(0, 3, 9).tolist())) for qid in run}
    path = tmp_path / 'run.trec'
    write_run_file(path, TrecRun.from_nested_dict(run))
    with path.open() as f:
        theirs = pytrec_eval.RelevanceEvaluator(qrels, set(METRIC_NAMES)).evaluate(pytrec_eval.parse_run(f))
    metrics = IRMetrics(measures=METRIC_NAMES)
    ours = metrics.evaluate(run, qrels)
    for qid, values in zip(ours.qids, ours.values):
        expected = [theirs[qid][metric_id] for metric_id in ours.metric_ids]
        np.testing.assert_allclose(values, expected, rtol=0, atol=1e-9)
    read_back = metrics.evaluate(read_run_file(path).to_nested_dict(), qrels)
    np.testing.assert_array_equal(read_back.values, ours.values)
