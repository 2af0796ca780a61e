"""A cache is believed, so nothing may break it

Races, kills, changed files, cut files, full and read-only disks."""

import errno
import gc
import json
import logging
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from trove_nb import BinaryDataset, DataArguments, DataError
from trove_nb.core import files, fingerprints
from trove_nb.data.records import Records
from trove_nb.testing import SmallCollection, write_judgements, write_texts

root = Path(__file__).parent.parent


def write_corpus(path, n=300, word='text'):
    lines = []
    for i in range(n):
        record = {'_id': f'p{i * 7919 % n}', 'title': f'title {i}', 'text': f'{word} {i} ' * 5}
        lines.append(json.dumps(record) + '\n')
    path.write_text(''.join(lines))
    return path


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv('TROVE_NB_CACHE', str(tmp_path / 'cache'))
    return tmp_path / 'cache'


@pytest.fixture
def corpus(tmp_path, cache):
    return write_corpus(tmp_path / 'corpus.jsonl')


def content(path):
    return list(Records.open(path))


def entries(cache, kind='records'):
    if not (cache / kind).exists():
        return []
    return [p for p in (cache / kind).iterdir() if p.is_dir() and not p.name.startswith('.')]


def leftovers(cache):
    return list(cache.rglob('.*.tmp'))


def bytes_of(entry):
    return {p.name: p.read_bytes() for p in entry.iterdir()}


# A process that prints when it is ready, waits for a line, and then opens the corpus.
# Its build takes its time, and writes to a log when it begins.
opener = """
import os, sys, time
from contextlib import contextmanager
import trove_nb.core.files as files
from trove_nb.data.records import Records
path, log, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
whole, replace, describe = files.atomic_folder, os.replace, files._write_entry_metadata

@contextmanager
def slow_folder(target):
    with whole(target) as temporary:
        with open(log, 'a') as f: f.write(f'{target.name}\\n')
        yield temporary
        time.sleep(seconds)

def slow_describe(*args):
    time.sleep(seconds)
    describe(*args)

def slow_replace(*args):
    time.sleep(seconds)
    replace(*args)
    time.sleep(seconds)

files.atomic_folder, files._write_entry_metadata, os.replace = slow_folder, slow_describe, slow_replace
print('ready', flush=True)
sys.stdin.readline()
print('opened', len(Records.open(path)), flush=True)
"""


def start(corpus, log, seconds):
    return subprocess.Popen(
        [sys.executable, '-c', opener, corpus, log, str(seconds)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, 'PYTHONPATH': str(root)},
    )


def release(p):
    p.stdin.write('go\n')
    p.stdin.flush()


def test_two_processes_build_once(corpus, cache, tmp_path):
    both = [start(corpus, tmp_path / 'log', 0.1) for _ in range(2)]
    assert [p.stdout.readline() for p in both] == ['ready\n'] * 2
    for p in both:
        release(p)
    assert [p.communicate()[0] for p in both] == ['opened 300\n'] * 2
    assert [p.returncode for p in both] == [0, 0]
    assert len((tmp_path / 'log').read_text().splitlines()) == 1
    assert len(entries(cache)) == 1


def test_killed_builders_leave_nothing_that_is_believed(corpus, cache, tmp_path, monkeypatch):
    monkeypatch.setenv('TROVE_NB_CACHE', str(tmp_path / 'clean'))
    expected = content(corpus)
    clean = bytes_of(entries(tmp_path / 'clean')[0])
    monkeypatch.setenv('TROVE_NB_CACHE', str(cache))
    rng, midway = random.Random(0), 0
    for kill in range(12):
        p = start(corpus, tmp_path / 'log', 0.02)
        assert p.stdout.readline() == 'ready\n'
        release(p)
        time.sleep(rng.uniform(0.5, 1) * 0.012 * kill)
        p.kill()
        p.communicate()
        midway += bool(leftovers(cache))
        for entry in entries(cache):
            assert bytes_of(entry) == clean
    assert midway >= 2, 'no kill met a build'
    assert content(corpus) == expected
    assert [bytes_of(e) for e in entries(cache)] == [clean]


def test_leftovers_of_killed_builders_are_swept_away(corpus, cache, tmp_path):
    p = start(corpus, tmp_path / 'log', 30)
    assert p.stdout.readline() == 'ready\n'
    release(p)
    while not (tmp_path / 'log').exists() and p.poll() is None:
        time.sleep(0.01)
    p.kill()
    p.communicate()
    assert leftovers(cache) and not entries(cache)
    assert len(content(corpus)) == 300
    assert not leftovers(cache)


