"""Every notebook runs top to bottom; its exported cells are taken from the generated module, so the
assertions test what ships"""

import os

import pytest
from fastcore.xtras import working_directory
from nbdev.config import get_config
from nbdev.doclinks import nbglob
from nbdev.process import NBProcessor
from nbdev.processors import _default_exp

from tools.cells import runs, shell_with
from trove_nb.testing import restore_registrations

config = get_config()


@pytest.mark.parametrize(
    'path', nbglob(as_path=True), ids=lambda p: p.relative_to(config.nbs_path).as_posix()
)
def test_notebook(path, monkeypatch, tmp_path):
    monkeypatch.setenv('IN_TEST', '1')
    monkeypatch.setenv('TROVE_NB_CACHE', os.environ['TROVE_NB_CACHE'])
    nb, shell = (
        NBProcessor(path).nb,
        shell_with(path, _default_exp(NBProcessor(path, rm_directives=False).nb)),
    )
    try:
        with working_directory(path.parent), restore_registrations():
            shell.run_all(nb, exc_stop=True, preproc=lambda cell: not runs(cell))
    except Exception:
        pytest.fail(shell.prettytb(fname=path), pytrace=False)
