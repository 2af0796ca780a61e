"A preview's numbers are those of the dataset, on random collections and configs"

from collections import Counter
from itertools import pairwise

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trove_nb.core.errors import DataError
from trove_nb.data.arguments import DataArguments
from trove_nb.data.datasets import BinaryDataset, MultiLevelDataset
from trove_nb.data.pipeline import QRelPipeline
from trove_nb.data.preview import preview
from trove_nb.data.qrel_config import MaterializedQRelConfig
from trove_nb.testing import write_texts

slow_files = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)


def worst_and_best(group):
    worst = min(group, key=lambda row: row['score'])
    best = max(group, key=lambda row: row['score'])
    return [worst, dict(best, score=9)]


def is_even(row):
    return int(row['docid'][1:]) % 2 == 0


def plus_half(row):
    return row['score'] + 0.5


FILTERS = [None, None, is_even, pl.col('docid') != 'd1', pl.col('score') > 0]
TRANSFORMS = [None, None, 1, 'floor', plus_half, pl.col('score') * 10]
SELECTIONS = [{f'group_{name}_k': k} for name in ('top', 'bottom', 'first', 'random') for k in (1, 2)]
judgements = st.tuples(st.integers(0, 4), st.integers(0, 6), st.sampled_from([0, 1, 2, 3, 1.5]))
sources = st.fixed_dictionaries(
    dict(
        files=st.lists(st.lists(judgements, min_size=1, max_size=25), min_size=1, max_size=2),
        low=st.sampled_from([None, None, 0, 1]),
        high=st.sampled_from([None, None, 2, 3]),
        filter_fn=st.sampled_from(FILTERS),
        score_transform=st.sampled_from(TRANSFORMS),
        group=st.sampled_from([{}, {}, *SELECTIONS, {'group_filter_fn': worst_and_best}]),
        subset=st.sampled_from([None, None, ['q0', 'q1', 'q9']]),
    )
)


class Files:
    "Configs for what was drawn; the texts of one of five queries and one of seven passages may be missing"

    def __init__(self, folder, complete):
        self.folder, self.n = folder, 0
        n_queries, n_passages = (5, 7) if complete else (4, 6)
        write_texts(folder / 'queries.jsonl', {f'q{i}': f'queries {i}' for i in range(n_queries)})
        write_texts(folder / 'corpus.jsonl', {f'd{i}': f'corpus {i}' for i in range(n_passages)})

    def write(self, rows):
        "A new file of judgements"
        self.n += 1
        path = self.folder / f'{self.n}.tsv'
        lines = [f'{query}\t{passage}\t{score}' for query, passage, score in rows]
        path.write_text('\n'.join(['qid\tdocid\tscore', *lines]))
        return path

    def config(self, drawn):
        qrels = []
        for rows in drawn['files']:
            qrels.append(self.write((f'q{query}', f'd{passage}', score) for query, passage, score in rows))
        subset = None
        if drawn['subset']:
            subset = [self.write((query, 'd0', 1) for query in drawn['subset'])]
        return MaterializedQRelConfig(
            qrels,
            self.folder / 'corpus.jsonl',
            self.folder / 'queries.jsonl',
            min_score=drawn['low'],
            max_score=drawn['high'],
            filter_fn=drawn['filter_fn'],
            score_transform=drawn['score_transform'],
            query_subset_path=subset,
            **drawn['group'],
        )


def count(triplets):
    "The counts of [(query, passage, score)]"
    queries = Counter(query for query, _, _ in triplets)
    passages = {passage for _, passage, _ in triplets}
    labels = Counter(float(score) for _, _, score in triplets)
    extremes = (min(queries.values()), max(queries.values()))
    return dict(
        queries=len(queries),
        passages=len(passages),
        judgements=len(triplets),
        labels=labels,
        extremes=extremes,
    )


def counts_of(tally):
    "The counts of a tally"
    return dict(
        queries=tally.queries,
        passages=tally.passages,
        judgements=tally.judgements,
        labels=Counter({float(label): n for label, n in tally.labels.items()}),
        extremes=(tally.per_query[0], tally.per_query[-1]),
    )


def check_flow(seen, n_pools, n_examples=5):
    "What goes into a step came out of the one before, and what is missing is accounted for"
    for earlier, later in pairwise(seen):
        if (earlier.pool, earlier.source_index) == (later.pool, later.source_index):
            assert later.before == earlier.after
    for stage in seen:
        if stage.name == 'load':
            continue
        if stage.name != 'group_filter_fn':
            assert stage.before.judgements - stage.after.judgements == stage.left_out
            assert bool(stage.examples) == bool(stage.left_out or stage.changed)
        assert len(stage.examples) <= n_examples
        assert sum(stage.after.labels.values()) == stage.after.judgements
    assert len(seen.totals) == n_pools
    assert len(seen._repr_html_()) > len(seen.svg()) > 0 and repr(seen)


