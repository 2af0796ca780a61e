"A preview's numbers are those of the dataset, on random collections and configs"

import json
from collections import Counter

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trove_nb.core.errors import DataError
from trove_nb.data.datasets import BinaryDataset, DataArguments, MultiLevelDataset
from trove_nb.data.pipeline import MaterializedQRelConfig, QRelPipeline
from trove_nb.data.preview import preview

slow_files = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)


def worst_and_best(group):
    return [min(group, key=lambda r: r['score']), dict(max(group, key=lambda r: r['score']), score=9)]


def is_even(row):
    return int(row['docid'][1:]) % 2 == 0


def plus_half(row):
    return row['score'] + 0.5


FILTERS = [None, None, is_even, pl.col('docid') != 'd1', pl.col('score') > 0]
TRANSFORMS = [None, None, 1, 'floor', plus_half, pl.col('score') * 10]
GROUPS = [
    {},
    {},
    *({f'group_{o}_k': k} for o in ('top', 'bottom', 'first', 'random') for k in (1, 2)),
    {'group_filter_fn': worst_and_best},
]
rows = st.lists(
    st.tuples(st.integers(0, 4), st.integers(0, 6), st.sampled_from([0, 1, 2, 3, 1.5])),
    min_size=1,
    max_size=25,
)
wanted = st.fixed_dictionaries(
    dict(
        files=st.lists(rows, min_size=1, max_size=2),
        low=st.sampled_from([None, None, 0, 1]),
        high=st.sampled_from([None, None, 2, 3]),
        filter_fn=st.sampled_from(FILTERS),
        score_transform=st.sampled_from(TRANSFORMS),
        group=st.sampled_from(GROUPS),
        subset=st.sampled_from([None, None, ['q0', 'q1', 'q9']]),
    )
)


class Files:
    "Configs for what was drawn; two of five queries' texts and two of seven passages' may be missing"

    def __init__(self, folder, complete):
        self.folder, self.n = folder, 0
        for name, letter, n in (
            ('queries', 'q', 5 if complete else 4),
            ('corpus', 'd', 7 if complete else 6),
        ):
            (folder / f'{name}.jsonl').write_text(
                '\n'.join(json.dumps({'_id': f'{letter}{i}', 'text': f'{name} {i}'}) for i in range(n))
            )

    def write(self, text):
        self.n += 1
        (path := self.folder / f'{self.n}.tsv').write_text(text)
        return path

    def config(self, o):
        qrels = [
            self.write('qid\tdocid\tscore\n' + '\n'.join(f'q{q}\td{d}\t{s}' for q, d, s in rows))
            for rows in o['files']
        ]
        subset = o['subset'] and [
            self.write('qid\tdocid\tscore\n' + '\n'.join(f'{q}\td0\t1' for q in o['subset']))
        ]
        return MaterializedQRelConfig(
            qrels,
            self.folder / 'corpus.jsonl',
            self.folder / 'queries.jsonl',
            min_score=o['low'],
            max_score=o['high'],
            filter_fn=o['filter_fn'],
            score_transform=o['score_transform'],
            query_subset_path=subset,
            **o['group'],
        )


def counted(pairs):
    "What a tally should say of [(query, passage, score)]"
    per_query = sorted(Counter(q for q, _, _ in pairs).values())
    return dict(
        queries=len(per_query),
        passages=len({p for _, p, _ in pairs}),
        judgements=len(pairs),
        labels=Counter(float(s) for _, _, s in pairs),
        extremes=(per_query[0], per_query[-1]),
    )


def told(tally):
    return dict(
        queries=tally.queries,
        passages=tally.passages,
        judgements=tally.judgements,
        labels=Counter({float(k): n for k, n in tally.labels.items()}),
        extremes=(tally.per_query[0], tally.per_query[-1]),
    )


