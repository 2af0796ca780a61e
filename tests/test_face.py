"""The public face: a short list that README, tutorials and pages use, and that editors and type checkers
see"""

import ast
import inspect
import re
import subprocess
import sys
from pathlib import Path

import jedi
import nbformat
import pytest

import trove_nb
from tools.stubs import is_patch

root = Path(__file__).parent.parent
pages = [
    root / 'nbs' / 'index.ipynb',
    *sorted((root / 'nbs' / 'tutorials').glob('*.ipynb')),
    *sorted((root / 'nbs' / 'explained').glob('*.ipynb')),
]

SUBCLASSED = {'PretrainedEncoder', 'PretrainedRetriever', 'RetrievalLoss', 'DefaultEncoder'}
CAUGHT = {'TroveError', 'DataError', 'ConfigError', 'RunError', 'UnknownNameError'}
RETURNED = {'RetrieverOutput', 'EvaluationResult', 'PerQueryMetrics', 'LaunchedRun', 'RunStream', 'TrecRun'}


def code_of(page: Path) -> list[ast.Module]:
    "The code cells of a page, parsed; lines for the shell left out"
    cells = [cell.source for cell in nbformat.read(page, 4).cells if cell.cell_type == 'code']
    return [ast.parse(re.sub(r'(?m)^\s*[%!].*$', '', source)) for source in cells]


def imported_from_the_top(page: Path) -> set[str]:
    "Names that a page imports from `trove_nb` itself"
    nodes = [node for tree in code_of(page) for node in ast.walk(tree)]
    imports = [node for node in nodes if isinstance(node, ast.ImportFrom) and node.module == 'trove_nb']
    return {alias.name for node in imports for alias in node.names}


def test_the_list_is_short():
    assert 55 <= len(trove_nb.__all__) <= 65
    assert dir(trove_nb) == sorted(['__version__', *trove_nb.__all__])


@pytest.mark.parametrize('page', pages, ids=lambda page: page.stem)
def test_pages_import_from_the_list(page):
    "By name: nobody has to guess where a name comes from"
    names = imported_from_the_top(page)
    assert '*' not in names
    assert names <= set(trove_nb.__all__)


def test_the_list_holds_nothing_else():
    "Each name is used by a page, subclassed, caught, or what a listed function returns"
    texts = [cell.source for page in pages for cell in nbformat.read(page, 4).cells]
    words = set(re.findall(r'\w+', '\n'.join(texts)))
    assert not set(trove_nb.__all__) - words - SUBCLASSED - CAUGHT - RETURNED


def test_the_names_left_out_are_found_in_their_modules():
    "A name of the list is defined where the list says"
    for module, names in trove_nb._PUBLIC.items():
        for name in names:
            assert getattr(trove_nb, name).__module__ == f'trove_nb.{module}', name


def public_methods() -> list[tuple[str, str]]:
    "Class and method of all classes on the list; what transformers and torch define is theirs"
    found = []
    for name in trove_nb.__all__:
        cls = getattr(trove_nb, name)
        for method, value in vars(cls).items() if inspect.isclass(cls) else ():
            if not method.startswith('_') and (inspect.isfunction(value) or isinstance(value, classmethod)):
                found.append((name, method))
    return found


def test_an_editor_goes_to_each_public_method():
    missing = []
    for cls, method in public_methods():
        script = jedi.Script(f'from trove_nb import {cls}\n{cls}.{method}', project=jedi.Project(root))
        places = script.goto(2, len(f'{cls}.{method}'), follow_imports=True)
        if not any(place.name == method and place.module_path for place in places):
            missing.append(f'{cls}.{method}')
    assert len(public_methods()) > 60
    assert not missing


def test_stubs_hold_every_patched_method():
    for path in sorted((root / 'trove_nb').rglob('*.py')):
        patched = [node.name for node in ast.parse(path.read_text()).body if is_patch(node)]
        if not patched:
            continue
        classes = [
            o for o in ast.parse(path.with_suffix('.pyi').read_text()).body if isinstance(o, ast.ClassDef)
        ]
        methods = {node.name for cls in classes for node in cls.body if isinstance(node, ast.FunctionDef)}
        assert set(patched) <= methods, path


def test_types():
    "basedpyright finds no error in README, tutorials and typical calls, and knows each member of the library"
    done = subprocess.run([sys.executable, 'tools/check_types.py'], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
