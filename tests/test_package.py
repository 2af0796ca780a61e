"What is built holds what is needed"

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

root = Path(__file__).parent.parent


@pytest.fixture(scope='module')
def wheel(tmp_path_factory):
    "Built from the source distribution, as pip does where there is no wheel"
    tree, out = tmp_path_factory.mktemp('tree'), tmp_path_factory.mktemp('out')
    for name in ('setup.py', 'settings.ini', 'constraints.txt', 'MANIFEST.in', 'README.md', 'LICENSE'):
        (tree / name).write_bytes((root / name).read_bytes())
    (tree / 'trove_nb').symlink_to(root / 'trove_nb')
    done = subprocess.run(
        [sys.executable, '-m', 'build', '--no-isolation', '--outdir', out, tree],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return next(out.glob('*.whl'))


def test_wheel_holds_data_and_types(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {
        'trove_nb/__init__.pyi',
        'trove_nb/training/trainer.pyi',
        'trove_nb/py.typed',
        'trove_nb/shipped/medquad-mini/corpus.jsonl',
        'trove_nb/shipped/medquad-mini/mined/dev.tsv',
    } <= names


def test_plain_install_needs_no_development_tools(wheel):
    archive = zipfile.ZipFile(wheel)
    metadata = next(archive.read(n).decode() for n in archive.namelist() if n.endswith('/METADATA'))
    needed = [
        line.split()[1]
        for line in metadata.splitlines()
        if line.startswith('Requires-Dist') and 'extra ==' not in line
    ]
    assert any(n.startswith('torch') for n in needed)
    assert not any(n.startswith(('nbdev', 'pytest', 'jupyter', 'sentence-transformers')) for n in needed)


def test_installed_command_runs(wheel, tmp_path):
    installed = tmp_path / 'installed'
    options = ['--quiet', '--no-deps', '--no-index', '--target', installed]
    pip = [sys.executable, '-m', 'pip', 'install', *options, wheel]
    subprocess.run(pip, check=True, capture_output=True, text=True)
    env = {**os.environ, 'PYTHONPATH': str(installed), 'TROVE_NB_CACHE': str(tmp_path / 'cache')}

    def command(*args):
        program = [installed / 'bin' / 'trove-nb', *args]
        return subprocess.run(program, capture_output=True, text=True, cwd=tmp_path, env=env)

    listed = command('cache', 'list')
    assert (listed.returncode, listed.stdout) == (0, f'{tmp_path / "cache"}: 0.0 MB in 0 entries\n')
    assert command('cash').returncode == 2


def test_changelog_begins_with_this_version():
    import trove_nb

    version, when = re.search(r'^## (\S+) \((.+)\)$', (root / 'CHANGELOG.md').read_text(), re.M).groups()
    assert version == trove_nb.__version__
    assert when == 'not released' or re.fullmatch(r'\d{4}-\d\d-\d\d', when)
