"Files and frames that must be refused, each with the place, and a few odd ones that must not"

import gzip
import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from trove_nb.core.errors import DataError
from trove_nb.data import record_files
from trove_nb.data import records as records_module
from trove_nb.data.qrels import load_qids, load_qrel
from trove_nb.data.record_set import RecordSet
from trove_nb.data.records import Records
from trove_nb.data.triplets import as_triplets

good = '{"_id": "a", "text": "A"}\n'


def write(folder, name, content):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def refused(message, fn, *args):
    "Whether the function raises a `DataError` with these words"
    with pytest.raises(DataError) as e:
        fn(*args)
    assert message in str(e.value), str(e.value)


@pytest.mark.parametrize(
    'content,message',
    [
        ('', 'c.jsonl: the file is empty'),
        (b'\xef\xbb\xbf', 'blank lines only'),
        ('\n\n', 'blank lines only'),
        (good + '{"_id": "b", "text": ', 'line 2: this is no JSON'),
        (good + '{"_id": "b", "text": NaN}\n', 'line 2: this is no JSON'),
        (good + '{"_id": "b", "text": "\\ud800"}\n', 'line 2: this is no JSON'),
        (good.encode() + b'{"_id": "b", "text": "\xff"}\n', 'line 2: this is no JSON'),
        ('[{"_id": "a", "text": "A"}]', 'line 1: this is a JSON list'),
        (good + '"b"\n', 'line 2: this is a JSON str'),
        (good + '{"key": "b", "text": "B"}\n', 'line 2: no id among the fields key, text'),
        (good + '{}\n', 'line 2: no id among the fields (none)'),
        ('{"_id": "a", "id": "a", "text": "A"}\n', 'line 1: two fields could be the id: _id, id'),
        (good + '{"_id": 1.5, "text": "B"}\n', 'line 2: 1.5 is no id'),
        (good + '{"_id": 123456789012345678901234, "text": "B"}\n', 'is no id'),
        (good + '{"_id": true, "text": "B"}\n', 'line 2: True is no id'),
        (good + '{"_id": null, "text": "B"}\n', 'line 2: None is no id'),
        (good + '{"_id": "", "text": "B"}\n', "line 2: '' is no id"),
        (good + '{"_id": "b", "title": "B"}\n', "line 2: there is no 'text'"),
        (good + '{"_id": "b", "text": null}\n', "line 2: there is no 'text'"),
        (good + '{"_id": "b", "text": ["B"]}\n', "line 2: 'text' is ['B']"),
        (good + '{"_id": "b", "text": "B", "title": 3}\n', "line 2: 'title' is 3"),
        (good + '\n{"_id": "b", "text": "B"}\n', 'line 2: blank line'),
        (
            good + '{"_id": "b", "text": "B"}\n{"_id": "a", "text": "A", "title": "T"}\n',
            "lines 1 and 3: id 'a' stands for two texts",
        ),
        (good + '{"_id": "a", "text": "B"}\n{"_id": "a", "text": "C"}\n', '(and 1 more like it)'),
        (gzip.compress(good.encode() * 1000)[:-12], 'the gzip archive is broken'),
    ],
)
def test_bad_records(tmp_path, content, message):
    path = write(tmp_path, 'c.jsonl', content)
    for _ in range(2):
        refused(message, Records.open, path)


def test_no_file(tmp_path):
    for fn in (Records.open, load_qrel, load_qids):
        refused('no such file', fn, tmp_path / 'gone.jsonl')
    refused('this is a folder', Records.open, tmp_path)


def test_repeats_among_many(tmp_path):
    numbers = [3, 1, 2, 1, 3, 1, 7]
    lines = [f'{{"id": {number}, "text": "t{number}"}}\n' for number in numbers]
    records = Records.open(write(tmp_path, 'c.jsonl', ''.join(lines)))
    assert records.duplicates.rows.tolist() == [3, 4, 5]
    assert records.duplicates.firsts.tolist() == [1, 0, 1]
    assert records.duplicates.ids == ['1', '3', '1']
    asked = ['1', '3', '2', '8', '7']
    assert records.rows(asked).tolist() == [1, 0, 2, -1, 6]
    assert [records._find(id_) for id_ in asked] == [1, 0, 2, -1, 6]
    assert records.id_rank().tolist() == [4, 0, 3, 1, 5, 2, 6]


