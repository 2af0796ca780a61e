"Names, paths and texts that would do harm if they were put into scripts or YAML as they are"

import os
import subprocess
from pathlib import Path

import pytest
import yaml

from trove_nb import (
    DataArguments,
    Experiment,
    MaterializedQRelConfig,
    ModelArguments,
    RetrievalTrainingArguments,
)
from trove_nb.core.errors import ConfigError, RunError
from trove_nb.testing import number_collection

NAMES = [
    "it's",
    'say "so"',
    '$(touch canary)',
    '`touch canary`',
    '; touch canary',
    '&& touch canary',
    '| touch canary',
    '> canary',
    '$HOME',
    '${IFS}',
    '!!python',
    '!!python/object/apply:os.system ["touch canary"]',
    'a\nb',
    'a\tb',
    'tail\\',
    '-rf',
    '--learning_rate',
    '~',
    '~root',
    '*',
    '?',
    '[a]',
    '{x,y}',
    '# no comment',
    ': colon',
    '- dash',
    '& anchor',
    '%s',
    '{config}',
    '"""',
    "'''",
    'ünï çødé',
    '日本語',
    '\u202egnp.exe',
    'a b  c',
    'null',
    'true',
    '1e5',
    '0x10',
    '@at',
    '| block',
    '.. dots',
    '...',
]


@pytest.fixture(scope='module')
def home(tmp_path_factory):
    return number_collection(tmp_path_factory.mktemp('hostile')).folder


@pytest.fixture
def stub(tmp_path):
    "Stands for Python and writes down what it was called with"
    path = tmp_path / 'stub'
    path.write_text('#!/bin/bash\nprintf "%s\\0" "$@" > "$CALLED_WITH"\n')
    path.chmod(0o755)
    return path


def sources_of(folder):
    "The collection of a folder as positives and negatives"
    paths = [str(folder / name) for name in ('qrels.tsv', 'corpus.jsonl', 'queries.jsonl')]
    positives = MaterializedQRelConfig(*paths, min_score=1)
    negatives = MaterializedQRelConfig(*paths, max_score=1)
    return dict(positives=positives, negatives=negatives)


@pytest.mark.parametrize('name', NAMES)
def test_exported(home, tmp_path, stub, name, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / 'data' / name
    folder.mkdir(parents=True)
    for o in ('qrels.tsv', 'corpus.jsonl', 'queries.jsonl'):
        (folder / o).write_bytes((home / o).read_bytes())
    experiment = Experiment(
        ModelArguments(str(home / 'tiny'), pooling='mean', loss='infonce', query_prompt=name),
        RetrievalTrainingArguments(str(tmp_path / 'runs' / name), run_name=name, use_cpu=True),
        DataArguments(dataset_name=name, group_size=3),
        **sources_of(folder),
    )
    there = experiment.export()
    assert there == tmp_path / 'runs' / name
    loaded = Experiment.load(there)
    assert loaded.model.query_prompt == loaded.data.dataset_name == loaded.training.run_name == name
    assert loaded.positives[0].qrel_path == [str(folder / 'qrels.tsv')]
    assert Path(loaded.training.output_dir) == there
    assert Experiment.from_text(experiment.code).model.query_prompt == name
    called_with = tmp_path / 'called_with'
    subprocess.run(
        [there / 'launch.sh', '--run_name', name],
        env={**os.environ, 'PYTHON': str(stub), 'CALLED_WITH': str(called_with)},
        check=True,
    )
    words = called_with.read_text().split('\0')[:-1]
    assert words[-3:] == [str(there / 'train.py'), '--run_name', name]
    assert name not in (there / 'train.py').read_text() or len(name) < 4
    assert not list(tmp_path.rglob('canary'))


@pytest.mark.parametrize('name', NAMES)
def test_command_line(home, name):
    source = MaterializedQRelConfig(name, str(home / 'corpus.jsonl'), str(home / 'queries.jsonl'))
    experiment = Experiment(
        ModelArguments(str(home / 'tiny'), query_prompt=name),
        RetrievalTrainingArguments(name),
        positives=source,
    )
    printed = subprocess.run(
        ['bash', '-c', f'printf "%s\\0" {experiment.to_command_line()}'],
        capture_output=True,
        text=True,
        check=True,
    )
    again = Experiment.from_command_line(printed.stdout.split('\0')[:-1])
    assert again.model.query_prompt == name
    assert again.training.output_dir == experiment.training.output_dir
    assert again.positives[0].qrel_path == experiment.positives[0].qrel_path


def test_yaml_runs_nothing(home, tmp_path):
    (tmp_path / 'config.yaml').write_text(
        f'model: !!python/object/apply:os.system ["touch {tmp_path}/canary"]\ntraining: {{}}\n'
    )
    with pytest.raises(ConfigError):
        Experiment.load(tmp_path)
    assert not (tmp_path / 'canary').exists()


def test_a_run_is_not_overwritten(home, tmp_path):
    experiment = Experiment(
        ModelArguments(str(home / 'tiny'), pooling='mean', loss='infonce'),
        RetrievalTrainingArguments(str(tmp_path / 'run'), use_cpu=True),
        DataArguments(group_size=3),
        **sources_of(home),
    )
    experiment.export()
    (tmp_path / 'run' / 'checkpoint-5').mkdir()
    for call in (experiment.export, experiment.train, experiment.begin, experiment.launch):
        with pytest.raises(RunError, match='the folder holds'):
            call()
    config = yaml.safe_load((tmp_path / 'run' / 'config.yaml').read_text())
    assert config['model'].get('trust_remote_code') is None
