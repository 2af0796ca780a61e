"Files of texts: the fast reader against the exact one, packed files, processes, and other libraries' readers"

import gzip
import json
import multiprocessing as mp
from unittest.mock import patch

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import trove_nb.data.records as records_module
from trove_nb.core.errors import DataError
from trove_nb.core.text import open_text, parse_lines
from trove_nb.data.records import Records, RecordSet, write_in_memory_data
from trove_nb.data.training_rows import training_judgements, training_texts

texts = st.text(
    alphabet=st.sampled_from('aé😀"\\\n\t\0{}:,\u2028 ') | st.characters(codec='utf-8'), max_size=8
)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda o: st.lists(o, max_size=2) | st.dictionaries(texts, o, max_size=2),
    max_leaves=4,
)
usually = lambda good, bad: st.integers(0, 11).flatmap(lambda i: good if i else bad)
ids = st.text('ab01é', min_size=1, max_size=4)


@st.composite
def json_lines(draw):
    "Lines that are mostly records of one kind, and now and then anything else"
    id_name, some_ids = (
        draw(st.sampled_from(['_id', 'id', 'docid'])),
        draw(st.sampled_from([ids, st.integers(-(2**63), 2**64)])),
    )

    def line():
        record = {
            draw(usually(st.just(id_name), st.sampled_from(['_id', 'qid', 'x']))): draw(
                usually(some_ids, json_values)
            ),
            'text': draw(usually(texts, json_values)),
        }
        if draw(st.booleans()):
            record['title'] = draw(usually(texts, json_values))
        if not draw(st.integers(0, 3)):
            record |= draw(
                st.dictionaries(
                    usually(st.sampled_from(['url', 'metadata']), st.sampled_from(['id', 'qid', 'score'])),
                    json_values,
                    max_size=2,
                )
            )
        plain = json.dumps(record, ensure_ascii=draw(st.booleans())).encode('utf-8', 'surrogatepass')
        return draw(
            usually(
                st.just(plain),
                st.sampled_from(
                    [
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
                ),
            )
        )

    end = draw(st.sampled_from([b'\n', b'\r\n']))
    return end.join([line() for _ in range(draw(st.integers(1, 6)))]) + draw(
        st.sampled_from([b'', end, end * 2])
    )


def outcome(read):
    try:
        return [tuple(o.values()) for table in read() for o in table.to_pylist()]
    except DataError as e:
        return str(e)


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
            yield from records_module._tables(parse_lines(f, path, records_module._parse))

    for block in (1 << 20, 40):
        with patch.object(records_module, '_BLOCK', block):
            assert outcome(lambda: records_module._json_tables(path)) == outcome(exact)


def test_plain_files_take_the_fast_way(tmp_path):
    "Only then do they open in the time that is promised"
    rows = [
        dict(_id=f'd{i}', title='T', text='é "x"', **extra)
        for i in range(50)
        for extra in ({}, dict(metadata=dict(url='u')))
    ]
    path = tmp_path / 'c.jsonl'
    path.write_text(''.join(json.dumps({**o, '_id': f'{o["_id"]}-{i}'}) + '\n' for i, o in enumerate(rows)))
    with patch.object(records_module, '_parse', side_effect=AssertionError('the exact reader was asked')):
        assert len(Records.open(path)) == 100


@pytest.mark.parametrize(
    'pack',
    [lambda o: o, gzip.compress, lambda o: pa.compress(o, 'zstd', asbytes=True)],
    ids=['plain', 'gzip', 'zstd'],
)
def test_packed(tmp_path, pack):
    path = tmp_path / 'c.jsonl'
    path.write_bytes(
        pack(
            b'\xef\xbb\xbf' + b''.join(b'{"_id": "%d", "text": "text %d"}\n' % (i, i) for i in range(40_000))
        )
    )
    r = Records.open(path)
    assert (
        len(r) == 40_000
        and r.texts([0, 16_383, 16_384, 39_999]) == ['text 0', 'text 16383', 'text 16384', 'text 39999']
        and r.row('20000') == 20_000
    )


def _in_worker(records, rows, answers):
    answers.put((records.texts(rows), records.keys(rows).tolist()))


@pytest.mark.parametrize('method', ['fork', 'spawn'])
def test_workers(tmp_path, method):
    path = tmp_path / 'c.jsonl'
    path.write_text(''.join(f'{{"_id": "{i}", "text": "t{i}"}}\n' for i in range(100)))
    records = RecordSet.open(path)
    context = mp.get_context(method)
    answers = context.SimpleQueue()
    worker = context.Process(target=_in_worker, args=(records, [7, 99, 0], answers))
    worker.start()
    assert answers.get() == (['t7', 't99', 't0'], records.keys([7, 99, 0]).tolist())
    worker.join()


def test_snapshots_of_datasets_and_frames(tmp_path):
    import datasets
    import pandas as pd

    rows = {'id': ['1', '2'], 'text': ['a', 'b']}
    for made in (datasets.Dataset.from_dict(rows), pd.DataFrame(rows), pa.table(rows)):
        assert Records.open(write_in_memory_data(made)).texts([0, 1]) == ['a', 'b']


def test_training_rows_as_others_read_them(tmp_path):
    "csv as pandas reads it, and columns in the order in which `datasets` gives them to sentence-transformers"
    import datasets
    import pandas as pd

    frame = pd.DataFrame({'anchor': ['q "1"', 'q,2'], 'positive': ['p\n1', 'p2'], 'negative': ['n1', 'p2']})
    frame.to_csv(tmp_path / 'rows.csv', index=False)
    read = datasets.Dataset.from_pandas(pd.read_csv(tmp_path / 'rows.csv'))
    assert list(dict.fromkeys(t for o in read for t in list(o.values())[1:])) == [
        t for *_, t in training_texts(tmp_path / 'rows.csv', 'passage')
    ]
    assert list(read['anchor']) == [t for *_, t in training_texts(tmp_path / 'rows.csv', 'query')]
    assert training_judgements(tmp_path / 'rows.csv')['score'].to_list() == [
        1,
        0,
        1,
        1,
    ]  # a positive is no negative of its query
