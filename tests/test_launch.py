"""An experiment with a loss and an encoder of notebook cells

It is trained in the notebook, by its script, and in several processes; it is stopped, broken and killed."""

import random
import shutil
import socket
import subprocess
import sys
import time

import psutil
import pytest
from execnb.shell import CaptureShell

from trove_nb import Experiment, LaunchedRun, launch, read_stream, reproduce, runs
from trove_nb.core.errors import RunError
from trove_nb.testing import number_collection, restore_registrations
from trove_nb.training.metadata import read_run_metadata

CELLS = [
    """
import json
from pathlib import Path
import torch
from torch import nn
from trove_nb import *
""",
    """
SHARPNESS = 2.0

def sharpen(scores): return scores*SHARPNESS
""",
    """
class SharpLoss(RetrievalLoss):
    "InfoNCE on sharpened scores"
    _alias = 'sharp'

    def forward(self, logits, label=None, mask=None, reduction='mean', **kwargs):
        positive = torch.arange(len(logits), device=logits.device)*(logits.shape[1]//len(logits))
        scores = sharpen(logits)/self.temperature
        if mask is not None: scores = scores.masked_fill(~mask, float('-inf'))
        return nn.functional.cross_entropy(scores, positive, reduction=reduction)
""",
    """
class ShiftedEncoder(DefaultEncoder):
    "The default encoder, and a learned shift"
    _alias = 'shifted'

    def __init__(self, args, **kwargs):
        super().__init__(args, **kwargs)
        self.shift = nn.Parameter(torch.randn(self.model.config.hidden_size)/100)

    def encode(self, inputs): return super().encode(inputs)+self.shift
""",
    """
def judged(row): return row['score']>=0
short = lambda text, **kwargs: text[:40]
""",
    """
def source(**steps):
    paths = [str(home / name) for name in ('qrels.tsv', 'corpus.jsonl', 'queries.jsonl')]
    return MaterializedQRelConfig(*paths, **steps)

experiment = Experiment(
    ModelArguments(
        str(home / 'tiny'),
        encoder_class='shifted',
        pooling='mean',
        normalize=True,
        loss='sharp',
        temperature=0.5,
        dropout=0.0,
    ),
    RetrievalTrainingArguments(
        str(home / 'notebook'),
        max_steps=6,
        per_device_train_batch_size=8,
        learning_rate=1e-4,
        save_strategy='no',
        disable_tqdm=True,
        eval_strategy='steps',
        eval_steps=3,
    ),
    DataArguments(group_size=3, query_max_len=16, passage_max_len=16),
    positives=source(min_score=1, filter_fn=judged),
    negatives=source(max_score=1),
    dev=source(),
    dev_group_size=7,
    cutoffs=[5],
    format_query=short,
)
""",
]


@pytest.fixture(scope='module')
def notebook(tmp_path_factory):
    "A notebook whose cells ran, and its variables"
    home = number_collection(tmp_path_factory.mktemp('launch')).folder
    shell = CaptureShell()
    shell.user_ns['home'] = home
    with restore_registrations():
        for cell in CELLS:
            shell.run(cell)
            assert not shell.exc, shell.exc
        yield shell


def in_notebook(shell, code):
    "What an expression of a cell gives"
    shell.run(f'_answer = {code}')
    if shell.exc:
        raise shell.exc
    return shell.user_ns['_answer']


def losses(folder):
    return read_stream(folder).series('loss')[1]


@pytest.fixture(scope='module')
def trained(notebook):
    "The losses of the notebook's own run"
    in_notebook(notebook, 'experiment.train()')
    found = losses(notebook.user_ns['home'] / 'notebook')
    assert len(found) == 6
    return found


@pytest.fixture(scope='module')
def exported(notebook):
    return in_notebook(notebook, "experiment.export(home/'exported')")


def test_what_is_exported(exported):
    text = (exported / 'definitions.py').read_text()
    for part in (
        'class SharpLoss(RetrievalLoss)',
        'class ShiftedEncoder(DefaultEncoder)',
        'def sharpen',
        'SHARPNESS = 2.0',
        'def judged',
        'short = lambda',
    ):
        assert part in text
    assert len((exported / 'train.py').read_text().splitlines()) <= 45
    assert 'trust_remote_code' not in (exported / 'config.yaml').read_text()


def test_script_gives_the_losses_of_the_notebook(exported, trained):
    done = subprocess.run([sys.executable, exported / 'train.py'], capture_output=True, text=True, cwd='/')
    assert not done.returncode, done.stderr
    assert losses(exported) == trained
    again = subprocess.run([sys.executable, exported / 'train.py'], capture_output=True, text=True)
    assert again.returncode and 'the folder holds a run' in again.stderr


def test_launcher_with_one_process_gives_the_same(notebook, trained):
    home = notebook.user_ns['home']
    run = in_notebook(notebook, "experiment.updated(output_dir=str(home/'one')).launch(1)").wait(120)
    assert run.status == 'finished' and losses(home / 'one') == trained


def test_two_processes_give_the_same_within_a_millionth(notebook, trained):
    home = notebook.user_ns['home']
    run = in_notebook(
        notebook, "experiment.updated(output_dir=str(home/'two'), per_device_train_batch_size=4).launch(2)"
    ).wait(120)
    assert read_run_metadata(home / 'two')['starts'][0]['processes'] == 2 and run.status == 'finished'
    assert max(abs(a - b) for a, b in zip(losses(home / 'two'), trained, strict=True)) < 1e-6


