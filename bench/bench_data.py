"""Opening a training set, reading it, and what that takes in memory, in turn with ir-trove 0.0.2

    python bench/bench_data.py [--peer-python PYTHON] [--root FOLDER] [--repeats 3] [--quick] [--out FILE]

Each measurement runs in a process of its own; the two sides take turns, and medians are reported.
Without --peer-python only ours runs. --quick takes a collection of 20,000 passages and one turn.
README.md beside this file says how the other environment is made, and what each figure means."""

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
    def source(**bounds):
        return library.MaterializedQRelConfig(
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
    part = Subset(data, [rng.randrange(len(data)) for _ in range(args.loader_items)])
    kinds = dict(w0={}, w2=dict(num_workers=2), w2p=dict(num_workers=2, persistent_workers=True))
    found = {}
    for name, settings in kinds.items():
        loader = DataLoader(
            part,
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
    found = globals()[f'do_{args.task}'](args.side, library, args)
    found |= dict(import_s=seconds, own_peak=status('VmHWM'), own_peak_anonymous=status('RssAnon'))
    print(f'RESULT {json.dumps(found)}', flush=True)
    if args.task.startswith('hold'):
        sys.stdin.readline()


# ---- what starts them and watches their memory


def tree(pid: int) -> list[int]:
    "The process and all its descendants"
    found = [pid]
    try:
        for task in Path(f'/proc/{pid}/task').iterdir():
            for child in (task / 'children').read_text().split():
                found += tree(int(child))
    except (FileNotFoundError, ProcessLookupError):
        return []
    return found


class Watch(threading.Thread):
    "The highest sums over a process and its children, of resident and of anonymous memory"

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.pid, self.over = pid, threading.Event()
        self.peak, self.peak_anonymous = 0.0, 0.0
        self.start()

    def run(self):
        while not self.over.wait(0.02):
            sums = [0.0, 0.0]
            for pid in tree(self.pid):
                try:
                    sums = [s + status(f, pid) for s, f in zip(sums, ('VmRSS', 'RssAnon'))]
                except (FileNotFoundError, ProcessLookupError):
                    continue  # it ended meanwhile
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


def started(side, task, cache, args):
    handed_on = ('folder', 'group_size', 'seconds', 'loader_items', 'hold_items')
    flags = [f'--{name.replace("_", "-")}={getattr(args, name)}' for name in handed_on]
    python = args.peer_python if side == 'peer' else sys.executable
    return subprocess.Popen(
        [python, str(here), '--work', f'--side={side}', f'--task={task}', *flags],
        env=environment(side, cache),
        cwd=str(cache),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=(cache / 'stderr.txt').open('ab'),
        text=True,
    )


def result_of(process, side, task, cache):
    for line in process.stdout:
        if line.startswith('RESULT '):
            return json.loads(line[7:])
    process.wait()
    tail = (cache / 'stderr.txt').read_text(errors='replace')[-3000:]
    raise SystemExit(f'{side}, {task}: ended with {process.returncode} and no result\n{tail}')


def run_task(side, task, cache, args) -> dict:
    "What one task reports, and the memory that it took"
    cache.mkdir(parents=True, exist_ok=True)
    process = started(side, task, cache, args)
    watch = Watch(process.pid)
    found = result_of(process, side, task, cache)
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
    lines = Path(f'/proc/{pid}/smaps_rollup').read_text().splitlines()[1:]
    fields = dict(line.split(':', 1) for line in lines)
    sizes = {name: int(text.split()[0]) * 1024 for name, text in fields.items()}
    return dict(pss=sizes['Pss'], uss=sizes['Private_Clean'] + sizes['Private_Dirty'])


def together(side, task, cache, n, args) -> dict:
    "Memory of n processes that have opened and read the same dataset"
    processes = [started(side, task, cache, args) for _ in range(n)]
    try:
        for p in processes:
            result_of(p, side, task, cache)
        each = [shares(p.pid) for p in processes]
    finally:
        for p in processes:
            p.communicate('\n')
    pss_sum = sum(o['pss'] for o in each)
    uss_sum = sum(o['uss'] for o in each)
    return dict(pss_sum=pss_sum, uss_mean=uss_sum / n)


def memory(side, cache, args) -> dict:
    n = args.processes
    one = together(side, 'hold', cache, 1, args)
    many = together(side, 'hold', cache, n, args)
    bare = together(side, 'hold_import', cache, n, args)
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
    tasks = {'import': 'import', 'first': 'open', 'again': 'open', 'items': 'items', 'loader': 'loader'}
    for name, task in tasks.items():
        got = run_task(side, task, cache, args)
        found.update({f'{name}.{k}': v for k, v in got.items()})
    found.update({f'memory.{k}': v for k, v in memory(side, cache, args).items()})
    for name in ('first', 'again'):
        found[f'{name}.peak_above_import'] = found[f'{name}.peak'] - found['import.peak']
        parts = (found[f'{name}.{k}'] for k in ('import_s', 'open_s', 'first_item_s'))
        found[f'{name}.start_to_item_s'] = sum(parts)
    found['cache.bytes'] = sum(p.stat().st_size for p in cache.rglob('*') if p.is_file())
    return found


# ---- what is printed

LOADERS = (('w0', '0 workers'), ('w2', '2 workers'), ('w2p', '2 persistent workers'))
LOADER_FIGURES = (
    ('first batch', 'first_batch_s', 's'),
    ('first batch of the next epoch', 'next_epoch_first_batch_s', 's'),
    ('items a second', 'items_per_s', ''),
)
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
        for key, label in LOADERS
        for what, field, unit in LOADER_FIGURES
    ),
    ('private memory of a process', 'memory.uss_process', 'MB'),
    ('  above the bare import', 'memory.uss_above_bare', 'MB'),
    ('memory of one more process (PSS)', 'memory.pss_extra_process', 'MB'),
    ('all processes together (PSS)', 'memory.pss_all', 'MB'),
]


