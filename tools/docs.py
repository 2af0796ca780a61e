"""Build the documentation site from the notebooks, into `_docs`.

    python tools/docs.py [--repository ADDRESS] [--only 130_data tutorials/lora] [--quick]

Every notebook runs from top to bottom against the library, each in a process of its own, so each output
on the site comes from this build. nbdev turns them into pages, smalldocs renders those, and every link
between pages is checked. No page asks anything of the network."""

import argparse
import html
import inspect
import os
import re
import shutil
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import fields, is_dataclass
from functools import partial
from html.parser import HTMLParser
from inspect import Parameter
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from traceback import format_exception
from typing import get_args
from urllib.parse import unquote, urldefrag, urlsplit

os.environ.update(HF_HUB_OFFLINE='1', TOKENIZERS_PARALLELISM='false', TQDM_DISABLE='1')
os.environ.setdefault('OMP_NUM_THREADS', '1')
sys.path.insert(0, str(Path.cwd()))

from execnb.nbio import mk_cell, read_nb, write_nb
from fastcore.docments import docments
from fastcore.xtras import working_directory
from latex2mathml.converter import convert as mathml
from nbdev.config import get_config
from nbdev.doclinks import nbglob
from nbdev.process import Processor
from nbdev.processors import FilterDefaults, _default_exp, exec_show_docs
from nbdev.showdoc import BasicMarkdownRenderer
from transformers import TrainerCallback, trainer

from tools.cells import runs, shell_with

config = get_config()
here, pages, site = (config.config_path / o for o in ('nbs', '_site', '_docs'))


def page_name(path) -> str:
    "The name under which nbdev links to a notebook: without its number"
    return re.sub(r'^\d+[a-z]*_', '', Path(path).name)


# Running the notebooks


class TableRenderer(BasicMarkdownRenderer):
    "A signature without comments, the docstring, and the comments as a table of the parameters"

    def __init__(self, sym, *args, **kw):
        name_late_types(sym)
        super().__init__(sym, *args, **kw)

    def _repr_markdown_(self):
        name = self.nm.replace('_', r'\_')
        head = f'---\n\n{source_link(self.sym)}\n\n{"#" * self.title_level} {name}\n\n'
        if self.sig is None:
            return f'{head}{self.docs}'
        return f'{head}```python\n{self.nm}{self._signature()}\n```\n\n{self.docs or ""}\n\n{self._table()}'

    def _signature(self):
        parameters = [
            plain_functions(str(o.replace(annotation=Parameter.empty))) for o in self.sig.parameters.values()
        ]
        one_line = f'({", ".join(parameters)})'
        return one_line if len(one_line) < 90 else '(\n    ' + ',\n    '.join(parameters) + ')'

    def _table(self):
        helps = {f.name: f.metadata.get('help') for f in fields(self.sym)} if is_dataclass(self.sym) else {}
        rows = []
        for name, parameter in docments(self.sym, full=True).items():
            untyped = parameter['anno'] in (None, Parameter.empty)
            if name == 'self' or (name == 'return' and untyped):
                continue
            shown = '*returns*' if name == 'return' else f'`{name}`'
            kind = '' if untyped else f'`{short_type(parameter["anno"])}`'
            rows.append((shown, kind, parameter['docment'] or helps.get(name) or ''))
        if not any(kind or comment for _, kind, comment in rows):
            return ''
        return '\n'.join(['| | type | |', '| --- | --- | --- |', *map(table_row, rows)])


def table_row(cells: tuple[str, ...]) -> str:
    "A row of a table in Markdown"
    shown = [cell.replace('|', r'\|').replace('\n', ' ') for cell in cells]
    return f'| {" | ".join(shown)} |'


def plain_functions(text: str) -> str:
    "Functions by their names, without addresses that no two builds share"
    return re.sub(
        r'<(?:function|built-in (?:function|method)) (?:[\w.<>]*\.)?(\w+|<lambda>)'
        r'(?: of .*?)?(?: at 0x\w+)?>',
        r'\1',
        text,
    )


def short_type(annotation) -> str:
    "A type as one writes it, without its modules"
    is_class = isinstance(annotation, type) and not get_args(annotation)
    text = annotation.__name__ if is_class else str(annotation)
    return re.sub(r'\b(?:\w+\.)+(?=\w)', '', text)


def source_link(sym) -> str:
    "Where the definition stands in the repository, as Markdown"
    if isinstance(sym, property):
        sym = sym.fget
    path = Path(inspect.getsourcefile(sym)).relative_to(config.config_path)
    place = f'{config.git_url}/blob/{config.branch}/{path}#L{inspect.getsourcelines(sym)[1]}'
    return f'[source]({place}){{style="float:right; font-size:smaller"}}'


