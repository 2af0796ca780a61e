"""Opening a training set, reading it, and what that takes in memory, in turn with ir-trove 0.0.2

    python bench/bench_data.py [--root /tmp/trove_nb_bench] [--peer-python /path/to/venv/bin/python] [--repeats 3] [--quick] [--out results.json]

Each measurement runs in a process of its own; the two sides take turns, and medians are reported. Without --peer-python only ours runs. --quick takes a collection of
20,000 passages and one turn. README.md beside this file says how the other environment is made, and what each figure means."""

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from statistics import median

here = Path(__file__).resolve()
MB = 1e6

# ---- what runs in a process of its own, with either library


def format_query(text, dataset=None):
    return text


def format_passage(text, title=None, dataset=None):
    return f'{title or ""} {text}'.strip()


def first_items(batch):
    return len(batch)


def import_side(side):
    begun = time.perf_counter()
    if side == 'peer':
        import trove as library
    else:
        import trove_nb as library
    for name in ('BinaryDataset', 'DataArguments', 'MaterializedQRelConfig'):
        getattr(library, name)
    return library, time.perf_counter() - begun


def opened(side, library, folder, group_size):
    source = lambda **bounds: library.MaterializedQRelConfig(
        qrel_path=str(folder / 'qrels' / 'train.tsv'),
        corpus_path=str(folder / 'corpus.jsonl'),
        query_path=str(folder / 'queries.jsonl'),
        **bounds,
    )
    begun = time.perf_counter()
    extra = dict(outside_trainer=True) if side == 'peer' else {}
    data = library.BinaryDataset(
        library.DataArguments(group_size=group_size),
        format_query,
        format_passage,
        positive_configs=source(min_score=1),
        negative_configs=source(max_score=1),
        **extra,
    )
    return data, time.perf_counter() - begun


def status(field, pid='self') -> float:
    "A field of /proc/PID/status in bytes"
    with open(f'/proc/{pid}/status') as f:
        return next((int(line.split()[1]) * 1024 for line in f if line.startswith(field + ':')), 0)


def for_seconds(take, items, seconds, least=50) -> float:
    "Items per second"
    begun, n = time.perf_counter(), 0
    for i in items:
        take(i)
        n += 1
        if n >= least and time.perf_counter() - begun > seconds:
            break
    return n / (time.perf_counter() - begun)


def do_import(side, library, args):
    return {}


def do_open(side, library, args):
    data, seconds = opened(side, library, args.folder, args.group_size)
    begun = time.perf_counter()
    data[0]
    return dict(open_s=seconds, first_item_s=time.perf_counter() - begun, queries=len(data))


def do_items(side, library, args):
    data, _ = opened(side, library, args.folder, args.group_size)
    rng = random.Random(0)
    order = [rng.randrange(len(data)) for _ in range(20_000)]
    for i in order[:100]:
        data[i]
    return dict(items_per_s=for_seconds(data.__getitem__, order[100:], args.seconds))


def do_loader(side, library, args):
    from torch.utils.data import DataLoader, Subset

    data, _ = opened(side, library, args.folder, args.group_size)
    rng = random.Random(0)
    data[0]
    some = Subset(data, [rng.randrange(len(data)) for _ in range(args.loader_items)])
    found = {}
    for name, settings in dict(
        w0={}, w2=dict(num_workers=2), w2p=dict(num_workers=2, persistent_workers=True)
    ).items():
        loader = DataLoader(
            some,
            batch_size=8,
            collate_fn=first_items,
            multiprocessing_context='fork' if settings else None,
            **settings,
        )
        begun = time.perf_counter()
        batches = iter(loader)
        next(batches)
        found[f'{name}_first_batch_s'] = time.perf_counter() - begun
        n = sum(batches)
        found[f'{name}_items_per_s'] = (n + 8) / (time.perf_counter() - begun)
        begun = time.perf_counter()
        next(iter(loader))
        found[f'{name}_next_epoch_first_batch_s'] = time.perf_counter() - begun
    return found


def do_hold(side, library, args):
    "Open, read, and stay until the parent has looked at the memory"
    data, _ = opened(side, library, args.folder, args.group_size)
    rng = random.Random(os.getpid())
    for _ in range(args.hold_items):
        data[rng.randrange(len(data))]
    return {}


