"Live runs without a browser: widgets are pressed through their models while an encoder trains in a thread"

import asyncio
import json
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import trove_nb.lab.live as live_module
import trove_nb.lab.panel as panel_module
from trove_nb import RetrievalTrainingArguments, attach, live, read_stream, watch
from trove_nb.lab.curves import RunCurves
from trove_nb.testing import SmallCollection, number_collection

FOR_EVER = dict(max_steps=100_000)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return number_collection(tmp_path_factory.mktemp('live')).folder


@pytest.fixture
def notebook(monkeypatch):
    "As if there was a kernel: what is displayed is kept"
    shown = []

    class Handle:
        def update(self, bundle, raw):
            shown.append(bundle)

    def display(bundle, raw, display_id):
        shown.append(bundle)
        return Handle()

    monkeypatch.setattr(live_module, 'in_notebook', lambda: True)
    monkeypatch.setattr('IPython.display.display', display)
    return shown


def until(true, seconds=30):
    end = time.time() + seconds
    while not true():
        assert time.time() < end, 'it took too long'
        time.sleep(0.02)


def events(run):
    return [e['name'] for e in run.refresh().stream.events]


def test_the_buttons_steer(folder, notebook):
    run = live(SmallCollection(folder).trainer('steered', **FOR_EVER))
    panel, b = run.panel, run.panel.controls
    until(lambda: panel.first_picture)
    assert panel.charts.value.count('<svg xmlns') >= 5 and 'running' in panel.status.value
    b.pause.click()
    until(lambda: b.pause.description == 'Go on')
    step = run.refresh().stream.progress[0]
    b.evaluate.click()
    b.save.click()
    b.double.click()
    b.double.click()
    until(lambda: {'evaluated', 'saved'} <= set(events(run)) and 'learning_rate' in events(run))
    until(lambda: b.requested_rate is None)
    rates = [e['detail'] for e in run.stream.events if e['name'] == 'learning_rate']
    assert rates[-1]['to'] == pytest.approx(4 * rates[0]['from'], rel=0.01)
    assert run.trainer.state.global_step - step <= 1
    b.pause.click()
    until(lambda: 'resumed' in events(run) and b.pause.description == 'Pause')
    asked = time.time()
    b.stop.click()
    assert (b.stop.description, b.stop.disabled) == ('Stopping…', True)
    run.wait()
    assert time.time() - asked < 10 and run.stream.status == 'stopped'
    assert (b.stop.description, b.stop.disabled, b.pause.disabled) == ('Save checkpoint', False, True)
    b.stop.click()
    checkpoint = folder / 'steered' / f'checkpoint-{run.trainer.state.global_step}'
    assert b.stop.description == 'Saved' and (checkpoint / 'trainer_state.json').exists()
    in_pictures = ''.join(re.findall('>([PGESLX…]+)</text>', panel.charts.value))
    in_key = re.findall('<b style="border-radius:[^>]*>(.)</b>', panel.charts.value)
    assert set('PGESLX') <= {*in_pictures, *in_key}
    assert 'image/png' in notebook[-1] and set(notebook[0]) == {panel_module.WIDGET_MIME, 'text/plain'}


def test_stop_takes_one_step(folder):
    run = live(SmallCollection(folder).trainer('one step', **FOR_EVER), baseline=False)
    until(lambda: run.trainer.state.global_step > 3)
    stopped = []

    class NotedControl(live_module.LocalRunControl):
        def stop(self, save=False):
            stopped.append(run.trainer.state.global_step)
            super().stop(save)

    run.control.__class__ = NotedControl
    run.stop()
    run.wait()
    # The step that is done, and one more if the request came within its end.
    assert run.trainer.state.global_step - stopped[0] <= 2


def test_a_broken_panel_harms_nothing(folder, notebook, monkeypatch, caplog):
    def broken(*args):
        raise ZeroDivisionError('no picture today')

    monkeypatch.setattr(panel_module, 'run_chart', broken)
    run = live(SmallCollection(folder).trainer('broken panel', max_steps=6), baseline=False)
    assert run.wait().global_step == 6 and run.panel.finished.is_set()
    assert sum('the live view failed' in r.message for r in caplog.records) == 1