def test_kits_own_script_and_overrides(exported, trained, tmp_path):
    command = [
        sys.executable,
        '-m',
        'trove_nb.scripts.train',
        str(exported / 'config.yaml'),
        '--output_dir',
        str(tmp_path / 'own'),
        '--learning_rate',
        '2e-4',
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert not done.returncode, done.stderr
    assert losses(tmp_path / 'own')[0] == trained[0] and losses(tmp_path / 'own') != trained
    assert (
        Experiment.load(tmp_path / 'own').training.learning_rate == 2e-4
    )  # the folder says what was trained in it


def test_reproduction(notebook, trained):
    again = reproduce(notebook.user_ns['home'] / 'notebook', timeout=120)
    assert again.same and again.steps == 6, again


def test_all_runs_are_listed(notebook, trained):
    table = runs(notebook.user_ns['home'])
    assert {'notebook'} <= {*table['name']} and {*table['status']} == {'finished'}


# ---- stopping, failing, dying


def long_run(notebook, name, **changes):
    home = notebook.user_ns['home']
    notebook.user_ns['_changes'] = dict(
        output_dir=str(home / name), max_steps=2000, eval_strategy='no', **changes
    )
    return in_notebook(notebook, 'experiment.updated(**_changes)')


def wait_until(condition, seconds=60):
    "Wait until a condition holds"
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, f'the condition did not hold within {seconds} s'
        time.sleep(0.05)


def steps_of(run):
    return run.stream.progress[0]


def processes_of(run):
    "The launcher and its ranks"
    launcher = psutil.Process(run.metadata['pid'])
    found = []
    for process in [launcher, *launcher.children(recursive=True)]:
        if any('train.py' in word for word in process.cmdline()):
            found.append(process)
    return found


def all_gone(processes):
    return not [p for p in processes if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]


def test_stop_is_obeyed_by_all_ranks(notebook):
    run = long_run(notebook, 'stopped').launch(2)
    wait_until(lambda: steps_of(run) > 5)
    ranks = processes_of(run)
    assert len(ranks) >= 3
    run.stop()
    assert run.wait(60).status == 'stopped' and all_gone(ranks)


def test_crashed_rank_is_named_with_its_traceback(notebook, exported, tmp_path):
    folder = in_notebook(notebook, f'experiment.export({str(tmp_path / "crash")!r})')
    script = folder / 'train.py'
    script.write_text(
        script.read_text().replace(
            '    trainer.train(',
            "    if train_args.process_index==1: raise OSError('disk of rank 1 is gone')\n    trainer.train(",
        )
    )
    run = launch(folder, 2)
    with pytest.raises(RunError, match='disk of rank 1 is gone'):
        run.wait(120)
    assert run.status == 'failed' and list(run.failures)[-1] == 'rank-1' and 'Traceback' in run.error


@pytest.mark.parametrize('victim', ['launcher', 'rank'])
def test_no_orphans_and_the_run_goes_on(notebook, victim):
    """A run that is killed at a random moment leaves no process behind and a folder that can be read

    It goes on from its last checkpoint."""
    seed = random.randrange(1000)
    run = long_run(
        notebook, f'killed-{victim}', save_strategy='steps', save_steps=10, save_total_limit=2
    ).launch(2)
    wait_until(lambda: steps_of(run) > 12)
    time.sleep(random.Random(seed).random())
    ranks = processes_of(run)
    launcher = run.metadata['pid']
    if victim == 'launcher':
        target = psutil.Process(launcher)
    else:
        target = next(p for p in ranks if p.pid != launcher and p.environ().get('RANK') == '1')
    target.kill()
    wait_until(lambda: all_gone(ranks), 40)
    assert run.status in ('lost', 'failed'), (run.status, seed)
    assert read_stream(run.folder).progress[0] > 12 and len(runs(run.folder)) == 1
    done = max(int(p.name.partition('-')[2]) for p in run.folder.glob('checkpoint-*'))
    again = launch(run.folder, 2, ['--resume_from_checkpoint', 'last'])
    wait_until(
        lambda: read_stream(run.folder).start.get('resumed_from') is not None and steps_of(again) > done + 3
    )
    assert read_stream(run.folder).start['resumed_from'] == done
    again.kill()
    assert all_gone(ranks) and not again.running


def test_kernel_dies_and_the_run_goes_on(notebook):
    folder = long_run(notebook, 'orphaned-kernel').export(namespace=notebook.user_ns)
    code = f'from trove_nb import launch; import time; launch({str(folder)!r}, 1); time.sleep(600)'
    kernel = subprocess.Popen([sys.executable, '-c', code])
    wait_until(lambda: (folder / 'launch.json').is_file() and read_stream(folder).progress[0] > 3)
    kernel.kill()
    kernel.wait()
    run = LaunchedRun(folder)  # as another notebook finds it
    before = steps_of(run)
    wait_until(lambda: steps_of(run) > before + 5)
    assert run.running and run.status == 'running'
    run.stop()
    wait_until(lambda: not run.running)
    assert run.status == 'stopped'


def test_two_machines_on_loopback(notebook, exported, trained, tmp_path):
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        port = s.getsockname()[1]
    first = in_notebook(
        notebook,
        f'experiment.updated(output_dir={str(tmp_path / "first")!r}, per_device_train_batch_size=4).export()',
    )
    second = shutil.copytree(first, tmp_path / 'second')
    both = [
        launch(folder, 2, num_machines=2, machine_rank=i, main_process_port=port)
        for i, folder in enumerate((first, second))
    ]
    both[0].wait(120)
    wait_until(lambda: not both[1].running)
    assert max(abs(a - b) for a, b in zip(losses(first), trained, strict=True)) < 1e-6
    assert not (second / 'stream.jsonl').exists()