def test_batches_meet(tmp_path, monkeypatch):
    "Rows on both sides of each batch's end"
    for module in (record_files, records_module):
        monkeypatch.setattr(module, 'BATCH_BITS', 2)
        monkeypatch.setattr(module, 'BATCH_ROWS', 4)
    expected = []
    for i in range(13):
        titled = {} if i % 3 else {'title': str(i)}
        expected.append({'_id': f'd{i}', **titled, 'text': f't{i}'})
    lines = [json.dumps({'title': None, **record}) + '\n' for record in expected]
    records = Records.open(write(tmp_path, 'c.jsonl', ''.join(lines)))
    assert len(records._columns['text']) == 4
    assert [records[i] for i in range(13)] == expected
    assert list(records) == expected
    assert records.lengths().tolist() == [len(o['text'] + o.get('title', '')) for o in expected]
    assert records.rows([o['_id'] for o in expected]).tolist() == list(range(13))


def test_one_build_among_many_readers(tmp_path):
    lines = [f'{{"id": "only-here-{i}", "text": "t"}}\n' for i in range(2000)]
    path = write(tmp_path, 'c.jsonl', ''.join(lines))
    with ThreadPoolExecutor(8) as pool:
        opened = list(pool.map(Records.open, [path] * 8))
    assert {records._folder for records in opened} == {opened[0]._folder}
    assert all(records.row('only-here-7') == 7 for records in opened)


@pytest.mark.parametrize(
    'ids', [[1], ['a', None], 'a', pl.Series([1]), pa.array(['a', None]), np.array([1.0])], ids=str
)
def test_bad_ids_asked(tmp_path, ids):
    records = Records.open(write(tmp_path, 'c.jsonl', good))
    with pytest.raises(DataError):
        records.rows(ids)
    with pytest.raises(DataError):
        RecordSet([records]).rows(ids, 0)


@pytest.mark.parametrize(
    'name,content,message',
    [
        ('q.tsv', '', 'q.tsv: the file is empty'),
        ('q.tsv', '\n \n', 'line 1: blank line'),
        ('q.tsv', 'qid\tdocid\tscore\n', 'a header and no judgements'),
        ('q.tsv', 'q\td\t1\n\nq\te\t1\n', 'line 2: blank line'),
        ('q.tsv', 'q\td\t1\nq\te\t\n', "line 2: the score is ''"),
        ('q.tsv', 'q\td\t1\nq\te\t1\tx\n', 'line 2: 4 columns'),
        ('q.tsv', 'q\td\t1\nq\t\t1\n', 'line 2: docid is empty'),
        ('q.tsv', 'q\td\t1\nq e 1\n', "line 2: 1 columns in 'q e 1'"),
        ('q.tsv', 'q\td\t1\nq\te\tnan\n', "line 2: the score is 'nan'"),
        ('q.tsv', b'q\td\t1\nq\t\xe9\t1\n', 'line 2: not UTF-8'),
        ('q.tsv', 'qid\tdocid\n1\t2\n', 'line 1: no column for the score'),
        ('q.tsv', 'qid\tquery-id\tscore\n1\t2\t3\n', 'two columns could be the qid: qid, query-id'),
        ('q.tsv', 'q\td\tx\t1\ty\n', '5 columns and no header'),
        ('q.csv', 'q,d,1\n"q,d,1\n', 'line 2: broken quotes'),
        ('q.csv', '"q",d,1\nq,d\n', 'line 2: 2 columns'),
        ('q.csv', 'q,0,d,1\n', '4 columns and no header'),
        ('q.qrels', 'q 0 d 1\nq 0 d\n', 'line 2: 3 columns'),
        ('q.qrels', 'q 0 d one\n', "line 1: the score is 'one'"),
        ('q.trec', 'q 0 d 1\nq 0 d 1.5.1\n', "line 2: the score is '1.5.1'"),
        ('q.jsonl', '{"qid": "q", "docid": "d"}\n', 'line 1: no column for the score'),
        (
            'q.jsonl',
            '{"qid": "q", "docid": ["d"], "score": 1}\n',
            "line 1: the passage ids and scores of query 'q' don't match",
        ),
        ('q.jsonl', '{"qid": "q", "docid": [], "score": []}\n', 'line 1: the passage ids'),
        ('q.jsonl', '{"qid": "q", "docid": ["d", 1.0], "score": [1, 2]}\n', 'line 1: 1.0 is no id'),
        ('q.jsonl', '{"qid": "q", "docid": [""], "score": [1]}\n', 'line 1: docid is empty'),
        ('q.jsonl', '{"qid": "q", "docid": "d", "score": "1"}\n', "line 1: 1 score ('1') not numeric"),
        ('q.jsonl', '{"qid": "q", "docid": "d", "score": true}\n', 'line 1: 1 score (True) not numeric'),
        (
            'q.jsonl',
            '{"qid": "q", "docid": "d", "score": 1}\n{"qid": "q", "docid": "d"}\n',
            "line 2: no field 'score'",
        ),
        ('q.jsonl', '{"_id": "q", "text": "t"}\n', 'no qrel loader takes this file'),
        ('q.jsonl', 'q d 1\n', 'line 1: this is no JSON'),
        ('q.pickle', b'\x80\x04N.', 'pickles are not read'),
        ('q.parquet', b'PAR1\x00\xff\n\x00', 'this is no Parquet file'),
        ('q.tsv.gz', gzip.compress(b'q\td\t1\n' * 1000)[:-12], 'the gzip archive is broken'),
    ],
)
def test_bad_qrels(tmp_path, name, content, message):
    refused(message, load_qrel, write(tmp_path, name, content))


