"pytrec_eval, given the run file that we wrote, finds the metrics that we computed from memory"

import numpy as np
import pytest

from trove_nb.evaluation.metrics import IRMetrics
from trove_nb.evaluation.trec import TrecRun, read_run_file, write_run_file

pytrec_eval = pytest.importorskip('pytrec_eval')


def test_metrics_of_the_file(tmp_path):
    rng = np.random.default_rng(0)
    ids = [f'd{i}' for i in range(60)]
    run = {
        f'q{i}': dict(
            zip(rng.permutation(ids)[:30].tolist(), rng.normal(size=30).round(1 if i % 2 else 9).tolist())
        )
        for i in range(100)
    }
    qrels = {q: dict(zip(rng.permutation(ids)[:9].tolist(), rng.integers(0, 3, 9).tolist())) for q in run}
    metrics = IRMetrics(measures=['ndcg_cut.10', 'map', 'recip_rank', 'P.5'])
    path = tmp_path / 'run.trec'
    write_run_file(path, TrecRun.from_nested_dict(run))
    with path.open() as f:
        theirs = pytrec_eval.RelevanceEvaluator(qrels, {'ndcg_cut.10', 'map', 'recip_rank', 'P.5'}).evaluate(
            pytrec_eval.parse_run(f)
        )
    measured = metrics.evaluate(run, qrels)
    expected = np.array([[theirs[q][m] for m in measured.metric_ids] for q in measured.qids])
    np.testing.assert_allclose(measured.values, expected, rtol=0, atol=1e-9)
    np.testing.assert_array_equal(
        metrics.evaluate(read_run_file(path).to_nested_dict(), qrels).values, measured.values
    )
