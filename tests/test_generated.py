"What is generated is what the notebooks say: nothing stale, nothing edited by hand"

import filecmp
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

root = Path(__file__).parent.parent


def run(*args, cwd):
    subprocess.run(args, cwd=cwd, check=True, capture_output=True, text=True)


@pytest.fixture(scope='module')
def fresh(tmp_path_factory):
    "A copy of the tree where notebooks are cleaned and everything generated is made anew"
    copy = tmp_path_factory.mktemp('fresh')
    listed = subprocess.check_output(
        ['git', 'ls-files', '-co', '--exclude-standard'], cwd=root, text=True
    ).splitlines()
    for name in filter(lambda o: (root / o).is_file(), listed):
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(root / name, copy / name)
    for module in (copy / 'trove_nb').rglob('*.py'):
        module.unlink()
    bin_ = Path(sys.executable).parent
    run(str(bin_ / 'nbdev_clean'), cwd=copy)
    run(str(bin_ / 'nbdev_export'), cwd=copy)
    run(sys.executable, 'tools/generate.py', cwd=copy)
    return copy


def files(top, pattern):
    return {p.relative_to(top) for p in top.rglob(pattern) if '.ipynb_checkpoints' not in p.parts}


def differing(fresh, folder, pattern):
    here, there = files(root / folder, pattern), files(fresh / folder, pattern)
    return sorted(
        str(o)
        for o in here | there
        if o not in here & there or not filecmp.cmp(root / folder / o, fresh / folder / o, shallow=False)
    )


def test_notebooks_are_clean(fresh):
    assert not differing(fresh, 'nbs', '*.ipynb'), 'run nbdev_clean'


def test_library_is_exported(fresh):
    assert not differing(fresh, 'trove_nb', '*.py'), 'run make export; remove modules that no notebook makes'


def test_stubs_are_fresh(fresh):
    assert not differing(fresh, 'trove_nb', '*.pyi'), 'run make export'


def test_readme_is_the_index(fresh):
    assert (root / 'README.md').read_text() == (fresh / 'README.md').read_text(), 'run make export'


@pytest.mark.parametrize('page', ['README.md', 'CONTRIBUTING.md', 'CHANGELOG.md', 'bench/README.md'])
def test_links_lead_to_files(page):
    "As a forge shows the page: links are relative to its own folder"
    links = [o for o in re.findall(r'\]\(([^)#]+)', (root / page).read_text()) if '://' not in o]
    assert links or page != 'README.md'
    assert not [o for o in links if not (root / page).parent.joinpath(o).exists()]


def test_every_notebook_has_its_place_on_the_site():
    "The sidebar is written by hand, for its order"

    def listed(node):
        if isinstance(node, str):
            return [node]
        parts = node if isinstance(node, list) else node['contents']
        return [name for part in parts for name in listed(part)]

    there = list(listed(yaml.safe_load((root / 'nbs' / '_quarto.yml').read_text())['website']['sidebar']))
    assert sorted(there) == sorted(
        p.relative_to(root / 'nbs').as_posix()
        for p in (root / 'nbs').rglob('*.ipynb')
        if '.ipynb_checkpoints' not in p.parts
    )
