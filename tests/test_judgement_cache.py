"What a dataset keeps for its next opening: found again if nothing has changed, and never if something has"

import importlib
import subprocess
import sys

import polars as pl
import pytest

from trove_nb import DataArguments, MaterializedQRelConfig, MultiLevelDataset
from trove_nb.data import qrels as loaders
from trove_nb.testing import write_collection

ALL = DataArguments(group_size=0, passage_selection_strategy=None)


@pytest.fixture
def source(tmp_path, monkeypatch):
    "A config of ten judgements; keywords are its settings"
    monkeypatch.setenv('TROVE_NB_CACHE', str(tmp_path / 'cache'))
    passages = {f'd{i}': f'passage {i}' for i in range(10)}
    judgements = [(f'q{i % 2}', f'd{i}', i) for i in range(10)]
    write_collection(tmp_path, passages, {'q0': 'query 0', 'q1': 'query 1'}, judgements)

    def make(**settings):
        paths = dict(
            qrel_path=tmp_path / 'qrels.tsv',
            query_path=tmp_path / 'queries.jsonl',
            corpus_path=tmp_path / 'corpus.jsonl',
        )
        return MaterializedQRelConfig(**(paths | settings))

    make.folder = tmp_path
    return make


def opened(config):
    return MultiLevelDataset(ALL, qrel_config=config)


def entry(dataset):
    return dataset.pools['judged'].folder


def test_nothing_is_read_again(source, monkeypatch):
    first = opened(source(min_score=3))

    def fail(*args, **kwargs):
        pytest.fail('the judgements were read again')

    for reader in ('trove_nb.data.pipeline.load_qrel', 'trove_nb.data.text_rows.qrel_pieces'):
        monkeypatch.setattr(reader, fail)
    again = opened(source(min_score=3))
    assert again.get_qrel_nested_dict() == first.get_qrel_nested_dict() and entry(again) == entry(first)


@pytest.mark.parametrize(
    'settings',
    [
        dict(min_score=4),
        dict(max_score=4),
        dict(filter_fn=lambda r: r['score'] > 4),
        dict(filter_fn=pl.col('score') > 3),
        dict(group_top_k=1),
        dict(group_first_k=1),
        dict(group_filter_fn=lambda group: group[:1]),
        dict(score_transform=7),
        dict(score_transform='floor'),
        dict(group_random_k=2),
    ],
    ids=lambda o: next(iter(o)),
)
def test_settings_matter(source, settings):
    assert entry(opened(source(**settings))) != entry(opened(source()))


def test_a_changed_file_matters(source):
    before = opened(source())
    (source.folder / 'qrels.tsv').write_text('q0\td0\t1\n')
    assert opened(source()).get_qrel_nested_dict() == {'q0': {'d0': 1}} != before.get_qrel_nested_dict()


def test_policies_matter(source):
    (source.folder / 'qrels.tsv').write_text('q0\td0\t1\nq0\td99\t1\n')
    lenient = MultiLevelDataset(DataArguments(group_size=0, on_missing='drop'), qrel_config=source())
    assert len(lenient[0]['passage']) == 1
    with pytest.raises(ValueError, match='d99'):
        opened(source())


def test_a_moved_file_does_not_matter(source):
    before = opened(source())
    (source.folder / 'other.tsv').write_bytes((source.folder / 'qrels.tsv').read_bytes())
    assert entry(opened(source(qrel_path=source.folder / 'other.tsv'))) == entry(before)


def test_a_users_loader_matters(source, monkeypatch):
    before = opened(source())
    registry = loaders._LOADERS['qrel']
    monkeypatch.setattr(registry, '_entries', list(registry._entries))

    @loaders.register_loader('qrel')
    def one_pair(filepath):
        "One judgement, whatever the file holds"
        return pl.DataFrame({'qid': ['q0'], 'docid': ['d1'], 'score': [2]})

    assert opened(source()).get_qrel_nested_dict() == {'q0': {'d1': 2}} != before.get_qrel_nested_dict()


def test_a_changed_helper_function_matters(source, monkeypatch):
    monkeypatch.syspath_prepend(str(source.folder))
    module = source.folder / 'my_filters.py'
    module.write_text('LIMIT = 3\ndef good(r): return r["score"]>LIMIT\n')
    import my_filters

    def keep(r):
        return my_filters.good(r)

    few = len(opened(source(filter_fn=keep)).get_qrel_nested_dict()['q0'])
    module.write_text('LIMIT = 5000\ndef good(r): return r["score"]<LIMIT\n')
    importlib.reload(my_filters)
    assert len(opened(source(filter_fn=keep)).get_qrel_nested_dict()['q0']) > few


def test_without_source_nothing_is_kept(source):
    dataset = opened(source(filter_fn=eval('lambda r: r["score"]>4')))
    assert dataset.get_qrel_nested_dict() == {'q0': {'d6': 6, 'd8': 8}, 'q1': {'d5': 5, 'd7': 7, 'd9': 9}}
    assert 'no source' in dataset.notes[0] and not (source.folder / 'cache' / 'judgements').exists()


def test_another_process_finds_it(source):
    "Fingerprints hold across processes: hash seeds, import order and addresses are not in them"
    script = f"""
from trove_nb import DataArguments, MaterializedQRelConfig, MultiLevelDataset
folder = {str(source.folder)!r}
def keep(r): return r['score'] in {{1,2,3,4}} and r['docid'] not in {{'d1','d2'}}
paths = [f'{{folder}}/{{name}}' for name in ('qrels.tsv', 'corpus.jsonl', 'queries.jsonl')]
config = MaterializedQRelConfig(*paths, filter_fn=keep)
print(MultiLevelDataset(DataArguments(), qrel_config=config).pools['judged'].folder)"""
    (source.folder / 'script.py').write_text(script)
    runs = {
        subprocess.run(
            [sys.executable, source.folder / 'script.py'], capture_output=True, text=True, check=True
        ).stdout
        for _ in range(2)
    }
    assert len(runs) == 1
