"The fast way to read delimited qrels gives what the exact way gives, or leaves the file to it"

import gzip

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trove_nb.core.errors import DataError
from trove_nb.data import delimited
from trove_nb.data.qrels import load_qrel

word = st.one_of(
    st.from_regex(r'[qd]?[0-9]{1,4}', fullmatch=True),
    st.sampled_from(
        [
            'd 1',
            'd,5',
            '#d',
            '"d"',
            'd"',
            'é',
            '\ufeffd',
            '\u00a0',
            'd\u2028x',
            '',
            'q\x0bx',
            '0012',
            '12',
            'NA',
            'null',
            '1e5',
            ' d',
            'd\x00',
        ]
    ),
)
score = st.one_of(
    st.integers(-3, 12).map(str),
    st.floats(-9, 9).map(str),
    st.sampled_from(['', 'nan', 'one', ' 2', '1e400', '-0', '9223372036854775808', '1_0']),
)
usual = st.tuples(
    st.from_regex('q[0-9]{1,2}', fullmatch=True),
    st.from_regex('d[0-9]{1,3}', fullmatch=True),
    st.integers(0, 3).map(str),
).map(list)
odd = st.tuples(st.lists(word, max_size=5), score).map(lambda o: [*o[0], o[1]])
lines = st.lists(
    st.one_of(usual, usual, usual, st.tuples(word, word, score).map(list), odd), min_size=1, max_size=8
)


def outcome(path):
    try:
        return load_qrel(path)
    except DataError as e:
        return str(e)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=lines,
    layout=st.sampled_from(
        [('.tsv', '\t'), ('.csv', ','), ('.txt', ' '), ('.txt', '\t'), ('.csv', ';'), ('.tsv', '|')]
    ),
    end=st.sampled_from(['\n', '\n', '\r\n', '\n\n', ' \n']),
    columns=st.sampled_from(['3', 'header', 'trec', 'run']),
    zipped=st.booleans(),
    mark=st.booleans(),
    last=st.booleans(),
    block=st.integers(1, 60),
)
def test_fast_is_exact(tmp_path, monkeypatch, rows, layout, end, columns, zipped, mark, last, block):
    suffix, delimiter = layout
    if columns == 'header':
        rows = [['query-id', 'corpus-id', 'score'], *rows]
    if columns == 'trec':
        rows = [[*row[:1], '0', *row[1:]] for row in rows]
    if columns == 'run':
        ranked = enumerate(rows, 1)
        rows = [[*row[:1], 'Q0', *row[1:2], str(rank), *row[2:], 'tag'] for rank, row in ranked]
    text = ''.join(delimiter.join(row) + end for row in rows).removesuffix(end if last else '')
    data = (b'\xef\xbb\xbf' if mark else b'') + text.encode()
    path = tmp_path / f'q{suffix}'
    path.write_bytes(gzip.compress(data) if zipped else data)
    with monkeypatch.context() as m:
        m.setattr(delimited, '_BLOCK_BYTES', block)
        fast = outcome(path)
        m.setattr(delimited, '_read_fast', lambda *args: None)
        exact = outcome(path)
    if isinstance(exact, str):
        assert fast == exact
    else:
        assert fast.equals(exact) and fast.schema == exact.schema


@pytest.mark.parametrize('delimiter,suffix', [('\t', '.tsv'), (',', '.csv'), (' ', '.txt')])
def test_plain_files_take_the_fast_way(tmp_path, monkeypatch, delimiter, suffix):
    rows = [(f'q{i // 3}', f'd{i}', i % 3) for i in range(1000)]
    path = tmp_path / f'q{suffix}'
    path.write_text(''.join(delimiter.join(map(str, row)) + '\n' for row in rows))
    monkeypatch.setattr(delimited, '_BLOCK_BYTES', 1000)
    monkeypatch.setattr(delimited, '_read_lines', None)
    assert load_qrel(path).rows() == rows


def test_late_fractions_make_all_scores_real(tmp_path, monkeypatch):
    path = tmp_path / 'q.tsv'
    path.write_text('q\td\t1\nq\te\t2\nq\tf\t.5\n')
    monkeypatch.setattr(delimited, '_BLOCK_BYTES', 6)
    assert load_qrel(path).equals(
        pl.DataFrame({'qid': ['q'] * 3, 'docid': ['d', 'e', 'f'], 'score': [1.0, 2.0, 0.5]})
    )