def do_hold_import(side, library, args):
    return {}


def work(args):
    library, seconds = import_side(args.side)
    found = globals()[f'do_{args.measure}'](args.side, library, args)
    print(
        'RESULT '
        + json.dumps(
            dict(import_s=seconds, own_peak=status('VmHWM'), own_peak_anonymous=status('RssAnon'), **found)
        ),
        flush=True,
    )
    if args.measure.startswith('hold'):
        sys.stdin.readline()


# ---- what starts them and looks on


def tree(pid: int) -> list[int]:
    "The process and all its descendants"
    try:
        children = [
            int(c)
            for task in Path(f'/proc/{pid}/task').iterdir()
            for c in (task / 'children').read_text().split()
        ]
    except (FileNotFoundError, ProcessLookupError):
        return []
    return [pid, *(d for c in children for d in tree(c))]


class Watch(threading.Thread):
    "The highest sums over a process and its children, of resident and of anonymous memory"

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.pid, self.peak, self.peak_anonymous, self.over = pid, 0.0, 0.0, threading.Event()
        self.start()

    def run(self):
        while not self.over.wait(0.02):
            sums = [0.0, 0.0]
            for pid in tree(self.pid):
                try:
                    sums = [s + status(f, pid) for s, f in zip(sums, ('VmRSS', 'RssAnon'))]
                except (FileNotFoundError, ProcessLookupError):
                    continue  # it ended between the two looks
            self.peak, self.peak_anonymous = max(self.peak, sums[0]), max(self.peak_anonymous, sums[1])


def environment(side, cache):
    kept = {k: v for k, v in os.environ.items() if k != 'PYTHONPATH'}
    fixed = dict(
        OMP_NUM_THREADS='1',
        HF_HUB_OFFLINE='1',
        HF_DATASETS_OFFLINE='1',
        TOKENIZERS_PARALLELISM='false',
        WANDB_MODE='disabled',
        TROVE_LOG_LEVEL='ERROR',
        HF_DATASETS_DISABLE_PROGRESS_BARS='1',
    )
    if side == 'peer':
        return {**kept, **fixed, 'HF_HOME': str(cache / 'hf'), 'TROVE_CACHE_DIR': str(cache / 'trove')}
    return {**kept, **fixed, 'TROVE_NB_CACHE': str(cache), 'PYTHONPATH': str(ours_root)}


def started(side, measure, cache, args):
    flags = [
        f'--{k.replace("_", "-")}={getattr(args, k)}'
        for k in ('folder', 'group_size', 'seconds', 'loader_items', 'hold_items')
    ]
    python = args.peer_python if side == 'peer' else sys.executable
    return subprocess.Popen(
        [python, str(here), '--work', f'--side={side}', f'--measure={measure}', *flags],
        env=environment(side, cache),
        cwd=str(cache),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=(cache / 'stderr.txt').open('ab'),
        text=True,
    )


def result_of(process, side, measure, cache):
    for line in process.stdout:
        if line.startswith('RESULT '):
            return json.loads(line[7:])
    process.wait()
    tail = (cache / 'stderr.txt').read_text(errors='replace')[-3000:]
    raise SystemExit(f'{side}, {measure}: ended with {process.returncode} and no result\n{tail}')


def measured(side, measure, cache, args) -> dict:
    cache.mkdir(parents=True, exist_ok=True)
    process = started(side, measure, cache, args)
    watch = Watch(process.pid)
    found = result_of(process, side, measure, cache)
    process.communicate()
    watch.over.set()
    watch.join()
    return {
        **found,
        'peak': max(watch.peak, found['own_peak']),
        'peak_anonymous': max(watch.peak_anonymous, found['own_peak_anonymous']),
    }


def shares(pid) -> dict:
    "PSS and USS of a process, in bytes"
    lines = dict(o.split(':', 1) for o in Path(f'/proc/{pid}/smaps_rollup').read_text().splitlines()[1:])
    size = lambda *names: sum(int(lines[n].split()[0]) * 1024 for n in names)
    return dict(pss=size('Pss'), uss=size('Private_Clean', 'Private_Dirty'))


