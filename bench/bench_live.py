"""The live view: what it costs, how soon it is there, how soon a stop stops. Runs of `--steps` steps
with and without the panel in turn, in one process, one thread"""

import argparse
import json
import os
import statistics
import tempfile
import time
from pathlib import Path

os.environ.update(OMP_NUM_THREADS='1', HF_HUB_OFFLINE='1', TOKENIZERS_PARALLELISM='false')
os.environ.setdefault('TROVE_NB_CACHE', tempfile.mkdtemp())

import torch
from IPython import display as shows

import trove_nb.lab.live as live_module
from trove_nb import live
from trove_nb.testing import SmallCollection, number_collection


class Handle:
    def update(self, bundle, raw):
        pass


def trainer(folder, name, steps):
    t = SmallCollection(folder).trainer(
        name,
        max_steps=steps,
        per_device_train_batch_size=16,
        eval_strategy='steps',
        eval_steps=max(1, steps // 4),
    )
    t.callback_handler.callbacks = [
        o for o in t.callback_handler.callbacks if type(o).__name__ not in live_module._TABLES
    ]
    return t


def one(folder, name, steps, seen):
    live_module.in_notebook = lambda: seen
    t = trainer(folder, name, steps)
    began = time.perf_counter()
    run = live(t, baseline=False)
    run.done.wait()
    took = time.perf_counter() - began
    run.wait()
    steps = [r for r in run.stream.records if r['kind'] == 'step']
    return dict(
        seconds=took,
        first_picture=run.panel.first_picture - steps[0]['time'] if seen else None,
        draws=run.panel.n_draws if seen else 0,
    )


def stop_latency(folder, name):
    live_module.in_notebook = lambda: True
    run = live(trainer(folder, name, 100_000), baseline=False)
    while run.panel.first_picture is None:
        time.sleep(0.01)
    time.sleep(0.2)
    asked, step = time.perf_counter(), run.trainer.state.global_step
    run.panel.controls.stop.click()
    run.done.wait()
    return dict(seconds=time.perf_counter() - asked, steps=run.trainer.state.global_step - step)


def median(rows, key):
    return statistics.median(row[key] for row in rows)


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument('--steps', type=int, default=600)
    p.add_argument('--repeats', type=int, default=5)
    p.add_argument('--out')
    a = p.parse_args()
    torch.set_num_threads(1)
    shows.display = lambda *args, **kw: Handle()
    folder = number_collection(tempfile.mkdtemp()).folder
    one(folder, 'warm', 50, True)
    found = {True: [], False: []}
    for i in range(a.repeats):
        for seen in (True, False) if i % 2 else (False, True):
            found[seen].append(one(folder, f'{seen}{i}', a.steps, seen))
    stops = [stop_latency(folder, f'stop{i}') for i in range(a.repeats)]
    without, with_panel = median(found[False], 'seconds'), median(found[True], 'seconds')
    pairs = zip(found[True], found[False], strict=True)
    results = dict(
        steps=a.steps,
        ms_per_step=1e3 * without / a.steps,
        seconds_without=without,
        seconds_with=with_panel,
        overhead_percent=100 * (with_panel / without - 1),
        overhead_percent_of_pairs=[100 * (w['seconds'] / o['seconds'] - 1) for w, o in pairs],
        draws=median(found[True], 'draws'),
        first_picture_seconds=median(found[True], 'first_picture'),
        stop_seconds=median(stops, 'seconds'),
        stop_steps=median(stops, 'steps'),
    )
    print(json.dumps(results, indent=2))
    if a.out:
        runs = {str(seen): rows for seen, rows in found.items()}
        Path(a.out).write_text(json.dumps(dict(results, runs=runs, stops=stops), indent=2))


if __name__ == '__main__':
    main()
