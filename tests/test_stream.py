"A run's stream and requests: they change nothing, survive what happens to runs, and reach all processes"

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch

from trove_nb import RunControl, RunStream, read_stream
from trove_nb.testing import SmallCollection, number_collection

here = Path(__file__).parent


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return number_collection(tmp_path_factory.mktemp('stream')).folder


def same(one, two):
    return one.keys() == two.keys() and all(torch.equal(one[k], two[k]) for k in one)


def wait_for(stream, condition, seconds=60):
    until = time.time() + seconds
    while not condition(stream):
        assert time.time() < until, f'waited in vain: {stream}, {stream.records[-3:]}'
        stream.poll()
        time.sleep(0.005)


def steered(trainer, steer):
    "Train while `steer` reads the stream and makes requests in another thread"
    failures = []

    def other():
        try:
            steer(RunStream(trainer.args.output_dir), RunControl(trainer.args.output_dir))
        except BaseException as e:
            failures.append(e)
            RunControl(trainer.args.output_dir).stop()

    thread = threading.Thread(target=other)
    trainer.steering.requests_since = time.time()
    thread.start()
    trainer.train()
    thread.join()
    assert not failures, failures
    return read_stream(trainer.args.output_dir)


def test_watching_changes_nothing(folder):
    plain = SmallCollection(folder).trainer('plain')
    for callback in (plain.stream, plain.steering):
        plain.remove_callback(callback)
    plain.train()
    watched = SmallCollection(folder).trainer('watched', eval_strategy='steps', eval_steps=2)
    watched.train()
    assert same(plain.model.state_dict(), watched.model.state_dict())
    assert not (folder / 'plain' / 'stream.jsonl').exists()


def test_pause_save_evaluate_and_stop(folder):
    "What is done in a pause changes nothing; a stopped run is resumed as if it hadn't been"

    def steer(stream, control):
        wait_for(stream, lambda s: s.of_kind('step'))
        control.pause()
        wait_for(stream, lambda s: s.status == 'paused')
        at = len(stream.records)
        control.evaluate()
        wait_for(stream, lambda s: s.of_kind('eval'))
        control.save()
        wait_for(stream, lambda s: any(e['name'] == 'saved' for e in s.events))
        assert len({r['step'] for r in stream.records[at:]}) == 1
        control.resume()
        wait_for(stream, lambda s: s.status == 'running')
        control.stop(save=True)

    whole = SmallCollection(folder).trainer('whole', num_train_epochs=60)
    whole.train()
    stopped = SmallCollection(folder).trainer('stopped', num_train_epochs=60)
    seen = steered(stopped, steer)
    names = [event['name'] for event in seen.events]
    assert names == ['paused', 'evaluated', 'saved', 'resumed', 'stop_requested', 'saved']
    assert seen.status == 'stopped'
    assert stopped.state.global_step < whole.state.global_step
    resumed = SmallCollection(folder).trainer('stopped', num_train_epochs=60)
    resumed.train(resume_from_checkpoint=seen.events[-1]['detail']['path'])
    assert same(whole.model.state_dict(), resumed.model.state_dict())
    again = read_stream(folder / 'stopped')
    steps, losses = again.series('loss')
    assert again.status == 'finished'
    assert steps == list(range(1, whole.state.global_step + 1))
    assert losses == read_stream(folder / 'whole').series('loss')[1]


def test_stop_in_an_evaluation(folder):
    def steer(stream, control):
        wait_for(stream, lambda s: any(e['name'] == 'evaluated' for e in s.events))
        control.stop(save=True)

    trainer = SmallCollection(folder).trainer('long_dev', per_device_eval_batch_size=1, max_steps=500)
    prediction_step = trainer.prediction_step

    def slow_step(*args, **kw):
        time.sleep(0.05)
        return prediction_step(*args, **kw)

    trainer.prediction_step = slow_step
    RunControl(folder / 'long_dev').evaluate()

    def first_evaluate(stream, control):
        wait_for(stream, lambda s: s.start)
        control.evaluate()
        steer(stream, control)

    seen = steered(trainer, first_evaluate)
    assert not seen.of_kind('eval')
    assert seen.status == 'stopped' and seen.events[-1]['name'] == 'saved'


def test_learning_rate_goes_on_from_there(folder):
    def steer(stream, control):
        wait_for(stream, lambda s: s.of_kind('step'))
        control.set_learning_rate(1e-5)
        wait_for(stream, lambda s: s.events)

    seen = steered(SmallCollection(folder).trainer('rate', max_steps=400), steer)
    event, (_, rates) = seen.events[0], seen.series('learning_rate')
    at = event['step']
    assert rates[:at] == pytest.approx([1e-3 * (1 - i / 400) for i in range(at)])
    assert rates[at:] == pytest.approx([1e-5 * (400 - i) / (400 - at) for i in range(at, 400)])
    assert event['detail']['to'] == 1e-5