@pytest.mark.parametrize(
    'name,content,message',
    [
        (
            'q.jsonl',
            '{"qid": "q", "docid": "d", "score": 1}\n{"qid": "q", "docid": \n',
            'line 2: this is no JSON',
        ),
        ('q.jsonl', '{"qid": ["q"], "docid": "d", "score": 1}\n', "line 1: ['q'] is no id"),
        ('q.jsonl', '{"qid": "q", "docid": {"id": "d"}, "score": 1}\n', "line 1: {'id': 'd'} is no id"),
        ('q.jsonl', '{"qid": "q", "docid": "d", "score": NaN}\n', 'line 1: this is no JSON'),
        ('q.jsonl', '', 'q.jsonl: the file is empty'),
        ('q.tsv', b'\xef\xbb\xbf', 'q.tsv'),
        ('q.tsv', 'q\td\t1\nq\te\tNaN\n', "line 2: the score is 'NaN'"),
        ('q.tsv', 'q\td\t1\nq\te\tinf\n', "line 2: the score is 'inf'"),
        (
            'q.tsv',
            'Query ID\tquery_id\tdocid\tscore\n1\t1\t2\t3\n',
            'two columns could be the qid: Query ID, query_id',
        ),
        ('q.csv', 'qid,docid,Corpus ID,score\n1,2,2,3\n', 'two columns could be the docid: docid, Corpus ID'),
        ('q.tsv', 'q\td\t1\nq e 1\n', 'Expected 3 columns delimited by tabs, as on line 1'),
        ('q.tsv', 'q\td\t1\nq\te \t1\n', "line 2: blanks around the docid 'e '"),
        ('q.csv', 'qid, docid, score\nq, d, 1\n', "line 2: blanks around the docid ' d'"),
        ('q.tsv', 'q\ta\t1\nq\tb\t2\nq\tc\t3\n', 'put a header: score for labels, rank for ranks'),
        ('q.tsv', 'qid\tdocid\trank\nq\ta\t1\nq\tb\t0\n', 'line 3: the rank is 0'),
        ('q.run', 'q Q0 d 1 0.5 bm25\nq Q0 e 2\n', 'line 2: 4 columns'),
        ('q.run', 'q Q0 d 1 0.5 bm25\nq Q0 e 2 high bm25\n', "line 2: the score is 'high'"),
        ('q.pkl', b'\x80\x04N.', 'pickles are not read'),
    ],
)
def test_more_bad_qrels(tmp_path, name, content, message):
    refused(message, load_qrel, write(tmp_path, name, content))


def test_bad_parquet_qrels(tmp_path):
    path = tmp_path / 'q.parquet'
    for frame, message in (
        (dict(qid=[['q']], docid=['d'], score=[1]), 'qid has the type List'),
        (dict(qid=['q'], docid=['d'], score=[float('nan')]), 'row 0 (from 0): score is nan'),
        (dict(qid=['q'], docid=['d']), 'no column for the score'),
        (dict(qid=['q'], docid=[2.0], score=[1]), 'docid has the type Float64'),
    ):
        pl.DataFrame(frame).write_parquet(path)
        refused(message, load_qrel, path)
    pl.DataFrame({'query-id': ['q', None]}).write_parquet(path)
    refused('row 1 (from 0): the query id is missing', load_qids, path)


def test_no_file_to_read(tmp_path, monkeypatch):
    refused('no qrel loader takes this folder', load_qrel, tmp_path)
    (tmp_path / 'qrels').mkdir()
    refused('beir_folder(', load_qrel, tmp_path)
    path = write(tmp_path, 'q.tsv', 'q\td\t1\n')

    def locked(*args, **kwargs):
        raise PermissionError(13, 'Permission denied')

    monkeypatch.setattr(type(path), 'open', locked)  # root may read whatever the mode says
    refused('q.tsv: the file cannot be read', load_qrel, path)