def name_late_types(sym):
    "An annotation may name a type whose module is imported late; for the page its name is enough"
    if isinstance(sym, property):
        sym = sym.fget
    if isinstance(sym, type):
        sym = sym.__init__
    sym = inspect.unwrap(getattr(sym, '__func__', sym))
    while inspect.isfunction(sym):
        try:
            inspect.get_annotations(sym, eval_str=True)
            return
        except NameError as e:
            sym.__globals__[e.name] = type(e.name, (), {})
        except AttributeError as e:  # of such a stand-in for a module
            setattr(e.obj, e.name, type(e.name, (), {}))


class ProgressCallback(TrainerCallback):
    "In place of transformers' own: a page shows curves, not bars that move and their lines of log"


class RunAgainstLibrary(Processor):
    "Run every cell but the exported ones, whose names come from the generated module"

    def begin(self):
        trainer.DEFAULT_PROGRESS_CALLBACK = ProgressCallback
        self.shell = shell_with(self.nb.path_, _default_exp_of[self.nb.path_])
        self.shell.run_cell('from nbdev.showdoc import show_doc')

    def cell(self, cell):
        if not runs(cell):
            return
        self.shell.cell(cell)
        if self.shell.exc:
            raise RuntimeError(self.shell.prettytb(fname=self.nb.path_))


_default_exp_of = {}


class PageFilter(FilterDefaults):
    "nbdev's steps, with the notebook run as a whole where nbdev runs its imports only"

    def base_procs(self):
        return [RunAgainstLibrary if o is exec_show_docs else o for o in super().base_procs()]


numbered = re.compile(r'(?<![\w.])\d+[a-z]*_(?=[\w.]+\.ipynb)')


def as_page(nb):
    "Exported cells stay on the page, folded; links go to the pages' names"
    for cell in nb.cells:
        if cell.cell_type == 'markdown':
            cell.source = numbered.sub('', cell.source)
        else:
            cell.source = re.sub(r'\A#\|\s*exporti?[ \t]*$', '#| exports', cell.source, flags=re.M)
    nb.cells.append(mk_cell('<!-- the end -->', 'markdown'))  # nbdev looks for a cell after each exported one
    return nb


def run_notebook(path: Path):
    "Make one page; returns how long it took"
    start, dest = time.time(), pages / path.relative_to(here).with_name(page_name(path))
    config.d['renderer'] = 'tools.docs.TableRenderer'
    nb = as_page(read_nb(path))
    _default_exp_of[nb.path_] = _default_exp(nb)
    dest.parent.mkdir(parents=True, exist_ok=True)
    with working_directory(path.parent):
        PageFilter()(nb)
    # the page has that name already
    nb.cells[0].source = re.sub(r'(?m)^output-file:.*\n', '', nb.cells[0].source)
    for cell in nb.cells:
        if '#| exports' in cell.source or 'code-summary: "Exported source"' in cell.source:
            folded = cell.source.replace('code-fold: show', 'code-fold: true')
            cell.source = folded.replace('Exported source', 'Source').replace('#| exports\n', '')
    write_nb(nb, dest)
    return time.time() - start


def run_notebooks(paths, workers):
    "Each in a process of its own, which finds the heavy imports done"
    context = get_context('forkserver')
    context.set_forkserver_preload(
        ['torch', 'transformers', 'polars', 'matplotlib.pyplot', 'trove_nb', 'nbdev.showdoc', 'execnb.shell']
    )
    with TemporaryDirectory() as cache:
        os.environ['TROVE_NB_CACHE'] = cache
        with ProcessPoolExecutor(workers, mp_context=context, max_tasks_per_child=1) as pool:
            jobs = {pool.submit(run_notebook, o): o.relative_to(here) for o in paths}
            for job in as_completed(jobs):
                failure = job.exception()
                if failure:
                    print(f'failed    {jobs[job]}\n{"".join(format_exception(failure))}', flush=True)
                else:
                    print(f'{job.result():6.1f} s  {jobs[job]}', flush=True)
            failed = [str(name) for job, name in jobs.items() if job.exception()]
    if failed:
        sys.exit(f'These notebooks do not run: {", ".join(failed)}')


# Rendering


def stage():
    "The project that smalldocs renders: pages by the names that nbdev links to, pictures, style, order"
    for path in here.rglob('*'):
        if path.suffix in ('.svg', '.png', '.css') and 'runs' not in path.parts:
            (pages / path.relative_to(here)).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, pages / path.relative_to(here))
    text = (here / '_quarto.yml').read_text()
    (pages / '_quarto.yml').write_text(numbered.sub('', text))


