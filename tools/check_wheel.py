"""Build the wheel into `dist`, install it in an environment of its own, and train with it there.

    python tools/check_wheel.py

The environment gets what `pip install trove_nb-*.whl` brings and nothing else: no development tools, no
notebook, no file of the checkout. It trains twice: with the versions of constraints.txt, and with the
newest fastcore, which only nbdev caps."""

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parent.parent
DIST = ROOT / 'dist'

MAKE_MODEL = """
from trove_nb import shipped_collection, tiny_encoder
texts = (shipped_collection('medquad-mini') / 'queries.jsonl').read_text().splitlines()
tiny_encoder('tiny', texts)
"""


def build() -> Path:
    "Source distribution, and from it the wheel"
    shutil.rmtree(DIST, ignore_errors=True)
    subprocess.run([sys.executable, '-m', 'build', '--quiet', '--outdir', DIST, ROOT], check=True)
    return next(DIST.glob('*.whl'))


class Environment:
    "A new environment with the wheel, and an empty folder to work in"

    def __init__(self, folder: Path, wheel: Path):
        self.home, self.work = folder / 'environment', folder / 'work'
        self.work.mkdir()
        venv.create(self.home, with_pip=True)
        self.commands = self.home / ('Scripts' if os.name == 'nt' else 'bin')
        self.pip('--upgrade', 'pip')
        self.pip('--constraint', ROOT / 'constraints.txt', wheel)

    def pip(self, *arguments) -> None:
        "Install something"
        python = self.commands / 'python'
        subprocess.run([python, '-m', 'pip', 'install', '-qq', *arguments], check=True)

    def run(self, program: str, *arguments) -> str:
        "Run a program of the environment in the empty folder; its output, or an end with what it printed"
        inherited = {k: v for k, v in os.environ.items() if k not in ('PYTHONPATH', 'VIRTUAL_ENV')}
        settings = dict(
            TROVE_NB_CACHE=str(self.work / 'cache'),
            HF_HUB_OFFLINE='1',
            TOKENIZERS_PARALLELISM='false',
            OMP_NUM_THREADS='1',
        )
        command = [str(self.commands / program), *map(str, arguments)]
        done = subprocess.run(
            command, cwd=self.work, env=inherited | settings, capture_output=True, text=True
        )
        if done.returncode:
            sys.exit(f'{" ".join(command)} ends with {done.returncode}:\n{done.stdout}{done.stderr}')
        return done.stdout.strip()


def use(environment: Environment) -> None:
    "What a user does first"
    home = Path(environment.run('python', '-c', 'import trove_nb; print(trove_nb.__file__)'))
    if environment.home not in home.parents:
        sys.exit(f'trove_nb comes from {home}, not from the wheel')
    environment.run('python', '-m', 'pip', 'check')
    environment.run('trove-nb', '--help')
    environment.run('trove-nb', 'env')
    environment.run('python', '-c', MAKE_MODEL)
    print(environment.run('trove-nb', 'demo', '--steps', 2, '--model', 'tiny'))
    print(environment.run('trove-nb', 'runs', 'list'))
    if not (environment.work / 'runs' / 'demo' / 'report.html').exists():
        sys.exit('the run has no report.html')


def use_with_newest_fastcore(environment: Environment) -> None:
    "The same after an upgrade of fastcore"
    environment.pip('--upgrade', 'fastcore')
    for left in ('runs', 'tiny'):
        shutil.rmtree(environment.work / left)
    version = environment.run('python', '-c', 'import fastcore; print(fastcore.__version__)')
    print(f'\nwith fastcore {version}:')
    use(environment)


def main():
    wheel = build()
    with TemporaryDirectory() as folder:
        environment = Environment(Path(folder).resolve(), wheel)
        use(environment)
        use_with_newest_fastcore(environment)
    print(f'\n{wheel.relative_to(ROOT)} installs and trains in an environment of its own')


if __name__ == '__main__':
    main()
