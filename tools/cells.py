"How a notebook runs against the generated library: for its test and for its page on the site"

import inspect
from importlib import import_module

from execnb.shell import CaptureShell
from nbdev.config import get_config

config = get_config()
left_out = {'export', 'exports', 'exporti', *config.tst_flags.split()}


def runs(cell) -> bool:
    "Exported cells don't: their names come from the generated module, so that examples show what ships"
    directives = cell.directives_ or {}
    off = directives.get('eval:', [''])[0].lower() == 'false'
    return cell.cell_type == 'code' and not off and not left_out & directives.keys()


def shell_with(path, module: str | None) -> CaptureShell:
    "A shell for the notebook at `path`, with the names of its `default_exp`, where it has one"
    shell = CaptureShell(path)
    if not module:
        return shell
    names = vars(import_module(f'{config.lib_path.name}.{module}'.removesuffix('.__init__')))
    shell.user_ns.update({k: v for k, v in names.items() if not k.startswith('__') or inspect.isfunction(v)})
    return shell