def test_a_failed_picture_is_noted_on_the_run(folder, notebook, monkeypatch):
    run = live(SmallCollection(folder).trainer('noted', **FOR_EVER), baseline=False)
    until(lambda: run.panel.first_picture)
    monkeypatch.setattr(panel_module, 'status_html', None)
    until(lambda: 'display_failed' in events(run))
    run.stop()
    run.wait()
    assert events(run).count('display_failed') == 1


def test_an_error_is_seen_and_raised(folder, notebook):
    trainer = SmallCollection(folder).trainer('fails', max_steps=9)
    step = trainer.training_step

    def third_fails(*args, **kwargs):
        if trainer.state.global_step == 3:
            raise RuntimeError('<script>alert(1)</script>')
        return step(*args, **kwargs)

    trainer.training_step = third_fails
    run = live(trainer, baseline=False)
    with pytest.raises(RuntimeError):
        run.wait()

    async def waiting():
        return await run

    with pytest.raises(RuntimeError):
        asyncio.run(waiting())
    assert run.stream.status == 'failed' and 'Traceback' in run.panel.errors.value
    assert '<script>' not in run.panel.errors.value + run.report()


def test_an_error_before_the_first_step_is_seen_too(folder, notebook):
    trainer = SmallCollection(folder).trainer('early', max_steps=9)
    trainer.model.loss = None
    run = live(trainer, baseline=False)
    with pytest.raises(ValueError, match='no loss'):
        run.wait()
    assert 'no loss to train with' in run.panel.errors.value and 'failed' in run.panel.status.value


def test_the_baseline_is_a_flat_line(folder):
    trainer = SmallCollection(folder).trainer('baseline', max_steps=6, eval_strategy='steps', eval_steps=3)
    before = trainer.evaluate()
    run = live(trainer)
    run.wait()
    values = run.stream.baselines['zero-shot']['values']
    assert values['eval_ndcg_cut_5'] == pytest.approx(before['eval_ndcg_cut_5'])
    assert 'zero-shot' in run.report()


def test_await_lets_others_run(folder):
    run, ticks = live(SmallCollection(folder).trainer('awaited', **FOR_EVER), baseline=False), []

    async def both():
        async def other():
            while run.trainer.state.global_step < 3 or len(ticks) < 3:
                ticks.append(1)
                await asyncio.sleep(0.02)
            run.stop()

        _, result = await asyncio.gather(other(), asyncio.wait_for(outcome(), 60))
        return result

    async def outcome():
        return await run

    assert asyncio.run(both()).global_step == run.trainer.state.global_step and len(ticks) >= 3


def test_the_first_interrupt_stops_and_the_second_leaves(folder):
    run = live(SmallCollection(folder).trainer('interrupted', **FOR_EVER), baseline=False)
    until(lambda: run.trainer.state.global_step > 1)
    waits, wait = iter([KeyboardInterrupt]), run.done.wait

    def interrupted(seconds):
        for error in waits:
            raise error
        return wait(seconds)

    run.done.wait = interrupted
    run.wait()
    assert run.stream.status == 'stopped'
    again = live(SmallCollection(folder).trainer('interrupted twice', **FOR_EVER), baseline=False)

    def always(seconds):
        raise KeyboardInterrupt

    again.done.wait, wait = always, again.done.wait
    with pytest.raises(KeyboardInterrupt):
        again.wait()
    again.done.wait = wait
    again.wait()


def test_arguments_made_meanwhile_harm_nothing(folder):
    run = live(SmallCollection(folder).trainer('meanwhile', **FOR_EVER), baseline=False)
    for i in range(5):
        RetrievalTrainingArguments(str(folder / f'other{i}'), use_cpu=True)
        step = run.trainer.state.global_step
        until(lambda step=step: run.trainer.state.global_step > step + 2 or run.done.is_set())
    other = SmallCollection(folder).trainer('other', max_steps=3)
    assert other.train().global_step == 3 and run.error is None
    run.stop()
    run.wait()
    assert run.trainer.evaluate()['eval_loss'] > 0


