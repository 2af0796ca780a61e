"""Check with basedpyright what a user's editor sees: README's code, the tutorials as scripts, and
typical calls.

    python tools/check_types.py [--keep FOLDER]

An error, or a member of this library whose type is unknown, fails the check. The files are written into
a folder of their own, so that the library is found as an installed package is."""

import argparse
import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

import nbformat

ROOT = Path(__file__).parent.parent
CALLS = ROOT / 'tests' / 'typed' / 'typical_calls.py'
SETTINGS = {
    'typeCheckingMode': 'standard',
    'pythonVersion': '3.11',
    'reportUnknownMemberType': 'warning',
    'reportUnusedExpression': 'none',  # the last line of a cell is what it shows
    'reportRedeclaration': 'none',  # cells take a name again
}


def readme_code() -> str:
    "The Python blocks of README, one after the other"
    blocks = re.findall(r'```python\n(.*?)```', (ROOT / 'README.md').read_text(encoding='utf-8'), re.S)
    return '\n'.join(blocks)


def notebook_code(path: Path) -> str:
    "The code cells of a notebook as a script"
    nb = nbformat.read(path, 4)
    sources = [cell.source for cell in nb.cells if cell.cell_type == 'code']
    lines = '\n\n'.join(sources).splitlines()
    return '\n'.join('' if re.match(r'\s*[%!]', line) else line for line in lines) + '\n'


def write_scripts(folder: Path) -> None:
    "Write all that is checked, and the checker's settings"
    (folder / 'readme.py').write_text(readme_code(), encoding='utf-8')
    for path in sorted((ROOT / 'nbs' / 'tutorials').glob('*.ipynb')):
        (folder / f'tutorial_{path.stem}.py').write_text(notebook_code(path), encoding='utf-8')
    (folder / CALLS.name).write_text(CALLS.read_text(encoding='utf-8'), encoding='utf-8')
    settings = {**SETTINGS, 'extraPaths': [str(ROOT)]}
    (folder / 'pyrightconfig.json').write_text(json.dumps(settings), encoding='utf-8')


def diagnostics(folder: Path) -> list[dict]:
    "What basedpyright reports, an entry for each"
    command = [sys.executable, '-m', 'basedpyright', '--outputjson', '--pythonpath', sys.executable]
    done = subprocess.run([*command, '--project', folder], capture_output=True, text=True, cwd=folder)
    return json.loads(done.stdout)['generalDiagnostics']


# members of transformers, pandas, torch and sentence-transformers, by a piece of their signature
OTHERS = ('pretrained_model_name_or_path', 'numexpr', '"tolist"', 'MultimodalInput')


def ours(diagnostic: dict) -> bool:
    "Whether a finding is about this library: others have members whose types nobody knows"
    return not any(piece in diagnostic['message'] for piece in OTHERS)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--keep', type=Path, help='Write the scripts here, and leave them')
    options = parser.parse_args()
    with TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        write_scripts(folder)
        found = [o for o in diagnostics(folder) if ours(o)]
    for o in found:
        line = o['range']['start']['line'] + 1
        print(f'{Path(o["file"]).name}:{line}: {o["message"]} ({o.get("rule", o["severity"])})')
    kinds = Counter(o.get('rule', o['severity']) for o in found)
    print(f'{len(found)} findings', dict(kinds) or '')
    sys.exit(bool(found))


if __name__ == '__main__':
    main()
