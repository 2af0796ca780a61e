"The form that notebooks and modules keep, because nbdev relies on it or because readers do"

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
from execnb.nbio import read_nb
from nbdev.config import get_config
from nbdev.doclinks import nbglob

config = get_config()
root = Path(__file__).parent.parent
library = sorted(p for p in config.lib_path.rglob('*.py') if p.name != '_modidx.py')
notebook_paths = nbglob(as_path=True)
notebooks = pytest.mark.parametrize(
    'nb', [read_nb(p) for p in notebook_paths], ids=lambda nb: nb.path_.rsplit('/', 1)[-1]
)
modules = pytest.mark.parametrize(
    'path', library, ids=lambda p: p.relative_to(config.lib_path).with_suffix('').as_posix()
)
scripts = [p for folder in ('tests', 'tools', 'bench') for p in sorted((root / folder).rglob('*.py'))]

COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def exported(cell) -> bool:
    return re.match(r'#\|\s*export', cell.source) is not None


def for_types_alone(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == 'TYPE_CHECKING'


def is_import(node: ast.stmt) -> bool:
    "Whether a statement imports, now or for type checkers alone"
    return isinstance(node, (ast.Import, ast.ImportFrom)) or for_types_alone(node)


def only_imports(cell) -> bool:
    return all(map(is_import, ast.parse(cell.source).body))


def code_cells(nb) -> list:
    return [
        cell
        for cell in nb.cells
        if cell.cell_type == 'code' and cell.source.strip() and not re.search(r'^\s*[%!]', cell.source, re.M)
    ]


# ---- notebooks


@notebooks
def test_title(nb):
    "First cell: a title and a one-line subtitle, nothing else; the site drops anything more"
    assert re.fullmatch(r'# .+\n\n> .+', nb.cells[0].source.strip())
    assert all(cell.source.strip() for cell in nb.cells), 'a cell is empty'


@notebooks
def test_imports_stand_alone(nb):
    "The site runs every cell that imports, so an import beside other code would run that, too"
    for cell in code_cells(nb):
        statements = [node for node in ast.parse(cell.source).body if not for_types_alone(node)]
        kinds = set(map(is_import, statements))
        assert len(kinds) < 2, cell.source


@notebooks
def test_exported_cells(nb):
    "Exported cells are short, and carry no `key: value` directive, which nbdev_update would double"
    for cell in filter(exported, code_cells(nb)):
        assert cell.source.count('\n') <= 60, cell.source
        assert not re.search(r'^#\|\s*[\w-]+:\s*\S', cell.source, re.M), cell.source


@notebooks
def test_exported_cells_have_an_example(nb):
    "A reader of an exported cell sees it at work at once: one of the two cells after it runs something"
    examples = {cell.id for cell in code_cells(nb) if not exported(cell) and not only_imports(cell)}
    alone = []
    for i, cell in enumerate(nb.cells):
        if cell.cell_type != 'code' or not exported(cell) or only_imports(cell):
            continue
        if not any(after.id in examples for after in nb.cells[i + 1 : i + 3]):
            alone.append(cell.source)
    listed = '\n\n'.join(alone)
    assert not alone, (
        f'{len(alone)} exported cells without an example in the two cells after them:\n\n{listed}'
    )


@notebooks
def test_a_notebook_is_one_sitting(nb):
    assert len(nb.cells) <= 80


def test_notebook_numbers_are_unique():
    names = defaultdict(list)
    for path in notebook_paths:
        if number := re.match(r'\d+', path.name):
            names[number[0]].append(path.name)
    assert not [group for group in names.values() if len(group) > 1]


# ---- statements


def own_parts(statement: ast.stmt) -> Iterator[ast.AST]:
    "The nodes of a statement without those of the statements inside it"
    waiting = [statement]
    while waiting:
        node = waiting.pop()
        yield node
        inside = ast.iter_child_nodes(node)
        waiting += [child for child in inside if not isinstance(child, (ast.stmt, ast.ExceptHandler))]


def bad_statements(source: str, where: str) -> list[str]:
    "What makes a statement more than one step"
    found = []
    for statement in ast.walk(ast.parse(source)):
        if not isinstance(statement, ast.stmt):
            continue
        place = f'{where}:{statement.lineno}'
        parts = list(own_parts(statement))
        if sum(isinstance(node, COMPREHENSIONS) for node in parts) > 1:
            found.append(f'{place}: more than one comprehension')
        choices = [node for node in parts if isinstance(node, ast.IfExp)]
        if any(isinstance(inner, ast.IfExp) for node in choices for inner in list(ast.walk(node))[1:]):
            found.append(f'{place}: a conditional inside a conditional')
        if isinstance(statement, ast.Assign):
            targets = [node for node in statement.targets if isinstance(node, ast.Tuple)]
            written = isinstance(statement.value, ast.Tuple)
            if written and any(len(node.elts) > 3 for node in targets):
                found.append(f'{place}: more than three names are assigned at once')
    return found


@notebooks
def test_a_statement_is_one_step(nb):
    found = []
    for cell in code_cells(nb):
        found += bad_statements(cell.source, f'cell {cell.idx_}')
    assert not found, '\n'.join(found)


@pytest.mark.parametrize('path', scripts, ids=lambda p: p.relative_to(root).as_posix())
def test_a_statement_of_a_script_is_one_step(path):
    found = bad_statements(path.read_text(), path.name)
    assert not found, '\n'.join(found)


# ---- modules


@modules
def test_a_module_is_short(path):
    assert len(path.read_text().splitlines()) <= 450


def is_patch(node: ast.AST) -> bool:
    return isinstance(node, FUNCTIONS) and any(
        ast.unparse(decorator).startswith('patch') for decorator in node.decorator_list
    )


@modules
def test_private_functions_say_what_they_give(path):
    "A private function of more than three lines has a docstring"
    silent = []
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, FUNCTIONS) or not node.name.startswith('_') or node.name.startswith('__'):
            continue
        lines = node.end_lineno - node.body[0].lineno + 1
        if lines > 3 and not ast.get_docstring(node):
            silent.append(f'{node.name}, line {node.lineno}')
    assert not silent, '\n'.join(silent)


