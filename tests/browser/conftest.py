"A real JupyterLab on loopback, and a headless Chromium"

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from importlib.util import find_spec
from pathlib import Path

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ('chromium', 'chromium-browser', 'google-chrome'))), None)
REQUIRED = os.environ.get('TROVE_NB_BROWSER') == 'required'
SHOTS = Path(__file__).parent / 'shots'
FLAGS = [
    '--no-sandbox',
    '--disable-gpu',
    '--disable-quic',
    '--no-first-run',
    '--disable-background-networking',
    '--disable-component-update',
    '--disable-sync',
]


def why_not() -> str | None:
    if CHROMIUM is None:
        return 'no Chromium on this machine (Debian: apt-get install chromium)'
    missing = [name for name in ('jupyterlab', 'playwright') if find_spec(name) is None]
    return f'{missing[0]} is not installed' if missing else None


def pytest_collection_modifyitems(items):
    if (reason := why_not()) is None:
        return
    if REQUIRED:
        pytest.exit(f'browser tests are required here: {reason}', returncode=3)
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.skip(reason=reason))


@contextlib.contextmanager
def jupyter(root: Path, **settings):
    "JupyterLab on `root`, with nothing of the user's own configuration"
    aside = root.parent / f'{root.name}_config'
    for name, content in {
        'apputils-extension/notification': {'fetchNews': 'false', 'checkForUpdates': False},
        **settings,
    }.items():
        path = aside / 'settings' / '@jupyterlab' / f'{name}.jupyterlab-settings'
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        port = s.getsockname()[1]
    folders = dict(
        JUPYTER_CONFIG_DIR='config',
        JUPYTER_DATA_DIR='data',
        JUPYTER_RUNTIME_DIR='runtime',
        JUPYTERLAB_SETTINGS_DIR='settings',
        JUPYTERLAB_WORKSPACES_DIR='workspaces',
        IPYTHONDIR='ipython',
    )
    env = {
        **os.environ,
        **{k: str(aside / v) for k, v in folders.items()},
        'OMP_NUM_THREADS': '1',
        'PYTHONPATH': os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get('PYTHONPATH', '')]),
    }
    command = [
        sys.executable,
        '-m',
        'jupyterlab',
        '--no-browser',
        '--allow-root',
        f'--port={port}',
        '--ip=127.0.0.1',
        '--IdentityProvider.token=t',
        '--LabApp.expose_app_in_browser=True',
        f'--ServerApp.root_dir={root}',
    ]
    with (aside / 'server.log').open('w') as log:
        server = subprocess.Popen(command, env=env, stdout=log, stderr=log, start_new_session=True)
    address = f'http://127.0.0.1:{port}'
    try:
        until = time.time() + 60
        while True:
            try:
                urllib.request.urlopen(f'{address}/api/status?token=t', timeout=5).close()
                break
            except OSError:
                assert server.poll() is None and time.time() < until, (aside / 'server.log').read_text()[
                    -3000:
                ]
                time.sleep(0.1)
        yield address
    finally:
        server.send_signal(signal.SIGTERM)  # ends its kernels, too
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)


@pytest.fixture(scope='module')  # it holds an event loop of this thread for as long as it lives
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as p:
        chromium = p.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


