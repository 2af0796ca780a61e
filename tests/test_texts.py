"Files of texts: the fast reader against the exact one, packed files, processes, and other libraries' readers"

import gzip
import json
import multiprocessing as mp
from unittest.mock import patch

import datasets
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from trove_nb.core.errors import DataError
from trove_nb.core.text import open_text, parse_lines
from trove_nb.data import record_files
from trove_nb.data.in_memory import write_in_memory_data
from trove_nb.data.record_set import RecordSet
from trove_nb.data.records import Records
from trove_nb.data.training_rows import training_judgements, training_texts

texts = st.text(
    alphabet=st.sampled_from('aé😀"\\\n\t\0{}:,\u2028 ') | st.characters(codec='utf-8'), max_size=8
)
plain_values = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts
)
json_values = st.recursive(
    plain_values,
    lambda o: st.lists(o, max_size=2) | st.dictionaries(texts, o, max_size=2),
    max_leaves=4,
)
ids = st.text('ab01é', min_size=1, max_size=4)


def usually(good, bad):
    "Eleven times in twelve `good`, else `bad`"
    return st.integers(0, 11).flatmap(lambda i: good if i else bad)


def odd_lines(plain):
    "What may stand in a file in place of a line, or be left of one"
    return [
        b'',
        b' ',
        plain + b' ',
        b' ' + plain,
        plain + plain,
        plain[:-1],
        plain.replace(b'"text"', b'"te\nxt"'),
        plain.replace(b'a', b'\xff'),
        plain.replace(b'1', b'NaN'),
        b'[]',
        plain[:-1] + b', "m": NaN}',
        plain[:-1] + b', "m": 01}',
        plain[:-1] + b', "m": "\xff"}',
        plain[:-1] + b', "m": "\\udc00"}',
        plain[:-1] + b', "id": null}',
        plain[:-1] + b', "text": "b"}',
        plain[:-1] + b',}',
    ]


@st.composite
def json_line(draw, id_name, some_ids):
    "A line that is mostly a record, and now and then anything else"
    id_field = draw(usually(st.just(id_name), st.sampled_from(['_id', 'qid', 'x'])))
    record = {id_field: draw(usually(some_ids, json_values))}
    record['text'] = draw(usually(texts, json_values))
    if draw(st.booleans()):
        record['title'] = draw(usually(texts, json_values))
    if not draw(st.integers(0, 3)):
        names = usually(st.sampled_from(['url', 'metadata']), st.sampled_from(['id', 'qid', 'score']))
        record |= draw(st.dictionaries(names, json_values, max_size=2))
    plain = json.dumps(record, ensure_ascii=draw(st.booleans())).encode('utf-8', 'surrogatepass')
    return draw(usually(st.just(plain), st.sampled_from(odd_lines(plain))))


@st.composite
def json_lines(draw):
    "Lines that are mostly records of one kind"
    id_name = draw(st.sampled_from(['_id', 'id', 'docid']))
    some_ids = draw(st.sampled_from([ids, st.integers(-(2**63), 2**64)]))
    end = draw(st.sampled_from([b'\n', b'\r\n']))
    n_lines = draw(st.integers(1, 6))
    lines = [draw(json_line(id_name, some_ids)) for _ in range(n_lines)]
    return end.join(lines) + draw(st.sampled_from([b'', end, end * 2]))


def outcome(read):
    "The records, or the error"
    records = []
    try:
        for table in read():
            records += [tuple(record.values()) for record in table.to_pylist()]
    except DataError as e:
        return str(e)
    return records


