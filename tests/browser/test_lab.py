"The way through the lab: a form, a run that is watched and steered, a page that is closed, a saved notebook"

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import SHOTS

FORM = [
    """
from trove_nb import DataArguments, ModelArguments, MaterializedQRelConfig, RetrievalTrainingArguments, form
model_form = form(ModelArguments)
model_form""",
    'qrels = form(MaterializedQRelConfig)\nqrels',
    'form(RetrievalTrainingArguments)',
]


def test_form(open_notebook):
    "What is chosen becomes code, what is pasted fills the fields, and a mistake is shown beside its field"
    nb = open_notebook(FORM)
    nb.run(0)
    page = nb.page
    page.wait_for_selector('.tnb-temperature input')
    for field, value in (('pooling', 'mean'), ('temperature', '0.05')):
        page.fill(f'.tnb-{field} input', value)
        page.press(f'.tnb-{field} input', 'Enter')
    page.wait_for_function(
        "() => document.querySelector('.tnb-code textarea').value.includes('temperature=0.05')"
    )
    assert page.input_value('.tnb-code textarea') == "ModelArguments(pooling='mean', temperature=0.05)"
    page.fill('.tnb-temperature input', 'warm')
    page.press('.tnb-temperature input', 'Enter')
    page.wait_for_selector('[role=alert]:has-text("expected a number")')
    nb.shot('form_error')
    page.fill(
        '.tnb-paste textarea', "x = ModelArguments(loss='infonce', normalize=True, query_prompt='<b>q</b>: ')"
    )
    page.click('.tnb-read')
    page.wait_for_function("() => document.querySelector('.tnb-loss input').value=='infonce'")
    assert nb.value('model_form.value.query_prompt') == '<b>q</b>: ' and nb.value('model_form.errors') == {}
    page.fill('.tnb-search input', 'lora rank')
    page.wait_for_selector('.tnb-lora_r input')
    nb.shot('form')
    assert not nb.asked


def test_qrel_form(open_notebook):
    "The preview follows the steps"
    nb = open_notebook(FORM)
    (nb.root / 'qrels.tsv').write_text('q1\td1\t2\nq1\td2\t0\nq2\td1\t1\n')
    nb.run(0)
    nb.run(1)
    page = nb.page
    page.fill('.tnb-qrel_path input', 'qrels.tsv')
    page.wait_for_selector('.tnb-preview svg')
    page.fill('.tnb-min_score input', '1')
    page.press('.tnb-min_score input', 'Enter')
    page.wait_for_selector('.tnb-preview :text("1.0 <= score")')
    nb.shot('qrel_form')
    nb.run(2)
    nb.shot('training_form')


TRAIN = [
    """
from pathlib import Path
from trove_nb.testing import SmallCollection, number_collection
from trove_nb import attach, live
folder = Path('data').absolute()
folder.mkdir()
number_collection(folder)
trainer = SmallCollection(folder).trainer('run', max_steps=100_000, logging_steps=500, eval_strategy='steps',
    eval_steps=400, disable_tqdm=False)""",
    'run = live(trainer)\nrun',
    '1+1',
    'attach(run)',
    'run.wait()\nrun',
]


def curve(page):
    return page.evaluate(
        "() => [...document.querySelectorAll('.trove-live svg')].map(o => o.outerHTML).join('').length"
    )


