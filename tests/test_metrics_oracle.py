"Metrics equal trec_eval's, by way of pytrec_eval, on random graded cases with everything that can go wrong in a run"

import numpy as np
import pytest

from trove_nb.evaluation.metrics import IRMetrics

pytrec_eval = pytest.importorskip('pytrec_eval')

n_queries = 4000
asked = [
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
# ids whose numeric, code-unit and byte orders differ
ids = np.array(
    [f'd{i}' for i in range(30)] + ['D1', 'd', 'é', 'z', 'ﬀ', '𝒅', '日本', 'd-1', 'd 1'], dtype=object
)


def random_case(rng):
    "A run and its qrels: rounded scores, unjudged documents, negative labels, short and empty rankings"
    retrieved = rng.permutation(len(ids))[: rng.integers(0, len(ids))]
    judged = rng.permutation(len(ids))[: rng.integers(1, 12)]
    scores = rng.normal(size=len(retrieved)).round(rng.integers(0, 9))
    labels = rng.integers(-2, 4, len(judged)) if rng.random() < 0.9 else np.zeros(len(judged), int)
    if labels.max() < -1:
        labels[0] = -1  # pytrec_eval crashes on a query whose labels are all below -1
    return dict(zip(ids[retrieved], scores.tolist())), dict(zip(ids[judged], labels.tolist()))


@pytest.fixture(scope='module')
def cases():
    rng = np.random.default_rng(0)
    pairs = {f'q{i}': random_case(rng) for i in range(n_queries)}
    return {q: run for q, (run, _) in pairs.items()}, {q: qrel for q, (_, qrel) in pairs.items()}


def oracle(run, qrels, names, relevance_threshold):
    found = pytrec_eval.RelevanceEvaluator(qrels, set(names), relevance_level=relevance_threshold).evaluate(
        run
    )
    return lambda metric_ids: np.array([[found.get(q, {}).get(m, 0.0) for m in metric_ids] for q in qrels])


@pytest.mark.parametrize('relevance_threshold', [1, 2])
def test_equals_trec_eval(cases, relevance_threshold):
    measured = IRMetrics(measures=asked, relevance_threshold=relevance_threshold).evaluate(*cases)
    expected = oracle(*cases, asked, relevance_threshold)(measured.metric_ids)
    assert {'map', 'ndcg', 'recip_rank', 'Rprec'} <= set(measured.metric_ids) and measured.values.shape == (
        n_queries,
        len(measured.metric_ids),
    )
    assert (expected > 0).any(0).all() and (expected < 1).any(0).all()
    np.testing.assert_allclose(measured.values, expected, rtol=0, atol=1e-9)


def test_cases_are_hard(cases):
    run, qrels = cases
    tied = sum(len(set(map(np.float32, r.values()))) < len(r) for r in run.values())
    assert tied > 900
    assert sum(not r for r in run.values()) > 50
    assert sum(max(j.values()) < 1 for j in qrels.values()) > 300
    assert sum(bool(set(r) - set(qrels[q])) for q, r in run.items()) > 1000


def test_mrr_cut_is_recip_rank_of_what_stands_above(cases):
    "trec_eval has no mrr_cut, so its recip_rank is taken where it's large enough"
    run, qrels = cases
    full = oracle(run, qrels, ['recip_rank'], 1)(['recip_rank'])[:, 0]
    for cutoff in (1, 3, 10):
        expected = np.where(full >= 1 / cutoff - 1e-12, full, 0)
        found = IRMetrics(measures=f'mrr_cut_{cutoff}').evaluate(run, qrels).values[:, 0]
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)


def test_scores_are_compared_as_32_bit_floats():
    run, qrels = {'q': {'a': 1.0 + 1e-12, 'b': 1.0}}, {'q': {'a': 1, 'b': 0}}
    expected = pytrec_eval.RelevanceEvaluator(qrels, {'recip_rank'}).evaluate(run)['q']['recip_rank']
    assert IRMetrics(measures='recip_rank').compute(run, qrels)['recip_rank'] == expected == 0.5


def test_groups_are_ranked_as_runs_are(cases):
    "The trainer's path gives what the nested dicts give when ids stand in column order"
    rng = np.random.default_rng(1)
    scores, labels = rng.normal(size=(50, 9)).round(0), rng.integers(-1, 3, (50, 9))
    columns = [f'{i}' for i in range(9)]
    as_dicts = lambda table: {f'{i}': dict(zip(columns, row)) for i, row in enumerate(table.tolist())}
    metrics = IRMetrics([1, 3, 9])
    metrics.add_logits(scores, labels)
    np.testing.assert_array_equal(
        metrics.per_query, metrics.evaluate(as_dicts(scores), as_dicts(labels)).values
    )