@pytest.fixture(scope='module')
def folders(tmp_path_factory):
    return lambda: tmp_path_factory.mktemp('preview')


@slow_files
@given(st.lists(sources, min_size=1, max_size=3), st.booleans(), st.integers(0, 3), st.integers(0, 2))
def test_graded(folders, drawn, complete, epoch, seed):
    files = Files(folders(), complete)
    configs = [files.config(source) for source in drawn]
    try:
        data = MultiLevelDataset(DataArguments(group_size=1, on_missing='drop'), qrel_config=configs)
    except DataError:
        assert any('stopped' in note for note in preview(configs).notes)
        return
    data.set_epoch(epoch)
    data.set_seed(seed)
    seen = data.preview()
    triplets = []
    for query, labels in data.get_qrel_nested_dict().items():
        triplets += [(query, passage, score) for passage, score in labels.items()]
    assert counts_of(seen.totals['judged']) == count(triplets)
    assert seen.totals['judged'].queries == len(data)
    for i, pipeline in enumerate(data.pools['judged'].pipelines):
        last = [stage for stage in seen if stage.source_index == i][-1]
        assert counts_of(last.after) == count(pipeline.triplets(seed, epoch).rows())
    check_flow(seen, 1)


@slow_files
@given(
    st.lists(sources, min_size=1, max_size=2),
    st.lists(sources, min_size=1, max_size=2),
    st.booleans(),
    st.integers(0, 3),
)
def test_binary(folders, positives, negatives, complete, epoch):
    files = Files(folders(), complete)
    positive_configs = [files.config(source) for source in positives]
    negative_configs = [files.config(source) for source in negatives]
    try:
        data = BinaryDataset(
            DataArguments(group_size=2, on_missing='drop', on_overlap='drop'),
            positive_configs=positive_configs,
            negative_configs=negative_configs,
        )
    except DataError:
        return
    data.set_epoch(epoch)
    seen = data.preview()
    used = set(data._query_rows.tolist())
    for name, pool in data.pools.items():
        columns = [column.tolist() for column in pool.at(0, epoch).columns]
        triplets = [row for row in zip(*columns) if row[0] in used]
        assert counts_of(seen.totals[name]) == count(triplets)
        assert seen.totals[name].queries == len(data)
    check_flow(seen, 2)


@slow_files
@given(sources)
def test_steps_of_a_pipeline_without_texts(folders, drawn):
    config = Files(folders(), True).config(drawn)
    config.query_path, config.corpus_path = [], []
    pipeline = QRelPipeline(config)
    try:
        left = pipeline.triplets(3, 1)
    except DataError:
        left = None
    seen = pipeline.preview(seed=3, epoch=1)
    steps = seen.to_pandas()
    assert any('stopped' in note for note in seen.notes) == (left is None)
    if left is not None:
        assert counts_of(seen[-1].after) == count(left.rows())
        heights = [stage.after.height for stage in pipeline.trace(3, 1)]
        assert steps['judgements_out'].tolist() == heights


def test_reasons(tmp_path):
    "One example of each reason, worked out by hand"
    drawn = dict(
        files=[
            [
                (0, 0, 0),
                (0, 1, 1),
                (0, 2, 3),
                (0, 3, 2),
                (0, 4, 1),
                (1, 0, 3),
                (1, 6, 2),
                (4, 0, 1),
                (0, 4, 2),
                (2, 0, 2),
                (0, 5, 1),
            ]
        ],
        low=1,
        high=3,
        filter_fn=lambda row: row['docid'] != 'd5',
        score_transform=pl.col('score') + 2,
        group={'group_top_k': 1},
        subset=['q0', 'q1', 'q4'],
    )
    seen = preview(Files(tmp_path, False).config(drawn))
    assert {stage.name: stage.examples for stage in seen} == {
        'load': (),
        'query subset': ('q2 d0: query id not in the subset',),
        '1 <= score < 3': (
            'q0 d0: score 0 is below min_score 1',
            'q0 d2: score 3 is not below max_score 3',
            'q1 d0: score 3 is not below max_score 3',
        ),
        'filter_fn': ('q0 d5: filter_fn gave False',),
        'texts found': ("q1 d6: no text for passage id 'd6'", "q4 d0: no text for query id 'q4'"),
        'repeated pairs': (
            'q0 d4: judged 2 times, with scores 1, 2: the last one counts, at the first place',
            'q0 d4: score 1 became 2',
        ),
        'group_top_k = 1': (
            'q0 d1: rank 3 of 3 by score, group_top_k = 1',
            'q0 d4: rank 2 of 3 by score, group_top_k = 1',
        ),
        'score_transform': ('q0 d3: score 2 became 4',),
    }