def test_change_behind_restored_times_is_noticed(corpus, cache, monkeypatch):
    monkeypatch.setattr(fingerprints, '_SETTLED_NS', -1)  # remember the fingerprint at once
    before = content(corpus)
    stat = corpus.stat()
    assert any((cache / 'fingerprints').iterdir())
    time.sleep(0.05)  # the kernel's clock ticks every few milliseconds
    with corpus.open('r+b') as f:
        f.write(corpus.read_bytes().replace(b'text 7 ', b'TEXT 7 '))
    os.utime(corpus, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    now = corpus.stat()
    assert (now.st_size, now.st_ino, now.st_mtime_ns) == (stat.st_size, stat.st_ino, stat.st_mtime_ns)
    changed = [(a['text'], b['text']) for a, b in zip(before, content(corpus)) if a != b]
    assert changed == [('text 7 ' * 5, 'TEXT 7 ' * 5)]


def test_change_while_reading_is_refused(corpus, cache, monkeypatch):
    whole = files.atomic_folder

    @contextmanager
    def meanwhile(target):
        with whole(target) as temporary:
            with corpus.open('a') as f:
                f.write('{"_id": "late", "text": "one more"}\n')
            yield temporary

    with monkeypatch.context() as m:
        m.setattr(files, 'atomic_folder', meanwhile)
        with pytest.raises(DataError, match='changed while it was read'):
            Records.open(corpus)
    assert not entries(cache) and not leftovers(cache)
    assert content(corpus)[-1]['_id'] == 'late'


def open_dataset(folder):
    source = SmallCollection(folder).source
    data = BinaryDataset(
        DataArguments(group_size=3),
        positive_configs=source(min_score=1),
        negative_configs=source(max_score=1),
    )
    return [data[i] for i in range(len(data))]


def test_entries_cut_off_are_built_again(corpus, cache, tmp_path, caplog):
    write_texts(tmp_path / 'queries.jsonl', {f'q{i}': f'query {i}' for i in range(20)})
    judged = [(f'q{i}', f'p{i * 5 + j}', int(j == 0)) for i in range(20) for j in range(5)]
    write_judgements(tmp_path / 'qrels.tsv', judged)
    expected = open_dataset(tmp_path)
    folders = [p for kind in cache.iterdir() for p in kind.iterdir() if p.is_dir()]
    cut = [p for folder in folders for p in folder.rglob('*') if p.is_file() and p.stat().st_size]
    assert {p.name for p in cut} >= {'records.arrow', 'entry.json'}
    for path in cut:
        caplog.clear()
        good = path.read_bytes()
        path.with_name('shorter').write_bytes(good[: len(good) // 2])
        os.replace(path.with_name('shorter'), path)  # another file, since the old one may still be mapped
        with caplog.at_level(logging.WARNING):
            assert open_dataset(tmp_path) == expected
        assert path.read_bytes() == good, path
        warnings = [record.getMessage() for record in caplog.records]
        assert any(str(path.parent) in text and 'built again' in text for text in warnings), path
        gc.collect()


@pytest.mark.parametrize(
    'error',
    [OSError(errno.ENOSPC, 'No space left on device'), OSError('262144 requested and 1000 written')],
    ids=['kernel', 'numpy'],
)
def test_full_disk_says_what_to_do(corpus, cache, monkeypatch, error):
    def fails(*args):
        raise error

    full = shutil.disk_usage('/')._replace(free=0)
    with monkeypatch.context() as m:
        m.setattr(files, '_write_entry_metadata', fails)
        m.setattr(files.shutil, 'disk_usage', lambda path: full)
        with pytest.raises(DataError, match=r'the disk is full.*TROVE_NB_CACHE'):
            Records.open(corpus)
    assert not entries(cache) and not leftovers(cache)
    assert len(content(corpus)) == 300


def test_no_such_place_for_a_cache(corpus, monkeypatch, tmp_path):
    for place in ('/proc/trove_nb_cache', tmp_path / 'corpus.jsonl' / 'cache'):
        monkeypatch.setenv('TROVE_NB_CACHE', str(place))
        with pytest.raises(DataError, match=r"can't be written.*set TROVE_NB_CACHE"):
            Records.open(corpus)


# A process of someone who may read the cache, and not write it.
reader = """
import os, sys
from trove_nb import DataError
from trove_nb.data.records import Records
if os.geteuid() == 0:
    os.seteuid(65534)
try:
    print('opened', len(Records.open(sys.argv[1])))
except DataError as e:
    print(e)
"""


def read_as_nobody(path):
    command = [sys.executable, '-c', reader, path]
    env = {**os.environ, 'PYTHONPATH': str(root)}
    return subprocess.run(command, capture_output=True, text=True, env=env).stdout


def test_read_only_cache_serves_what_it_has(monkeypatch):
    with tempfile.TemporaryDirectory() as shared:  # readable for others, which pytest's folders aren't
        shared = Path(shared)
        shared.chmod(0o755)
        corpus, cache = write_corpus(shared / 'corpus.jsonl'), shared / 'cache'
        monkeypatch.setenv('TROVE_NB_CACHE', str(cache))
        Records.open(corpus)
        for folder in (cache, *filter(Path.is_dir, cache.rglob('*'))):
            folder.chmod(0o555)
        try:
            assert read_as_nobody(corpus) == 'opened 300\n'
            refused = read_as_nobody(write_corpus(shared / 'other.jsonl', word='other'))
            assert "the cache folder can't be written" in refused and 'set TROVE_NB_CACHE' in refused
        finally:
            for folder in (cache, *filter(Path.is_dir, cache.rglob('*'))):
                folder.chmod(0o755)
