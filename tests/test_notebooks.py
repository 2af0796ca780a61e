"Every notebook runs top to bottom; its exported cells are taken from the generated module, so the assertions test what ships"
import os
from importlib import import_module

import pytest
from execnb.shell import CaptureShell
from fastcore.xtras import working_directory
from nbdev.config import get_config
from nbdev.doclinks import nbglob
from nbdev.process import NBProcessor
from nbdev.processors import _default_exp

from small_run import kept_registrations

config = get_config()
skipped_flags = set(config.tst_flags.split())
exports = {'export','exports','exporti'}

def skip(cell):
    directives = cell.directives_ or {}
    off = directives.get('eval:', [''])[0].lower()=='false'
    return cell.cell_type!='code' or off or bool((skipped_flags|exports) & directives.keys())

@pytest.mark.parametrize('path', nbglob(as_path=True), ids=lambda p: p.relative_to(config.nbs_path).as_posix())
def test_notebook(path, monkeypatch, tmp_path):
    monkeypatch.setenv('IN_TEST', '1')
    monkeypatch.setenv('TROVE_NB_CACHE', os.environ['TROVE_NB_CACHE'])
    module = _default_exp(NBProcessor(path, rm_directives=False).nb)
    nb,shell = NBProcessor(path).nb,CaptureShell(path)
    if module:
        name = f'{config.lib_path.name}.{module}'.removesuffix('.__init__')
        shell.user_ns.update({k: v for k,v in vars(import_module(name)).items() if not k.startswith('__')})
    try:
        with working_directory(path.parent),kept_registrations(): shell.run_all(nb, exc_stop=True, preproc=skip)
    except Exception: pytest.fail(shell.prettytb(fname=path), pytrace=False)
