"""Make what comes from the notebooks beside the modules: type stubs and README.md.

    python tools/generate.py

Run it from the project's root after nbdev_export; `make export` runs both."""

import re
import sys
from pathlib import Path

import nbformat

sys.path.insert(0, str(Path.cwd()))

import trove_nb
from tools.stubs import write_stubs


def fenced(code: str) -> str:
    "Code as a block of Markdown"
    return f'```python\n{code}\n```'


def readme() -> str:
    "`index.ipynb` as Markdown; code cells are fenced, and links lead into `nbs/`"
    nb = nbformat.read('nbs/index.ipynb', 4)
    parts = []
    for cell in nb.cells:
        source = cell.source.strip()
        if source and '#| hide' not in source:
            parts.append(source if cell.cell_type == 'markdown' else fenced(source))
    text = '\n\n'.join(parts).replace('\n```\n\n```python\n', '\n\n')
    return re.sub(r'\]\(([\w./]+\.(?:ipynb|svg|png))\)', r'](nbs/\1)', text) + '\n'


if __name__ == '__main__':
    write_stubs(Path('trove_nb'), trove_nb._PUBLIC)
    Path('README.md').write_text(readme(), encoding='utf-8')