def together(side, measure, cache, n, args) -> dict:
    "Memory of n processes that have opened and read the same dataset"
    processes = [started(side, measure, cache, args) for _ in range(n)]
    try:
        for p in processes:
            result_of(p, side, measure, cache)
        each = [shares(p.pid) for p in processes]
    finally:
        for p in processes:
            p.communicate('\n')
    return dict(pss_sum=sum(o['pss'] for o in each), uss_mean=sum(o['uss'] for o in each) / n)


def memory(side, cache, args) -> dict:
    n = args.processes
    one, many, bare = (
        together(side, 'hold', cache, 1, args),
        together(side, 'hold', cache, n, args),
        together(side, 'hold_import', cache, n, args),
    )
    return {
        'pss_one': one['pss_sum'],
        'pss_all': many['pss_sum'],
        'pss_extra_process': (many['pss_sum'] - one['pss_sum']) / (n - 1),
        'uss_process': many['uss_mean'],
        'uss_bare': bare['uss_mean'],
        'uss_above_bare': many['uss_mean'] - bare['uss_mean'],
    }


def one_turn(side, cache, args) -> dict:
    "All measurements once, with a cache that starts empty"
    found = {}
    for name, measure in (
        ('import', 'import'),
        ('first', 'open'),
        ('again', 'open'),
        ('items', 'items'),
        ('loader', 'loader'),
    ):
        got = measured(side, measure, cache, args)
        found.update({f'{name}.{k}': v for k, v in got.items()})
    bare = found['import.peak']
    found.update({f'{name}.peak_above_import': found[f'{name}.peak'] - bare for name in ('first', 'again')})
    found.update({f'memory.{k}': v for k, v in memory(side, cache, args).items()})
    found.update(
        {
            f'{name}.start_to_item_s': sum(
                found[f'{name}.{k}'] for k in ('import_s', 'open_s', 'first_item_s')
            )
            for name in ('first', 'again')
        }
    )
    found['cache.bytes'] = sum(p.stat().st_size for p in cache.rglob('*') if p.is_file())
    return found


# ---- what is printed

SHOWN = [
    ('import', 'import.import_s', 's'),
    ('first opening', 'first.open_s', 's'),
    ('  peak memory, with children', 'first.peak', 'MB'),
    ('  above the bare import', 'first.peak_above_import', 'MB'),
    ('  anonymous memory', 'first.peak_anonymous', 'MB'),
    ('  left on disk', 'cache.bytes', 'MB'),
    ('opening again', 'again.open_s', 's'),
    ('  its first item', 'again.first_item_s', 's'),
    ('  peak memory', 'again.peak', 'MB'),
    ('  above the bare import', 'again.peak_above_import', 'MB'),
    ('  anonymous memory', 'again.peak_anonymous', 'MB'),
    ('items a second', 'items.items_per_s', ''),
    ('start of the process to the first item, first time', 'first.start_to_item_s', 's'),
    ('  again', 'again.start_to_item_s', 's'),
    *(
        (f'loader, {label}: {what}', f'loader.{key}_{field}', unit)
        for key, label in (('w0', '0 workers'), ('w2', '2 workers'), ('w2p', '2 persistent workers'))
        for what, field, unit in (
            ('first batch', 'first_batch_s', 's'),
            ('first batch of the next epoch', 'next_epoch_first_batch_s', 's'),
            ('items a second', 'items_per_s', ''),
        )
    ),
    ('private memory of a process', 'memory.uss_process', 'MB'),
    ('  above the bare import', 'memory.uss_above_bare', 'MB'),
    ('memory of one more process (PSS)', 'memory.pss_extra_process', 'MB'),
    ('all processes together (PSS)', 'memory.pss_all', 'MB'),
]


def shown(value, unit):
    return (
        f'{value / MB:,.0f} MB'
        if unit == 'MB'
        else f'{value:,.3f} s'
        if unit == 's' and value < 10
        else f'{value:,.1f} s'
        if unit == 's'
        else f'{value:,.0f}'
    )


NAMES = dict(ours='ours', peer='ir-trove')


