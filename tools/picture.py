"""Take the README's picture, `nbs/images/lab.png`: a run in JupyterLab, while it trains.

    python tools/picture.py

Needs Chromium, as the browser tests do, whose helpers it uses."""

import json
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT / 'tests' / 'browser'), str(ROOT)]

import nbformat.v4 as nbf
from conftest import CHROMIUM, FLAGS, Notebook, jupyter
from PIL import Image
from playwright.sync_api import sync_playwright

QUIET = """import json, logging, tempfile, warnings
import transformers
warnings.simplefilter('ignore')
logging.disable()
transformers.utils.logging.disable_progress_bar()"""

MODEL = """from trove_nb import *
folder = shipped_collection('medquad-mini')
texts = [json.loads(line)['text'] for line in open(folder / 'corpus.jsonl')]
encoder = str(tiny_encoder(tempfile.mkdtemp(), texts[:300]))
model = BiEncoderRetriever.from_model_args(
    ModelArguments(encoder, pooling='mean', normalize=True, loss='infonce', temperature=0.05)
)
data_args = DataArguments(group_size=2, query_max_len=24, passage_max_len=48)
formats = dict(format_query=model.format_query, format_passage=model.format_passage)"""

DATA = """answers = beir_folder(folder, 'dev', min_score=1, score_transform=1)
mined = MaterializedQRelConfig(
    qrel_path=folder / 'mined' / 'dev.tsv',
    corpus_path=folder / 'corpus.jsonl',
    query_path=folder / 'queries.jsonl',
    score_transform=0,
)
train = BinaryDataset(
    data_args,
    positive_configs=beir_folder(folder, 'train', min_score=1),
    negative_configs=beir_folder(folder, 'train', max_score=1),
    **formats,
)
dev = MultiLevelDataset(
    data_args, qrel_config=[answers, mined], data_args_overrides=dict(group_size=20), **formats
)"""

TRAINER = """args = RetrievalTrainingArguments(
    tempfile.mkdtemp(),
    max_steps=400,
    learning_rate=2e-3,
    per_device_train_batch_size=16,
    per_device_eval_batch_size=32,
    eval_strategy='steps',
    eval_steps=40,
    save_strategy='no',
    disable_tqdm=True,
)
trainer = RetrievalTrainer(
    args=args,
    model=model,
    tokenizer=model.tokenizer,
    train_dataset=train,
    eval_dataset=dev,
    compute_metrics=IRMetrics([10]),
    data_collator=RetrievalCollator(data_args, model.tokenizer),
)"""

CELLS = [QUIET, MODEL, DATA, TRAINER, 'run = live(trainer)\nrun']
KERNEL = {'name': 'python3', 'display_name': 'Python 3', 'language': 'python'}
LATE_ENOUGH = '() => /step 2[4-9][0-9] of 400/.test(document.body.innerText)'


def write_notebook(path: Path) -> None:
    "A notebook that prepares a run, and starts it in its last cell"
    cells = [nbf.new_code_cell(source) for source in CELLS]
    path.write_text(json.dumps(nbf.new_notebook(cells=cells, metadata={'kernelspec': KERNEL})))


def take_picture(notebook: Notebook, target: Path) -> None:
    "Start the run, wait until its curves show something, and take the picture"
    last = len(CELLS) - 1
    for i in range(last):
        notebook.run(i)
    notebook.begin(last)
    notebook.page.wait_for_function(LATE_ENOUGH, timeout=120_000)
    scroll = f"() => jupyterapp.shell.currentWidget.content.scrollToItem({last}, 'start')"
    notebook.page.evaluate(scroll)
    notebook.page.wait_for_timeout(700)
    notebook.page.screenshot(path=str(target))


def main():
    target = ROOT / 'nbs' / 'images' / 'lab.png'
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as playwright:
        folder = Path(scratch) / 'root'
        folder.mkdir()
        write_notebook(folder / 'first_run.ipynb')
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        with jupyter(folder) as address:
            page = chromium.new_page(viewport=dict(width=1100, height=860))
            take_picture(Notebook(page, address, 'first_run.ipynb'), target)
        chromium.close()
    Image.open(target).convert('P', palette=Image.Palette.ADAPTIVE, colors=64).save(target, optimize=True)
    print(target, target.stat().st_size // 1024, 'kB')


if __name__ == '__main__':
    main()