def check_flow(seen, n_pools, n_examples=5):
    "What goes into a step came out of the one before, and what is missing is accounted for"
    for a, b in zip(seen, seen[1:]):
        if (a.pool, a.lane) == (b.pool, b.lane):
            assert b.before == a.after
    for s in seen:
        if s.name == 'load':
            continue
        if s.name != 'group_filter_fn':
            assert s.before.judgements - s.after.judgements == s.left_out
        assert bool(s.examples) == bool(s.left_out or s.changed) or s.name == 'group_filter_fn'
        assert len(s.examples) <= n_examples
        assert sum(s.after.labels.values()) == s.after.judgements
    assert len(seen.totals) == n_pools
    assert len(seen._repr_html_()) > len(seen.svg()) > 0 and repr(seen)


@pytest.fixture(scope='module')
def folders(tmp_path_factory):
    return lambda: tmp_path_factory.mktemp('preview')


@slow_files
@given(st.lists(wanted, min_size=1, max_size=3), st.booleans(), st.integers(0, 3), st.integers(0, 2))
def test_graded(folders, drawn, complete, epoch, seed):
    files = Files(folders(), complete)
    configs = [files.config(o) for o in drawn]
    try:
        data = MultiLevelDataset(DataArguments(group_size=1, on_missing='drop'), qrel_config=configs)
    except DataError:
        assert any('stopped' in n for n in preview(configs).notes)
        return
    data.set_epoch(epoch)
    data.set_seed(seed)
    seen = data.preview()
    nested = data.get_qrel_nested_dict()
    assert told(seen.totals['judged']) == counted(
        [(q, p, s) for q, judged in nested.items() for p, s in judged.items()]
    )
    assert seen.totals['judged'].queries == len(data)
    for i, p in enumerate(data.pools['judged'].pipelines):
        assert told([s for s in seen if s.lane == i][-1].after) == counted(p.triplets(seed, epoch).rows())
    check_flow(seen, 1)


@slow_files
@given(
    st.lists(wanted, min_size=1, max_size=2),
    st.lists(wanted, min_size=1, max_size=2),
    st.booleans(),
    st.integers(0, 3),
)
def test_binary(folders, positives, negatives, complete, epoch):
    files = Files(folders(), complete)
    try:
        data = BinaryDataset(
            DataArguments(group_size=2, on_missing='drop', on_overlap='drop'),
            positive_configs=[files.config(o) for o in positives],
            negative_configs=[files.config(o) for o in negatives],
        )
    except DataError:
        return
    data.set_epoch(epoch)
    seen = data.preview()
    used = set(data._query_rows.tolist())
    for name, pool in data.pools.items():
        assert told(seen.totals[name]) == counted(
            [o for o in zip(*(c.tolist() for c in pool.at(0, epoch).columns)) if o[0] in used]
        )
        assert seen.totals[name].queries == len(data)
    check_flow(seen, 2)


@slow_files
@given(wanted)
def test_steps_of_a_pipeline_without_texts(folders, drawn):
    config = Files(folders(), True).config(drawn)
    config.query_path, config.corpus_path = [], []
    pipeline = QRelPipeline(config)
    try:
        left = pipeline.triplets(3, 1)
    except DataError:
        left = None
    seen = pipeline.preview(seed=3, epoch=1)
    assert any('stopped' in n for n in seen.notes) == (left is None)
    if left is not None:
        assert told(seen[-1].after) == counted(left.rows())
    steps = seen.to_pandas()
    if left is not None:
        assert steps['judgements_out'].tolist() == [s.after.height for s in pipeline.trace(3, 1)]


def test_reasons(tmp_path):
    "One example of each reason, worked out by hand"
    files = Files(tmp_path, False)
    rows = [
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
    o = dict(
        files=[rows],
        low=1,
        high=3,
        filter_fn=lambda r: r['docid'] != 'd5',
        score_transform=pl.col('score') + 2,
        group={'group_top_k': 1},
        subset=['q0', 'q1', 'q4'],
    )
    assert {s.name: s.examples for s in preview(files.config(o))} == {
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