def links_mended(page: Path, text: str, repository: str) -> str:
    "Links into our own site relative, links to the source where it can be seen, formulas as MathML"
    up = '../' * (len(page.relative_to(site).parts) - 1)
    if repository:
        text = text.replace(config.git_url, repository.rstrip('/'))
    else:
        text = re.sub(rf'<a [^>]*href="{re.escape(config.git_url)}[^"]*"[^>]*>source</a>', '', text)
    text = text.replace(f'{config.doc_host}{config.doc_baseurl}/', up)
    text = re.sub(r'<(?:link|script)[^>]*cdn\.jsdelivr\.net/npm/katex[^>]*>(?:</script>)?\s*', '', text)
    return re.sub(
        r'<span class="math (inline|display)">\\[(\[](.*?)\\[)\]]</span>', formula, text, flags=re.S
    )


def formula(match: re.Match) -> str:
    "A formula of TeX as MathML"
    return mathml(html.unescape(match[2]), display='block' if match[1] == 'display' else 'inline')


def render(repository):
    if site.exists():
        shutil.rmtree(site)
    done = subprocess.run(
        [sys.executable, '-m', 'smalldocs.cli', 'render', '--quiet', '--strict', pages],
        capture_output=True,
        text=True,
    )
    if done.returncode:
        sys.exit(f'smalldocs refuses the pages:\n{done.stdout}{done.stderr}')
    shutil.copytree(pages / '_docs', site)
    for path in site.rglob('*.html'):
        path.write_text(links_mended(path, path.read_text(), repository))
    for path in site.rglob('*.css'):
        path.write_text(re.sub(r'@import\s+url\([^)]*fonts\.googleapis[^)]*\);?', '', path.read_text()))


AUTOMATIC = re.compile(r'<a href="([^"]+)">(<code>[\w.]+</code>)</a>')


def unlink_unshown_names():
    "Leave a name in prose without a link where its page does not show it, as with private names"
    ids = {path: _Links(path.read_text()).ids for path in site.rglob('*.html')}
    for page in ids:
        page.write_text(AUTOMATIC.sub(partial(link_if_shown, page, ids), page.read_text()))


def link_if_shown(page: Path, ids: dict[Path, set[str]], link: re.Match) -> str:
    "A link of nbdev's, or its text alone if there is no such place"
    target, anchor = urldefrag(link[1])
    path = (page.parent / unquote(target)).resolve() if target else page
    return link[0] if not anchor or anchor in ids.get(path, {anchor}) else link[2]


# Checking


class _Links(HTMLParser):
    "What a page links to, what it loads, and the places in it that can be linked to"

    def __init__(self, text):
        super().__init__()
        self.links, self.loads, self.ids = [], [], set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        if tag == 'a' and attrs.get('href'):
            self.links.append(attrs['href'])
        elif attrs.get('src') or tag == 'link':
            self.loads.append(attrs.get('src') or attrs['href'])
        self.ids.update(o for o in (attrs.get('id'), attrs.get('name')) if o)


def broken_links() -> list[str]:
    "Every link that leads nowhere in the site, and everything that a page would fetch from elsewhere"
    parsed = {p: _Links(p.read_text()) for p in site.rglob('*.html')}
    wrong = []
    for page, found in parsed.items():
        for link in found.links + found.loads:
            name = f'{page.relative_to(site)}: {link}'
            if urlsplit(link).scheme in ('http', 'https', 'mailto', 'data') or link.startswith('//'):
                if link in found.loads and not link.startswith('data:'):
                    wrong.append(f'{name} is loaded from the network')
                continue
            target, anchor = urldefrag(link)
            path = (page.parent / unquote(urlsplit(target).path)).resolve() if target else page
            if path.is_dir():
                path = path / 'index.html'
            if not path.exists():
                wrong.append(f'{name} does not exist')
            elif anchor and path in parsed and unquote(anchor) not in parsed[path].ids:
                wrong.append(f'{name} has no such place')
    return wrong


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        '--repository', default='', help='Where the source can be seen; without it pages have no links to it'
    )
    parser.add_argument(
        '--only', nargs='*', default=[], help='Run these notebooks again, keep the pages of the others'
    )
    parser.add_argument(
        '--quick', action='store_true', help='Tutorials take the few steps that they take in tests'
    )
    parser.add_argument('--workers', type=int, default=os.cpu_count())
    options = parser.parse_args()
    if options.quick:
        os.environ['IN_TEST'] = '1'
    notebooks = nbglob(here, as_path=True)
    if options.only:
        chosen = re.compile('|'.join(map(re.escape, options.only)))
        notebooks = [path for path in notebooks if chosen.search(str(path))]
    if not options.only and pages.exists():
        shutil.rmtree(pages)
    run_notebooks(sorted(notebooks, reverse=True), options.workers)  # tutorials first: they take longest
    stage()
    render(options.repository)
    unlink_unshown_names()
    wrong = broken_links()
    if wrong:
        sys.exit('\n'.join([f'{len(wrong)} links are broken:', *wrong]))
    count = len(list(site.rglob('*.html')))
    print(f'{count} pages in {site}, every link leads somewhere')
    print(f'see them with: python -m http.server -d {site.name}')


if __name__ == '__main__':
    main()