def shown(value, unit):
    if unit == 'MB':
        return f'{value / MB:,.0f} MB'
    if unit == 's':
        return f'{value:,.3f} s' if value < 10 else f'{value:,.1f} s'
    return f'{value:,.0f}'


NAMES = dict(ours='ours', peer='ir-trove')


def report(turns: dict, title: str) -> str:
    "Medians, and how many times theirs is ours (for rates: ours theirs)"
    both = len(turns) == 2
    heads = [f'{NAMES[side]:>14}' for side in turns]
    lines = [title, f'{"":<60}{"".join(heads)}{"    ratio" if both else ""}']
    for label, key, unit in SHOWN:
        middle = {}
        for side, found in turns.items():
            middle[side] = median(turn[key] for turn in found)
        cells = [f'{shown(value, unit):>14}' for value in middle.values()]
        if both and min(middle.values()) > 0:
            times = middle['peer'] / middle['ours']
            cells.append(f'{times if unit else 1 / times:>9.1f}')
        lines.append(f'{label:<60}{"".join(cells)}')
    return '\n'.join(lines)


COLLECTIONS = dict(
    small=dict(docs=20_000, queries=2_000),
    q100k=dict(queries=100_000, judged=31),
    q400k=dict(queries=400_000, judged=16),
    m8=dict(docs=8_841_823, queries=500_000, judged=16, words=33),
)


def fill_page_cache(folder: Path):
    "Read every file once, so that no side finds the disk colder than the other"
    for path in folder.rglob('*'):
        if path.is_file():
            with path.open('rb') as f:
                while f.read(1 << 24):
                    continue


def run(collection: str, args) -> dict:
    from make_collection import make_collection

    sizes = COLLECTIONS[collection]
    args.folder = args.root / collection
    make_collection(args.folder, **sizes)
    fill_page_cache(args.folder)
    turns = {side: [] for side in sorted(args.sides)}
    for turn in range(args.repeats):
        for side in args.sides if turn % 2 == 0 else args.sides[::-1]:
            cache = Path(tempfile.mkdtemp(prefix=f'{collection}-{side}-', dir=args.root))
            try:
                turns[side].append(one_turn(side, cache, args))
            finally:
                shutil.rmtree(cache, ignore_errors=True)
            last = turns[side][-1]
            opening = f'first {last["first.open_s"]:.2f} s, again {last["again.open_s"]:.2f} s'
            rate = f'{last["items.items_per_s"]:,.0f} items/s'
            print(f'  {collection}, turn {turn + 1}, {side}: {opening}, {rate}', flush=True)
    title = f'\n{collection}: {sizes}, group_size {args.group_size}, medians of {args.repeats}'
    print(report(turns, title), flush=True)
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
    for name in ('side', 'task'):
        parser.add_argument(f'--{name}', help=argparse.SUPPRESS)
    parser.add_argument('--work', action='store_true', help=argparse.SUPPRESS)
    parser.add_argument('--folder', type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == '__main__':
    args = arguments()
    if args.work:
        work(args)
    else:
        ours_root = args.ours.resolve()
        if args.quick:
            quick = dict(collections=['small'], repeats=1, seconds=0.5, loader_items=200, hold_items=200)
            vars(args).update(quick, processes=2)
        args.sides = ['ours', 'peer'] if args.peer_python else ['ours']
        if args.only:
            args.sides = [args.only]
        args.root.mkdir(parents=True, exist_ok=True)
        results = {c: run(c, args) for c in args.collections}
        if args.out:
            args.out.write_text(json.dumps(results, indent=1))