def test_live_run(open_notebook):
    "Watched, paused, steered, left, found again, stopped, saved"
    nb = open_notebook(TRAIN)
    page = nb.page
    nb.run(0)
    nb.run(1)

    def button(label):
        return page.locator(f'button:visible:has-text("{label}")').first

    page.wait_for_selector('.trove-live svg', timeout=30_000)
    before = page.inner_html('.trove-live svg >> nth=0')
    page.wait_for_function(
        "before => document.querySelector('.trove-live svg').innerHTML!=before", arg=before, timeout=20_000
    )
    nb.shot('live')
    button('Pause').click()
    page.wait_for_selector('button:has-text("Go on")', timeout=20_000)
    at = nb.value('trainer.state.global_step')
    assert nb.run(2)[0]['data']['text/plain'] == '2' and nb.value('trainer.state.global_step') == at
    nb.shot('paused')
    page.reload()
    nb.wait_for_kernel()
    page.wait_for_function('() => window.jupyterapp.shell.currentWidget.content.widgets.length==5')
    nb.run(3)
    page.wait_for_selector('.trove-live svg', timeout=30_000)
    button('Go on').click()
    page.wait_for_selector('button:visible:has-text("Pause")', timeout=20_000)
    button('lr × 2').click()
    page.wait_for_timeout(700)
    nb.shot('attached')
    button('Stop').click()
    page.wait_for_selector('button:has-text("Save checkpoint")', timeout=30_000)
    nb.run(4)
    assert nb.value('run.stream.status') == 'stopped' and nb.value('trainer.state.global_step') > at
    assert 'learning_rate' in nb.value('[e["name"] for e in run.stream.events]')
    nb.shot('stopped')
    assert not nb.asked
    html = converted(nb, 'nbconvert')
    assert 'trove-live' not in html and html.count('<svg') + html.count('image/png') >= 2


def converted(nb, shot):
    "The saved notebook as a page; what it looks like goes to the pictures"
    nb.save()
    saved = nb.root / 'n.ipynb'
    subprocess.run(
        [sys.executable, '-m', 'nbconvert', '--to', 'html', str(saved)], check=True, capture_output=True
    )
    static = nb.context.new_page()
    static.goto(f'{nb.address}/files/n.html?token=t', wait_until='domcontentloaded')
    static.screenshot(path=str(SHOTS / f'{shot}.png'), full_page=True)
    return saved.with_suffix('.html').read_text()


@pytest.mark.parametrize('name', ['quickstart', 'lab'])
def test_tutorials(open_notebook, monkeypatch, name):
    "As a person runs them, and as they are read when nothing runs"
    monkeypatch.setenv('IN_TEST', '1')
    nb = open_notebook(Path(__file__).parents[2] / 'nbs' / 'tutorials' / f'{name}.ipynb')
    assert nb.run_all() == []
    nb.shot(name)
    assert not nb.asked
    assert 'zero-shot' in converted(nb, f'{name}_converted') or name == 'quickstart'


def test_plain_train_and_interrupt(open_notebook):
    "`trainer.train()` shows the panel; the kernel's stop button ends the run; cell and panel show an error"
    cells = [
        TRAIN[0],
        'trainer.train()\n"over"',
        """
def broken(*args, **kwargs): raise RuntimeError('<img src=x onerror="document.title=1"> no more memory')
trainer.compute_loss = broken
failed = live(trainer, baseline=False)""",
        'failed.wait()',
    ]
    nb = open_notebook(cells)
    page = nb.page
    nb.run(0)
    nb.begin(1)
    page.wait_for_selector('.trove-live svg', timeout=30_000)
    before = page.inner_html('.trove-live svg >> nth=0')
    page.wait_for_function(
        "before => document.querySelector('.trove-live svg').innerHTML!=before", arg=before, timeout=20_000
    )
    page.evaluate("() => jupyterapp.commands.execute('notebook:interrupt-kernel')")
    page.wait_for_function(
        "() => jupyterapp.shell.currentWidget.content.widgets[1].model.executionState!='running'",
        timeout=20_000,
    )
    out = nb.outputs(1)
    assert any("'over'" in str(o.get('data', {}).get('text/plain')) for o in out)
    assert not any(o['output_type'] == 'error' for o in out)
    assert nb.value('__import__("trove_nb").read_stream(trainer.args.output_dir).status') == 'stopped'
    nb.shot('interrupted')
    nb.run(2)
    page.wait_for_selector('[role=alert]:has-text("no more memory")', timeout=20_000)
    nb.begin(3)
    page.wait_for_function(
        """() => {
        const cell = jupyterapp.shell.currentWidget.content.widgets[3];
        return cell.model.sharedModel.toJSON().outputs.some(o => o.output_type=='error');
        }""",
        timeout=20_000,
    )
    assert nb.outputs(3)[-1]['ename'] == 'RuntimeError' and page.title() != '1'
    nb.shot('failed')
    assert not nb.asked
