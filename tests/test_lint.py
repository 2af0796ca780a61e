"Each fault, planted alone in a sound collection, is found with its count and an example, and nothing else is"

import pytest

from trove_nb.data.arguments import DataArguments
from trove_nb.data.datasets import BinaryDataset
from trove_nb.data.lint import lint
from trove_nb.data.qrel_config import MaterializedQRelConfig
from trove_nb.testing import write_texts


class Collection:
    """Thirty queries on thirty things; the last five queries are the test's

    Each has three passages, graded 2, 1, 0: the better, the more words they share."""

    def __init__(self):
        self.corpus, self.queries = [], []
        self.train, self.test = [], []
        for i in range(30):
            self.queries.append((f'q{i}', f'red{i} round{i} thing{i}'))
            self.corpus += [
                (f'd{i}a', f'a red{i} round{i} thing{i} is here'),
                (f'd{i}b', f'one thing{i} of wood'),
                (f'd{i}c', f'nothing of sort {i}'),
            ]
            judgements = [(f'q{i}', f'd{i}{letter}', grade) for letter, grade in zip('abc', (2, 1, 0))]
            if i < 25:
                self.train += judgements
            else:
                self.test += judgements

    def configs(self, folder):
        write_texts(folder / 'corpus.jsonl', self.corpus)
        write_texts(folder / 'queries.jsonl', self.queries)
        configs = {}
        for name, judgements in (('train', self.train), ('test', self.test)):
            path = folder / f'{name}.tsv'
            lines = [f'{query}\t{passage}\t{score}' for query, passage, score in judgements]
            path.write_text('\n'.join(['qid\tdocid\tscore', *lines]))
            configs[name] = MaterializedQRelConfig(path, folder / 'corpus.jsonl', folder / 'queries.jsonl')
        return configs


def unknown_query(c):
    c.train.append(('q99', 'd1a', 1))


def unknown_passage(c):
    c.train.append(('q1', 'd99', 1))


def twice_with_other_score(c):
    c.train.append(('q1', 'd1a', 0))


def empty_passage(c):
    c.corpus.append(('d88', ' \t'))


def empty_query(c):
    c.queries.append(('q88', ''))


def duplicate_record(c):
    c.corpus.append(c.corpus[4])


def two_texts(c):
    c.corpus.append((c.corpus[4][0], 'something else'))


def duplicate_passage(c):
    c.corpus.append(('d77', c.corpus[0][1].upper()))


def duplicate_query(c):
    c.queries.append(('q77', '  RED1 round1\nthing1'))


def no_positive(c):
    c.train = [(q, d, 0) if q == 'q3' else (q, d, s) for q, d, s in c.train]


def inverted(c):
    c.train = [(q, d, 3 - s) for q, d, s in c.train]


def same_query_in_test(c):
    c.test.append(('q1', 'd2c', 2))


def same_pair_in_test(c):
    c.test.append(('q1', 'd1b', 1))


def copy_as_negative(c):
    c.corpus.append(('d66', c.corpus[3][1]))
    c.train.append(('q1', 'd66', 0))


FAULTS = {
    unknown_query: [('unknown query id', 1, 'q99')],
    unknown_passage: [('unknown passage id', 1, 'd99')],
    twice_with_other_score: [('repeated judgement', 1, 'q1 d1a: [2, 0]')],
    empty_passage: [('empty text', 1, 'd88')],
    empty_query: [('empty text', 1, 'q88')],
    duplicate_record: [('duplicate id', 1, 'd1b')],
    duplicate_passage: [('duplicate text', 1, "d0a = d77: 'a red0")],
    duplicate_query: [('duplicate text', 1, "q1 = q77: 'red1")],
    no_positive: [('query without positive', 1, 'q3')],
    inverted: [('inverted grades', 25, None)],
    same_query_in_test: [('query in two splits', 1, "q1 = q1: 'red1")],
    same_pair_in_test: [
        ('judgement in two splits', 1, 'q1 d1b = q1 d1b'),
        ('query in two splits', 1, "q1 = q1: 'red1"),
    ],
    copy_as_negative: [
        ('copy of a positive as negative', 1, 'q1 d66 = d1a'),
        ('duplicate text', 1, "d1a = d66: 'a red1"),
    ],
}


def grave(report):
    "Errors and warnings"
    found = [finding for finding in report if finding.severity != 'note']
    return sorted((finding.kind, finding.count, finding.examples) for finding in found)


def test_sound(tmp_path):
    report = lint(**Collection().configs(tmp_path))
    assert report.ok and grave(report) == []
    assert {finding.kind for finding in report} == {'labels', 'judged share'}


@pytest.mark.parametrize('plant', FAULTS, ids=lambda f: f.__name__)
def test_planted(plant, tmp_path):
    collection = Collection()
    plant(collection)
    report = lint(**collection.configs(tmp_path))
    found = grave(report)
    assert not report.ok
    assert len(found) == len(FAULTS[plant])
    for (kind, count, examples), (expected_kind, expected_count, example) in zip(found, FAULTS[plant]):
        assert (kind, count) == (expected_kind, expected_count)
        assert example is None or examples[0].startswith(example)
    assert 'Repair: ' in repr(report) and len(report.to_pandas()) == len(report) and report._repr_html_()


def test_one_id_two_texts(tmp_path):
    collection = Collection()
    two_texts(collection)
    report = lint(**collection.configs(tmp_path))
    assert [finding.kind for finding in report if finding.severity == 'error'] == ['unreadable file']
    assert "id 'd1b' stands for two texts" in report[0].examples[0]


def test_positive_as_negative(tmp_path):
    config = Collection().configs(tmp_path)['train'].to_dict()
    positive = MaterializedQRelConfig(**{**config, 'min_score': 1})
    negative = MaterializedQRelConfig(**{**config, 'max_score': 2})
    report = lint(train=dict(positive=positive, negative=negative))
    assert grave(report) == [('positive as negative', 25, ('q0 d0b', 'q1 d1b', 'q2 d2b'))]
    dataset = BinaryDataset(
        DataArguments(group_size=2, on_overlap='drop'), positive_configs=positive, negative_configs=negative
    )
    assert grave(lint(train=dataset)) == grave(report)


@pytest.mark.parametrize('name', ['corpus_path', 'query_path', 'qrel_path'])
def test_missing_file(name, tmp_path):
    "A file that can't be read is a finding, and the rest is still checked"
    collection = Collection()
    no_positive(collection)
    configs = collection.configs(tmp_path)
    setattr(configs['test'], name, [str(tmp_path / 'gone')])
    report = lint(**configs)
    assert report[0].severity == 'error' and 'no such file' in report[0].examples[0]
    assert report.find('query without positive')[0].examples == ('q3',)
    setattr(configs['train'], name, [str(tmp_path / 'gone')])
    assert not lint(**configs).ok
