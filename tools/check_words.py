"""Look for retired words: what this library gave up for the field's own terms.

    python tools/check_words.py

A retired word may stand in the glossary, which names it, and here. A retired name is looked for among
names alone: as an English word it is fine."""

import io
import re
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

import nbformat

ROOT = Path(__file__).parent.parent
LEFT_OUT = {'nbs/explained/glossary.ipynb', 'tools/check_words.py', 'CHANGELOG.md'}

WORDS = {
    r'[Ww]ish(es|ed)?': 'request',
    r'[Bb]ands?': 'confidence interval',
    r'TrainerReins': 'LocalRunControl',
    r'misfit': 'incompatibility',
    r'spoken_time': 'format_duration',
    r'holds_run': 'contains_run',
    r'without_trace': 'preserve_trainer_state',
    r'usable_cells': 'loss_mask',
    r'about_entry': 'read_entry_metadata',
    r'as_frame': 'to_pandas',
    r'settings_facts': 'summarize_settings',
    r'view_with_twin': 'display_with_fallback',
    r'own_group_scores': 'in_group_scores',
}
NAMES = {
    r'Measured': 'PerQueryMetrics',
    r'Facts': 'SummaryTable',
    r'Run': 'TrecRun',
    r'says': 'message',
    r'told': 'reported',
    r'some': 'summarize_items',
    r'measured': 'per_query_metrics',
    r'measures?': 'metric',
    r'overridden': 'with_overrides',
    r'frame_of': 'to_pandas',
}
KEPT = {'measures'}  # Trove's argument of IRMetrics


def files() -> list[Path]:
    "What people read and write: notebooks, tests, bench, tools and pages"
    found = [*ROOT.glob('*.md')]
    for folder, ending in (('nbs', '*.ipynb'), ('tests', '*.py'), ('bench', '*'), ('tools', '*.py')):
        found += sorted((ROOT / folder).rglob(ending))
    text = [p for p in found if p.suffix in ('.ipynb', '.py', '.md') and '.ipynb_checkpoints' not in p.parts]
    return [p for p in text if p.relative_to(ROOT).as_posix() not in LEFT_OUT]


def pieces(path: Path) -> Iterator[tuple[str, str, bool]]:
    "Place, text and whether it is code: each cell of a notebook, or a file as a whole"
    if path.suffix != '.ipynb':
        yield path.relative_to(ROOT).as_posix(), path.read_text(encoding='utf-8'), path.suffix == '.py'
        return
    for cell in nbformat.read(path, 4).cells:
        yield f'{path.relative_to(ROOT).as_posix()}, cell {cell.id}', cell.source, cell.cell_type == 'code'


def names_in(code: str) -> Iterator[tuple[int, str]]:
    "Line and text of each name in code; a cell for the shell has none"
    try:
        for token in tokenize.generate_tokens(io.StringIO(code).readline):
            if token.type == tokenize.NAME and token.string not in KEPT:
                yield token.start[0], token.string
    except (tokenize.TokenError, SyntaxError):
        return


def retired_words(place: str, text: str, is_code: bool) -> list[str]:
    "What is retired in a text, its line, and what to write instead; a quoted key of older files may stay"
    found = []
    for pattern, better in WORDS.items():
        for match in re.finditer(rf'(?<![\w\'-]){pattern}(?![\w-])', text):
            line = text.count('\n', 0, match.start()) + 1
            found.append(f'{place}, line {line}: {match[0]!r} is retired; write {better}')
    for line, name in names_in(text) if is_code else ():
        better = next((o for pattern, o in NAMES.items() if re.fullmatch(pattern, name)), None)
        if better:
            found.append(f'{place}, line {line}: the name {name!r} is retired; write {better}')
    return found


def main():
    found = []
    for path in files():
        for place, text, is_code in pieces(path):
            found += retired_words(place, text, is_code)
    print('\n'.join(found) or 'no retired word')
    sys.exit(bool(found))


if __name__ == '__main__':
    main()