def report(turns: dict, title: str) -> str:
    "Medians, and how many times theirs is ours (for rates: ours theirs)"
    middle = {side: {k: median(t[k] for t in found) for k in found[0]} for side, found in turns.items()}
    both = len(middle) == 2
    lines = [
        title,
        f'{"":<60}' + ''.join(f'{NAMES[side]:>14}' for side in middle) + ('    ratio' if both else ''),
    ]
    for label, key, unit in SHOWN:
        values = [o[key] for o in middle.values()]
        line = f'{label:<60}' + ''.join(f'{shown(v, unit):>14}' for v in values)
        if both and min(values) > 0:
            line += f'{middle["peer"][key] / middle["ours"][key] if unit else middle["ours"][key] / middle["peer"][key]:>9.1f}'
        lines.append(line)
    return '\n'.join(lines)


def run(collection: str, args) -> dict:
    from make_collection import make_collection

    sizes = dict(
        small=dict(docs=20_000, queries=2_000),
        q100k=dict(queries=100_000, judged=31),
        q400k=dict(queries=400_000, judged=16),
        m8=dict(docs=8_841_823, queries=500_000, judged=16, words=33),
    )[collection]
    args.folder = args.root / collection
    make_collection(args.folder, **sizes)
    for p in args.folder.rglob('*'):
        if p.is_file():
            with p.open('rb') as f:
                while f.read(1 << 24):
                    continue  # into the page cache, for both sides
    turns = {side: [] for side in sorted(args.sides)}
    for turn in range(args.repeats):
        for side in args.sides if turn % 2 == 0 else args.sides[::-1]:
            cache = Path(tempfile.mkdtemp(prefix=f'{collection}-{side}-', dir=args.root))
            try:
                turns[side].append(one_turn(side, cache, args))
            finally:
                shutil.rmtree(cache, ignore_errors=True)
            print(
                f'  {collection}, turn {turn + 1}, {side}: first {turns[side][-1]["first.open_s"]:.2f} s, again {turns[side][-1]["again.open_s"]:.2f} s, {turns[side][-1]["items.items_per_s"]:,.0f} items/s',
                flush=True,
            )
    print(
        report(turns, f'\n{collection}: {sizes}, group_size {args.group_size}, medians of {args.repeats}'),
        flush=True,
    )
    return dict(sizes=sizes, turns=turns)


def arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        '--root', type=Path, default=Path('/tmp/trove_nb_bench'), help='where collections and caches go; 3 GB'
    )
    parser.add_argument('--peer-python', help='python of an environment with ir-trove')
    parser.add_argument('--only', choices=['ours', 'peer'], help='one side alone')
    parser.add_argument(
        '--ours',
        type=Path,
        default=here.parent.parent,
        help='a checkout of trove_nb; the one this file is in',
    )
    parser.add_argument(
        '--collections', nargs='+', choices=['small', 'q100k', 'q400k', 'm8'], default=['q100k', 'q400k']
    )
    parser.add_argument('--repeats', type=int, default=3)
    parser.add_argument('--quick', action='store_true')
    parser.add_argument('--out', type=Path, help='a JSON file for all figures')
    for name, kind, default in (
        ('group_size', int, 16),
        ('seconds', float, 4.0),
        ('loader_items', int, 2000),
        ('hold_items', int, 2000),
        ('processes', int, 4),
    ):
        parser.add_argument(f'--{name.replace("_", "-")}', type=kind, default=default)
    for name in ('work', 'side', 'measure', 'folder'):
        parser.add_argument(
            f'--{name}',
            help=argparse.SUPPRESS,
            **(dict(action='store_true') if name == 'work' else dict(type=Path) if name == 'folder' else {}),
        )
    return parser.parse_args()


if __name__ == '__main__':
    args = arguments()
    if args.work:
        work(args)
    else:
        ours_root = args.ours.resolve()
        if args.quick:
            (
                args.collections,
                args.repeats,
                args.seconds,
                args.loader_items,
                args.hold_items,
                args.processes,
            ) = ['small'], 1, 0.5, 200, 200, 2
        args.sides = [args.only] if args.only else ['ours', 'peer'] if args.peer_python else ['ours']
        args.root.mkdir(parents=True, exist_ok=True)
        results = {c: run(c, args) for c in args.collections}
        if args.out:
            args.out.write_text(json.dumps(results, indent=1))