def test_what_to_do_is_named_first(tmp_path):
    "The list of formats begins with those that are read"
    with pytest.raises(DataError) as e:
        load_qrel(write(tmp_path, 'q.xyz', 'what is this\n'))
    message = str(e.value)
    refusing = message.index('pickled_qrel')
    for reading in ('delimited_qrel', 'trec_qrel', 'jsonl_qrel', 'parquet_qrel'):
        assert message.index(reading) < refusing


@pytest.mark.parametrize(
    'name,content,rows',
    [
        ('q.tsv', 'q\td\t1\r\nq\te\t0\r\n\r\n', [('q', 'd', 1), ('q', 'e', 0)]),
        ('q.tsv', 'q\td\t1', [('q', 'd', 1)]),
        ('q.tsv', '007\t1e5\t+1\n', [('007', '1e5', 1)]),
        ('q.tsv', 'true\tnull\t1\n', [('true', 'null', 1)]),
        ('q.tsv', 'q\tdoc\u2028x\x0b\t1\n', [('q', 'doc\u2028x\x0b', 1)]),
        ('q.tsv', '"q\td\t1\nq"\td\t1\n', [('"q', 'd', 1), ('q"', 'd', 1)]),
        ('q.csv', 'q,d,1\n"a\nb","c,d",1\n', [('q', 'd', 1), ('a\nb', 'c,d', 1)]),
        ('q.qrels', 'q\t0 d 1\n', [('q', 'd', 1)]),
        ('q.csv', 'docid,score,qid\nd,2,q\n', [('q', 'd', 2)]),
        ('q.csv', 'q;d;1\n"a;b";"c\nd";2\n', [('q', 'd', 1), ('a;b', 'c\nd', 2)]),
        ('q.TXT', 'q  d   2\n', [('q', 'd', 2)]),
        ('q.txt', 'query-id corpus-id score\nq d 2\n', [('q', 'd', 2)]),
        ('q.qrels', 'qid\tdocid\tscore\nq\td\t2\n', [('q', 'd', 2)]),
        ('q.tsv', 'query-id\titer\tcorpus-id\tscore\nq\t0\td\t2\n', [('q', 'd', 2)]),
        ('q.txt', '1 0 a,b,c 2\n', [('1', 'a,b,c', 2)]),
        ('q.tsv', 'q\td\t1\nq\te\t0.5\n', [('q', 'd', 1.0), ('q', 'e', 0.5)]),
        (
            'q.jsonl',
            '{"qid": 1, "docid": [2, "02"], "score": [1, 0.5]}\r\n\n',
            [('1', '2', 1.0), ('1', '02', 0.5)],
        ),
    ],
)
def test_odd_qrels(tmp_path, name, content, rows):
    assert load_qrel(write(tmp_path, name, content)).rows() == rows


@pytest.mark.parametrize(
    'name,content,rows',
    [
        (
            'q.jsonl',
            '{"qid": "0012", "docid": 12, "score": 1}\n{"qid": 12, "docid": "0012", "score": 0}\n',
            [('0012', '12', 1), ('12', '0012', 0)],
        ),
        ('q.tsv', '0012\t12\t1\n12\t0012\t0\n', [('0012', '12', 1), ('12', '0012', 0)]),
        (
            'q.jsonl',
            '{"qid": "q", "docid": ["a","b"], "score": [1, 0.5]}\n',
            [('q', 'a', 1.0), ('q', 'b', 0.5)],
        ),
        ('q.tsv', b'\xef\xbb\xbfqid\tdocid\tscore\r\nq\td\t1\r\n', [('q', 'd', 1)]),
        ('q.tsv', '#q\td#1\t1\n# x\t\u65e5\u672c\t2\n', [('#q', 'd#1', 1), ('# x', '\u65e5\u672c', 2)]),
        ('q.tsv', 'q 1\td 1\t1\n', [('q 1', 'd 1', 1)]),
        ('q.tsv', 'q 0 d 1\n', [('q', 'd', 1)]),
        ('q.tsv', '7\t0\td\t1\n', [('7', 'd', 1)]),
        ('q', '301 Q0 d 1 -2.5 bm25\n', [('301', 'd', -2.5)]),
    ],
)
def test_more_odd_qrels(tmp_path, name, content, rows):
    assert load_qrel(write(tmp_path, name, content)).rows() == rows