def test_the_thread_trains_the_same(folder):
    losses = []
    for name, train in (('thread', lambda t: live(t, baseline=False).wait()), ('main', lambda t: t.train())):
        train(SmallCollection(folder).trainer(f'same {name}', max_steps=8))
        losses.append(read_stream(folder / f'same {name}').series('loss')[1])
    assert losses[0] == losses[1]


def test_another_process_is_watched_and_steered(folder, notebook):
    code = Path(__file__).with_name('small_run.py')
    process = subprocess.Popen(
        [sys.executable, str(code), str(folder), 'elsewhere', json.dumps(FOR_EVER)], env=None
    )
    try:
        view = watch(folder / 'elsewhere')
        assert 'waiting' in view.panel.status.value
        until(lambda: view.panel.first_picture, 90)
        view.panel.controls.stop.click()
        assert process.wait(60) == 0
        until(view.panel.finished.is_set)
        assert view.stream.status == 'stopped' and view.panel.controls.stop.description == 'Stopped'
    finally:
        process.kill()


def test_runs_lie_over_each_other(folder, notebook):
    for name in ('one', 'two'):
        SmallCollection(folder).trainer(name, max_steps=4).train()
    view = watch([folder / 'one', folder / 'two'])
    assert view.panel.finished.is_set() and view.panel.controls is None
    assert len(notebook) == 1 and 'image/png' in notebook[0]
    assert len(view.report().encode()) < 60_000
    assert not re.search(r'<script|src=|href=|@import|url\(', view.report())
    titles = {axes.get_title(loc='left') for axes in view.plot().axes}
    assert titles >= {'loss', 'learning rate'}


def test_attach_finds_the_run_again(folder, notebook):
    run = live(SmallCollection(folder).trainer('attached', **FOR_EVER), baseline=False)
    until(lambda: run.panel.first_picture)
    assert attach(folder / 'attached') is run and attach(run) is run
    run.stop()
    run.wait()
    assert sum('image/png' in o for o in notebook) == 3  # every place where it is shown gets its static twin


def test_train_shows_the_panel_itself(folder, notebook):
    trainer = SmallCollection(folder).trainer('plain', max_steps=5, disable_tqdm=False)
    with live_module.shown_live(trainer) as panel:
        trainer.train()
    assert panel.finished.is_set() and 'finished' in panel.status.value and 'image/png' in notebook[-1]
    assert panel.controls.stop.description == 'Save checkpoint'
    quiet = SmallCollection(folder).trainer('quiet', max_steps=5)
    with live_module.shown_live(quiet) as panel:
        assert panel is None


def test_without_a_notebook_nothing_is_shown(folder, capsys):
    run = live(SmallCollection(folder).trainer('console', max_steps=3), baseline=False)
    run.wait()
    assert run.panel is None and 'finished, step 3 of 3' in repr(run)
    code = 'import sys, trove_nb; print(*sys.modules)'
    printed = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True).stdout
    assert 'trove_nb' in printed.split() and 'ipywidgets' not in printed.split()


def test_curves_follow_a_run_that_is_started_again(folder):
    trainer = SmallCollection(folder).trainer('again', max_steps=6, save_strategy='steps', save_steps=3)
    trainer.train()
    curves = RunCurves(folder / 'again')
    curves.refresh()
    SmallCollection(folder).trainer('again', max_steps=6).train(
        resume_from_checkpoint=str(folder / 'again' / 'checkpoint-3')
    )
    curves.refresh()
    assert curves.series('loss')[0].tolist() == [1, 2, 3, 4, 5, 6]
    assert curves.series('loss').tolist() == np.array(curves.stream.series('loss')).tolist()
    SmallCollection(folder).trainer('again', max_steps=2).train()
    curves.refresh()
    assert curves.series('loss')[0].tolist() == [1, 2]
