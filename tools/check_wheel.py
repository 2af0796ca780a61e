"""Build the wheel into `dist`, install it in an environment of its own, and train with it there, far from this checkout.

    python tools/check_wheel.py

The environment gets what `pip install trove_nb-*.whl` brings and nothing else: no development tools, no notebook, no file of the checkout."""

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path
from tempfile import TemporaryDirectory

root = Path(__file__).parent.parent
dist = root / 'dist'

MAKE_MODEL = """
from trove_nb import shipped_collection, tiny_encoder
texts = (shipped_collection('medquad-mini')/'queries.jsonl').read_text().splitlines()
tiny_encoder('tiny', texts)
"""


def build() -> Path:
    "Source distribution, and from it the wheel"
    shutil.rmtree(dist, ignore_errors=True)
    subprocess.run([sys.executable, '-m', 'build', '--quiet', '--outdir', dist, root], check=True)
    return next(dist.glob('*.whl'))


def environment(folder: Path, wheel: Path) -> Path:
    "A new environment with the wheel; returns its folder of commands"
    venv.create(folder, with_pip=True)
    commands = folder / ('Scripts' if os.name == 'nt' else 'bin')
    pip = [commands / 'python', '-m', 'pip', 'install', '-qq']
    subprocess.run([*pip, '--upgrade', 'pip'], check=True)
    subprocess.run([*pip, '--constraint', root / 'constraints.txt', wheel], check=True)
    return commands


def use(commands: Path, folder: Path):
    "What a user does first, in an empty folder"
    inherited = {k: v for k, v in os.environ.items() if k not in ('PYTHONPATH', 'VIRTUAL_ENV')}
    settings = dict(
        TROVE_NB_CACHE=str(folder / 'cache'),
        HF_HUB_OFFLINE='1',
        TOKENIZERS_PARALLELISM='false',
        OMP_NUM_THREADS='1',
    )

    def run(*command) -> str:
        done = subprocess.run(
            [str(o) for o in command],
            cwd=folder,
            env={**inherited, **settings},
            capture_output=True,
            text=True,
        )
        if done.returncode:
            sys.exit(
                f'{" ".join(map(str, command))} ends with {done.returncode}:\n{done.stdout}{done.stderr}'
            )
        return done.stdout

    console = commands / 'trove-nb'
    home = Path(run(commands / 'python', '-c', 'import trove_nb; print(trove_nb.__file__)').strip())
    if commands.parent not in home.parents:
        sys.exit(f'trove_nb comes from {home}, not from the wheel')
    run(commands / 'python', '-m', 'pip', 'check')
    run(console, '--help')
    run(console, 'env')
    run(commands / 'python', '-c', MAKE_MODEL)
    print(run(console, 'demo', '--steps', 2, '--model', 'tiny').strip())
    print(run(console, 'runs', 'list').strip())
    if not (folder / 'runs' / 'demo' / 'report.html').exists():
        sys.exit('the run has no report.html')


def main():
    wheel = build()
    with TemporaryDirectory() as folder:
        folder = Path(folder).resolve()
        (folder / 'work').mkdir()
        use(environment(folder / 'environment', wheel), folder / 'work')
    print(f'\n{wheel.relative_to(root)} installs and trains in an environment of its own')


if __name__ == '__main__':
    main()