@pytest.mark.parametrize(
    'frame,message',
    [
        (dict(qid=['q'], docid=['d']), 'no column for the score'),
        (dict(qid=['q'], docid=['d'], doc_id=['d'], score=[1]), 'two columns could be the docid'),
        (dict(qid=[1.0], docid=['d'], score=[1]), 'qid has the type Float64'),
        (dict(qid=['q'], docid=[True], score=[1]), 'docid has the type Boolean'),
        (dict(qid=['q', 'q'], docid=['d', None], score=[1, 1]), 'row 1 (from 0): docid is missing'),
        (dict(qid=['q', 'q'], docid=['d', 'e'], score=[1, None]), 'row 1 (from 0): score is missing'),
        (dict(qid=['q'], docid=['d'], score=['1']), 'score has the type String'),
        (dict(qid=['q'], docid=['d'], score=[True]), 'score has the type Boolean'),
        (dict(qid=['q'], docid=['d'], score=[float('inf')]), 'row 0 (from 0): score is inf'),
        (dict(qid=['q'], docid=[['d']], score=[1]), 'only docid holds lists'),
        (dict(qid=['q', 'r'], docid=[['d'], None], score=[[1], [1]]), 'row 1 (from 0): docid is missing'),
        (
            dict(qid=['q', 'r'], docid=[['d'], []], score=[[1], []]),
            "row 1 (from 0): query 'r' has an empty list",
        ),
        (
            dict(qid=['q', 'r'], docid=[['d'], ['d', None]], score=[[1], [1, 2]]),
            'row 1 (from 0): docid is missing',
        ),
        (dict(qid=['q', 'r'], docid=[['d'], ['']], score=[[1], [1]]), 'row 1 (from 0): docid is empty'),
        (dict(qid=[['q']], docid=[['d']], score=[[1]]), 'qid has the type List'),
        (dict(qid=[], docid=[], score=[]), 'there are no judgements'),
    ],
)
def test_bad_frames(frame, message):
    refused(message, as_triplets, pl.DataFrame(frame))
    refused(message, as_triplets, pl.DataFrame(frame).to_arrow())


@pytest.mark.parametrize(
    'qrel,message',
    [
        ({}, 'there are no judgements'),
        ({'q': {}}, "query 'q' has {}"),
        ({1.5: {'d': 1}}, '1.5 is no id'),
        ({'q': {None: 1}}, 'None is no id'),
        ({'q': {'d': None}}, "passage 'd': score is None"),
        ({'q': {'d': '1'}}, "score is '1'"),
        ({'q': {'d': float('nan')}}, 'score is nan'),
        ({'q': {'d': 2**70}}, "a score can't be held"),
    ],
)
def test_bad_dicts(qrel, message):
    refused(message, as_triplets, qrel)


def test_types_that_are_taken():
    frame = pl.DataFrame({'qid': ['q', 'q'], 'docid': [1, 2], 'score': [1, 2]})

    def taken(name, dtype):
        return as_triplets(frame.with_columns(pl.col(name).cast(dtype)))[name]

    for dtype in (pl.Int8, pl.UInt64):
        assert taken('docid', dtype).to_list() == ['1', '2']
    for dtype in (pl.Categorical, pl.Enum(['q'])):
        assert taken('qid', dtype).to_list() == ['q', 'q']
    assert taken('score', pl.Decimal(5, 1)).to_list() == [1.0, 2.0]
    assert taken('score', pl.UInt8).dtype == pl.Int64
    assert as_triplets(frame.to_pandas().set_index([[5, 5]])).rows() == [('q', '1', 1), ('q', '2', 2)]
    refused('score is missing', as_triplets, pd.DataFrame({'qid': ['q'], 'docid': ['d'], 'score': [np.nan]}))


@pytest.mark.parametrize(
    'name,content,message',
    [
        ('q.txt', 'docid\n1\n', "line 1: 'docid' looks like a header"),
        ('q.txt', '1\n\n2\n', 'line 2: blank line'),
        ('q.jsonl', '{"_id": "a", "text": "A"}\n{"text": "B"}\n', 'line 2: None is no id'),
        ('q.jsonl', '{"docid": "a", "text": "A"}\n', 'no qid loader takes this file'),
        ('q.txt', '1\ttop, songs, 1999\n', 'no qid loader takes this file'),
        ('q.tsv', '1\ttop songs 1999\n', '2 columns and no header'),
    ],
)
def test_bad_qids(tmp_path, name, content, message):
    refused(message, load_qids, write(tmp_path, name, content))