def test_a_failure_ends_the_stream(folder):
    trainer = SmallCollection(folder).trainer('fails')

    def broken(*args, **kw):
        raise RuntimeError('<b>no</b> more memory')

    trainer.compute_loss = broken
    with pytest.raises(RuntimeError):
        trainer.train()
    end = read_stream(folder / 'fails').end
    assert (end['status'], end['error']) == ('failed', 'RuntimeError: <b>no</b> more memory')
    assert 'in broken' in end['traceback']


def test_trained_twice(folder):
    "The first stream is moved aside"
    trainer = SmallCollection(folder).trainer('twice', max_steps=2)
    for _ in range(2):
        trainer.train()
    assert sorted(p.name for p in (folder / 'twice').glob('*.jsonl')) == ['stream-1.jsonl', 'stream.jsonl']
    assert all(read_stream(p).status == 'finished' for p in (folder / 'twice').glob('*.jsonl'))


def test_nan_losses_are_seen(folder):
    trainer = SmallCollection(folder).trainer('nan', max_steps=2)
    compute = trainer.compute_loss
    trainer.compute_loss = lambda *args, **kw: compute(*args, **kw) * float('nan')
    trainer.train()
    assert all(v != v for v in read_stream(folder / 'nan').series('loss')[1])


def test_no_room_for_the_stream(folder, caplog, monkeypatch):
    "Training goes on, and each file that can't be written is logged once"
    trainer = SmallCollection(folder).trainer('full', max_steps=3)
    opened = Path.open

    def full(self, mode='r', *args, **kw):
        if not mode.startswith('r'):
            raise OSError(28, 'No space left on device')
        return opened(self, mode, *args, **kw)

    monkeypatch.setattr(Path, 'open', full)
    trainer.train()
    assert trainer.state.global_step == 3
    warned = [r.name for r in caplog.records if 'No space left' in r.message]
    assert warned.count('trove_nb.training.stream') == 1
    assert warned.count('trove_nb.training.metadata') == 1


def start_process(folder, name, processes=1, **kw):
    "A training of `small_run.py`, in one process or under torchrun"
    launcher = [sys.executable]
    if processes > 1:
        launcher += ['-m', 'torch.distributed.run', '--standalone', '--nproc-per-node', str(processes)]
    settings = {'OMP_NUM_THREADS': '1', 'ACCELERATE_USE_CPU': 'true', 'PYTHONPATH': str(here.parent)}
    return subprocess.Popen(
        [*launcher, str(here / 'small_run.py'), str(folder), name, json.dumps(kw)],
        env={**os.environ, **settings},
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_killed(folder):
    "Nothing is lost but what wasn't written; the reader knows that the run is gone"
    process, stream = start_process(folder, 'killed', max_steps=100_000), RunStream(folder / 'killed')
    try:
        wait_for(stream, lambda s: len(s.of_kind('step')) > 2, 120)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    stream.poll()
    with stream.path.open('a') as f:
        f.write('{"kind": "step", "st')
    assert stream.status == 'lost' and read_stream(folder / 'killed').n_broken == 0
    SmallCollection(folder).trainer('killed', max_steps=2).train()
    assert read_stream(folder / 'killed').status == 'finished'


def test_interrupt(folder):
    "The first ends the run after its step"
    process = start_process(folder, 'interrupted', max_steps=100_000)
    stream = RunStream(folder / 'interrupted')
    wait_for(stream, lambda s: s.of_kind('step'), 120)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    stream.poll()
    assert process.returncode == 0, errors
    assert stream.status == 'stopped', errors
    assert [event['name'] for event in stream.events] == ['interrupted'], errors


def test_two_processes_act_together(folder):
    "Paused, slowed down and stopped in the same step, or they would wait for each other for ever"
    process = start_process(folder, 'two', processes=2, max_steps=100_000, per_device_train_batch_size=2)
    stream, control = RunStream(folder / 'two'), RunControl(folder / 'two')
    try:
        wait_for(stream, lambda s: s.of_kind('step'), 120)
        control.pause()
        wait_for(stream, lambda s: s.status == 'paused')
        control.set_learning_rate(1e-4)
        control.evaluate()
        wait_for(stream, lambda s: s.of_kind('eval'))
        control.resume()
        control.stop(save=True)
        _, errors = process.communicate(timeout=120)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    stream.poll()
    assert process.returncode == 0, errors[-3000:]
    assert stream.status == 'stopped' and stream.start['processes'] == 2
    assert Path(stream.events[-1]['detail']['path']).is_dir()
