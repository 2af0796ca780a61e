"The form that notebooks keep, because nbdev relies on it or because readers do"

import ast
import re
from collections import Counter
from graphlib import TopologicalSorter

import pytest
from execnb.nbio import read_nb
from nbdev.config import get_config
from nbdev.doclinks import nbglob

config = get_config()
notebooks = pytest.mark.parametrize(
    'nb', [read_nb(p) for p in nbglob(as_path=True)], ids=lambda nb: nb.path_.rsplit('/', 1)[-1]
)


def exported(cell):
    return re.match(r'#\|\s*export', cell.source)


def only_imports(cell):
    return all(isinstance(o, (ast.Import, ast.ImportFrom)) for o in ast.parse(cell.source).body)


def code_cells(nb):
    return [
        c
        for c in nb.cells
        if c.cell_type == 'code' and c.source.strip() and not re.search(r'^\s*[%!]', c.source, re.M)
    ]


@notebooks
def test_title(nb):
    "First cell: a title and a one-line subtitle, nothing else; the site drops anything more"
    assert re.fullmatch(r'# .+\n\n> .+', nb.cells[0].source.strip())
    assert all(c.source.strip() for c in nb.cells), 'a cell is empty'


@notebooks
def test_imports_stand_alone(nb):
    "The site runs every cell that imports, so an import beside other code would run that, too"
    for cell in code_cells(nb):
        kinds = {isinstance(o, (ast.Import, ast.ImportFrom)) for o in ast.parse(cell.source).body}
        assert len(kinds) < 2, cell.source


@notebooks
def test_exported_cells(nb):
    "Exported cells are short, and carry no `key: value` directive, which nbdev_update would double"
    for cell in filter(exported, code_cells(nb)):
        assert cell.source.count('\n') < 60, cell.source
        assert not re.search(r'^#\|\s*[\w-]+:\s*\S', cell.source, re.M), cell.source


@notebooks
def test_exported_cells_have_an_example(nb):
    "Whoever reads an exported cell sees it at work at once: one of the two cells after it runs something"
    examples = {c.id for c in code_cells(nb) if not exported(c) and not only_imports(c)}
    alone = [
        c.source
        for c, *after in zip(nb.cells, nb.cells[1:] + [None], nb.cells[2:] + [None] * 2)
        if c.cell_type == 'code'
        and exported(c)
        and not only_imports(c)
        and not any(o.id in examples for o in after if o)
    ]
    assert not alone, (
        f'{len(alone)} exported cells without an example in the two cells after them:\n\n'
        + '\n\n'.join(alone)
    )


floors = dict(core=1, data=2, modeling=2, evaluation=3, training=4, experiment=5, lab=6, scripts=7)


def test_no_import_climbs_a_floor():
    "A room imports only from its own floor or a lower one"
    for path in config.lib_path.rglob('*.py'):
        room = path.relative_to(config.lib_path).parts[0]
        if room not in floors:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.ImportFrom) or not node.level:
                continue
            depth = len(path.relative_to(config.lib_path).parts) - node.level
            target = (node.module or '').split('.')[0] if depth == 0 else room
            assert floors.get(target, 0) <= floors[room], f'{path.name} in {room} imports {target}'


def test_no_import_goes_in_a_circle():
    "The modules can be put in an order in which each needs only those before it"
    graph = {}
    for path in config.lib_path.rglob('*.py'):
        parts = path.relative_to(config.lib_path).with_suffix('').parts
        graph[parts] = {
            (*parts[: -node.level], *node.module.split('.'))
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.ImportFrom) and node.level and node.module
        }
    order = list(TopologicalSorter(graph).static_order())
    assert order.index(('core', 'registry')) < order.index(('modeling', 'losses'))


def test_exported_cells_are_short_as_a_rule():
    "Half of them have ten lines at most, imports left aside"
    cells = [c for path in nbglob(as_path=True) for c in filter(exported, code_cells(read_nb(path)))]
    cells = [c for c in cells if not only_imports(c)]
    sizes = sorted(sum(bool(line.strip()) for line in c.source.split('\n')[1:]) for c in cells)
    assert sizes[len(sizes) // 2] <= 10


def test_nothing_is_left_over():
    "Every import is used in its module, every private function and class somewhere in the library"
    sources = {p: p.read_text() for p in config.lib_path.rglob('*.py') if p.name != '_modidx.py'}
    counts = Counter(w for source in sources.values() for w in re.findall(r'\w+', source))
    for path, source in sources.items():
        tree = ast.parse(source)
        imported = [
            (o.asname or o.name).split('.')[0]
            for n in tree.body
            if isinstance(n, (ast.Import, ast.ImportFrom))
            for o in n.names
        ]
        defined = [
            n.name
            for n in ast.walk(tree)
            if isinstance(n, (ast.FunctionDef, ast.ClassDef))
            and n.name.startswith('_')
            and not n.name.startswith('__')
        ]
        assert not [o for o in imported if len(re.findall(rf'\b{o}\b', source)) < 2], (
            f'{path} imports what it does not use'
        )
        assert not [o for o in defined if counts[o] < 2], f'{path} defines what nobody uses'