@settings(max_examples=400, deadline=None)
@example(b'{"_id": "a", "text": "x"}{"_id": "b", "text": "y"}\n\n')
@example(b'{"_id": "a",\n"text": "x"}\n{"_id": "b", "text": "y"}{"_id": "c", "text": "z"}\n')
@example(b'{"_id": "a", "text": "x", "m": {"\\u0069d": NaN}}\n')
@example(b'{"_id": "a", "text": "x", "\\u0069d": null}\n')
@example(b'{"_id": -0, "text": "x"}\n')
@example(b'{"_id": "a", "text": "x"}\n\n\n')
@given(data=json_lines())
def test_fast_is_exact(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / 'h.jsonl'
    path.write_bytes(data or b' ')

    def exact():
        with open_text(path) as f:
            yield from record_files._record_tables(parse_lines(f, path, record_files._parse_record))

    for block_bytes in (1 << 20, 40):
        with patch.object(record_files, '_JSON_BLOCK_BYTES', block_bytes):
            assert outcome(lambda: record_files._json_tables(path)) == outcome(exact)


def test_plain_files_take_the_fast_way(tmp_path):
    "Only then do they open in the time that is promised"
    lines = []
    for i in range(100):
        extra = dict(metadata=dict(url='u')) if i % 2 else {}
        lines.append(json.dumps(dict(_id=f'd{i}', title='T', text='é "x"', **extra)) + '\n')
    path = tmp_path / 'c.jsonl'
    path.write_text(''.join(lines))
    asked = AssertionError('the exact reader was asked')
    with patch.object(record_files, '_parse_record', side_effect=asked):
        assert len(Records.open(path)) == 100


@pytest.mark.parametrize(
    'pack',
    [bytes, gzip.compress, lambda data: pa.compress(data, 'zstd', asbytes=True)],
    ids=['plain', 'gzip', 'zstd'],
)
def test_packed(tmp_path, pack):
    path = tmp_path / 'c.jsonl'
    lines = [b'{"_id": "%d", "text": "text %d"}\n' % (i, i) for i in range(40_000)]
    path.write_bytes(pack(b'\xef\xbb\xbf' + b''.join(lines)))
    records = Records.open(path)
    assert len(records) == 40_000
    rows = [0, 16_383, 16_384, 39_999]
    assert records.texts(rows) == [f'text {row}' for row in rows]
    assert records.row('20000') == 20_000


def _read_in_worker(records, rows, answers):
    answers.put((records.texts(rows), records.keys(rows).tolist()))


@pytest.mark.parametrize('method', ['fork', 'spawn'])
def test_workers(tmp_path, method):
    path = tmp_path / 'c.jsonl'
    path.write_text(''.join(f'{{"_id": "{i}", "text": "t{i}"}}\n' for i in range(100)))
    records = RecordSet.open(path)
    context = mp.get_context(method)
    answers = context.SimpleQueue()
    worker = context.Process(target=_read_in_worker, args=(records, [7, 99, 0], answers))
    worker.start()
    assert answers.get() == (['t7', 't99', 't0'], records.keys([7, 99, 0]).tolist())
    worker.join()


def test_in_memory_datasets_and_frames(tmp_path):
    rows = {'id': ['1', '2'], 'text': ['a', 'b']}
    for container in (datasets.Dataset.from_dict(rows), pd.DataFrame(rows), pa.table(rows)):
        assert Records.open(write_in_memory_data(container)).texts([0, 1]) == ['a', 'b']


def test_training_rows_as_others_read_them(tmp_path):
    "csv as pandas reads it, and columns in the order in which `datasets` gives them to sentence-transformers"
    frame = pd.DataFrame({'anchor': ['q "1"', 'q,2'], 'positive': ['p\n1', 'p2'], 'negative': ['n1', 'p2']})
    path = tmp_path / 'rows.csv'
    frame.to_csv(path, index=False)
    read = datasets.Dataset.from_pandas(pd.read_csv(path))
    passages = []
    for row in read:
        passages += list(row.values())[1:]
    assert [text for *_, text in training_texts(path, 'passage')] == list(dict.fromkeys(passages))
    assert [text for *_, text in training_texts(path, 'query')] == list(read['anchor'])
    # a positive is no negative of its query
    assert training_judgements(path)['score'].to_list() == [1, 0, 1, 1]