@modules
def test_public_parameters_are_annotated(path):
    "Of functions and methods; *args and **kwargs that are handed on to transformers or torch need none"
    bare = []

    def look(body: list[ast.stmt], inside: str = ''):
        for node in body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith('_'):
                look(node.body, node.name)
            if not isinstance(node, FUNCTIONS) or (node.name.startswith('_') and node.name != '__init__'):
                continue
            parameters = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            if inside and 'staticmethod' not in map(ast.unparse, node.decorator_list):
                parameters = parameters[1:]
            bare.extend(
                f'{inside}.{node.name}({o.arg}), line {node.lineno}' for o in parameters if not o.annotation
            )

    look(ast.parse(path.read_text()).body)
    assert not bare, '\n'.join(bare)


@modules
def test_patches_serve_a_public_method(path):
    "Overrides, dunders, aliases and private helpers stand in the class body, where super() works"
    names = [node.name for node in ast.parse(path.read_text()).body if is_patch(node)]
    assert not [name for name in names if name.startswith('_')]


def test_patches_are_few():
    nodes = [node for path in library for node in ast.parse(path.read_text()).body]
    assert sum(map(is_patch, nodes)) <= 150


BUILT_IN = {
    'ValueError',
    'TypeError',
    'KeyError',
    'RuntimeError',
    'FileNotFoundError',
    'TimeoutError',
    'OSError',
}


@modules
def test_errors_are_of_one_family(path):
    "A person is never shown a bare built-in error: errors.py holds the family"
    bare = []
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Raise) or not isinstance(node.exc, ast.Call):
            continue
        if ast.unparse(node.exc.func) in BUILT_IN:
            bare.append(f'line {node.lineno}: {ast.unparse(node.exc)}')
    assert not bare, '\n'.join(bare)


def test_one_module_makes_tables():
    makers = [path.name for path in library if '<table' in path.read_text()]
    assert makers in ([], ['html.py'])


def private_definitions(path: Path) -> list[str]:
    "The private functions and classes at the top of a module"
    nodes = ast.parse(path.read_text()).body
    named = [node for node in nodes if isinstance(node, (*FUNCTIONS, ast.ClassDef)) and not is_patch(node)]
    return [node.name for node in named if re.match(r'_[^_]', node.name)]


def test_a_private_name_means_one_thing():
    homes = defaultdict(list)
    for path in library:
        for name in private_definitions(path):
            homes[name].append(path.relative_to(config.lib_path).as_posix())
    assert not {name: paths for name, paths in homes.items() if len(paths) > 1}


def test_nothing_is_left_over():
    "Every private function and class is used somewhere in the library"
    sources = [path.read_text() for path in library]
    words = re.findall(r'\w+', '\n'.join(sources))
    counts = defaultdict(int)
    for word in words:
        counts[word] += 1
    unused = [name for path in library for name in private_definitions(path) if counts[name] < 2]
    assert not unused


# ---- rooms

floors = dict(core=1, data=2, modeling=2, evaluation=3, training=4, experiment=5, lab=6, scripts=7)


def imported_modules(path: Path, everywhere: bool) -> set[tuple[str, ...]]:
    "What a module imports of the library, at its top or everywhere; nbdev leaves long imports absolute"
    tree = ast.parse(path.read_text())
    parts = path.relative_to(config.lib_path).with_suffix('').parts
    found = set()
    for node in ast.walk(tree) if everywhere else tree.body:
        if not isinstance(node, ast.ImportFrom) or not node.module:
            continue
        names = tuple(node.module.split('.'))
        if node.level:
            found.add((*parts[: -node.level], *names))
        elif names[0] == config.lib_path.name:
            found.add(names[1:])
    return found


def test_no_import_climbs_a_floor():
    "A room imports only from its own floor or a lower one, also where it imports late"
    for path in library:
        room = path.relative_to(config.lib_path).parts[0]
        for target in imported_modules(path, everywhere=True) if room in floors else ():
            assert floors.get(target[0], 0) <= floors[room], f'{path.name} in {room} imports {target}'


def test_no_import_goes_in_a_circle():
    "The modules can be put in an order in which each needs only those before it"
    graph = {}
    for path in library:
        graph[path.relative_to(config.lib_path).with_suffix('').parts] = imported_modules(
            path, everywhere=False
        )
    order = list(TopologicalSorter(graph).static_order())
    assert order.index(('core', 'registry')) < order.index(('modeling', 'losses'))