class Notebook:
    "A notebook in a page, driven through JupyterLab's own application object"

    def __init__(self, page, address: str, name: str):
        self.page, self.address, self.name = page, address, name
        page.goto(f'{address}/doc/tree/{name}?token=t')
        self.wait_for_kernel()

    def wait_for_kernel(self):
        self.page.wait_for_function(
            "() => window.jupyterapp?.shell?.currentWidget?.sessionContext?.session?.kernel?.status=='idle'",
            timeout=60_000,
        )

    def begin(self, i: int):
        "Run a cell, without waiting for its end"
        self.page.evaluate(
            """async i => {
            const w = jupyterapp.shell.currentWidget;
            w.content.activeCellIndex = i;
            await w.content.scrollToItem(i, 'start');
            jupyterapp.commands.execute('notebook:run-cell') }""",
            i,
        )

    def run(self, i: int, seconds: float = 90):
        "Run a cell to its end; its output as text"
        before = self.page.evaluate(
            'i => jupyterapp.shell.currentWidget.content.widgets[i].model.executionCount', i
        )
        self.begin(i)
        self.page.wait_for_function(
            """([i, before]) => {
            const m = jupyterapp.shell.currentWidget.content.widgets[i].model;
            const again = m.executionCount!==null && m.executionCount!==before;
            return again && m.executionState!=='running' }""",
            arg=[i, before],
            timeout=seconds * 1000,
        )
        out = self.outputs(i)
        errors = [o.get('traceback') for o in out if o['output_type'] == 'error']
        assert not errors, errors
        return out

    def outputs(self, i: int) -> list[dict]:
        return self.page.evaluate(
            'i => jupyterapp.shell.currentWidget.content.widgets[i].model.sharedModel.toJSON().outputs', i
        )

    def value(self, expression: str):
        "An expression's value in the kernel"
        reply = self.page.evaluate(
            """async code => {
            const kernel = jupyterapp.shell.currentWidget.sessionContext.session.kernel;
            const request = {code: '', silent: true, user_expressions: {r: code}};
            const reply = await kernel.requestExecute(request).done;
            return reply.content.user_expressions.r }""",
            expression,
        )
        assert reply['status'] == 'ok', reply
        return eval(reply['data']['text/plain'], {'nan': float('nan')})

    def run_all(self, seconds: float = 120):
        "Run all cells; their errors, if there are any"
        self.page.evaluate("() => { jupyterapp.commands.execute('notebook:run-all-cells') }")
        self.page.wait_for_function(
            """() => {
            const all = jupyterapp.shell.currentWidget.content.widgets.map(o => o.model);
            const cells = all.filter(m => m.type=='code');
            const failed = m => m.sharedModel.toJSON().outputs.some(u => u.output_type=='error');
            const done = m => m.executionState!='running' && m.executionCount!==null;
            return cells.every(done) || cells.some(failed) }""",
            timeout=seconds * 1000,
        )
        return self.page.evaluate(
            """() => {
            const all = jupyterapp.shell.currentWidget.content.widgets.map(o => o.model);
            const outputs = all.filter(m => m.type=='code').flatMap(m => m.sharedModel.toJSON().outputs);
            return outputs.filter(o => o.output_type=='error').map(o => o.ename+': '+o.evalue) }"""
        )

    def save(self):
        "Save, and wait until it is"
        self.page.evaluate("() => jupyterapp.commands.execute('docmanager:save')")
        self.page.wait_for_function('() => !jupyterapp.shell.currentWidget.context.model.dirty')

    def shot(self, name: str):
        SHOTS.mkdir(exist_ok=True)
        self.page.screenshot(path=str(SHOTS / f'{name}.png'))


@pytest.fixture
def open_notebook(browser, tmp_path):
    "A function from cells or a notebook's path to a `Notebook`; its `.asked` lists addresses elsewhere"
    with contextlib.ExitStack() as stack:

        def opened(source: list[str] | Path, name: str = 'n.ipynb', **settings) -> Notebook:
            import nbformat.v4 as nbf

            root = tmp_path / 'root'
            root.mkdir(exist_ok=True)
            if isinstance(source, Path):
                shutil.copy(source, root / name)
            else:
                nb = nbf.new_notebook(
                    cells=[nbf.new_code_cell(o) for o in source],
                    metadata={
                        'kernelspec': {'name': 'python3', 'display_name': 'Python 3', 'language': 'python'}
                    },
                )
                (root / name).write_text(json.dumps(nb))
            address = stack.enter_context(jupyter(root, **settings))
            context = stack.enter_context(
                contextlib.closing(browser.new_context(viewport=dict(width=1250, height=1000)))
            )
            asked = []

            def only_loopback(route):
                if route.request.url.startswith((address, 'data:', 'blob:')):
                    route.continue_()
                else:
                    asked.append(route.request.url)
                    route.abort()

            context.route('**/*', only_loopback)
            notebook = Notebook(context.new_page(), address, name)
            notebook.asked, notebook.root, notebook.context = asked, root, context
            return notebook

        yield opened
