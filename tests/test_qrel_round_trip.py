"What is written reads back as the same judgements, or is refused before a file appears"

import polars as pl
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from trove_nb.core.errors import DataError
from trove_nb.data.beir import write_qrel
from trove_nb.data.qrels import load_qrel

ids = st.one_of(
    st.from_regex(r'[a-z0-9]{1,14}', fullmatch=True),
    st.text(st.characters(codec='utf-8'), min_size=1, max_size=5),
    st.sampled_from(
        [
            '0012',
            '12',
            'qid',
            'score',
            'rank',
            'Q0',
            'x;rank;y',
            'a,score,b',
            '"a',
            'a"',
            '#',
            '1e5',
            '\ufeffq',
            'nan',
            'd 1',
            ' d',
            'null',
            'a|b',
        ]
    ),
)
scores = st.one_of(
    st.lists(st.integers(-(2**40), 2**40), min_size=1),
    st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1),
)


@st.composite
def frames(draw):
    "Judgements with ids of all kinds"
    score = draw(scores)
    n = len(score)
    qid = draw(st.lists(ids, min_size=n, max_size=n))
    docid = draw(st.lists(ids, min_size=n, max_size=n))
    score_type = pl.Float64 if isinstance(score[0], float) else pl.Int64
    columns = {'qid': qid, 'docid': docid, 'score': score}
    return pl.DataFrame(columns, schema_overrides={'score': score_type})


@pytest.mark.parametrize(
    'name',
    [
        'q.tsv',
        'q.tsv.gz',
        'q.tsv.zst',
        'q.qrels',
        'q.txt',
        'q.trec.gz',
        'q.jsonl',
        'q.jsonl.zst',
        'q.parquet',
    ],
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(frame=frames())
@example(pl.DataFrame({'qid': ['x;rank;y'], 'docid': ['d'], 'score': [1]}))
@example(pl.DataFrame({'qid': ['q'], 'docid': ['a,Doc_ID,b'], 'score': [1]}))
@example(pl.DataFrame({'qid': ['|'], 'docid': ['|'], 'score': [0]}))
@example(pl.DataFrame({'qid': ['a;b;c;1;2;d'], 'docid': ['d'], 'score': [0]}))
@example(pl.DataFrame({'qid': ['query-id'], 'docid': ['d'], 'score': [1]}))
def test_round_trip(tmp_path, name, frame):
    path = tmp_path / name
    path.unlink(missing_ok=True)
    try:
        write_qrel(path, frame)
    except DataError as e:
        assert ' holds ' in str(e)
        assert name.split('.')[1] not in ('jsonl', 'parquet')
        assert not path.exists()
        return
    back = load_qrel(path)
    if '.jsonl' in name:
        frame = frame.group_by('qid', maintain_order=True).agg('docid', 'score').explode('docid', 'score')
    assert back.schema == frame.schema and back.equals(frame), (back, frame)
    assert [p.name for p in tmp_path.iterdir()] == [name]
