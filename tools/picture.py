"""Take the README's picture, `nbs/images/lab.png`: a run in JupyterLab, while it trains.

    python tools/picture.py

Needs Chromium, as the browser tests do, whose helpers it uses."""

import json
import sys
import tempfile
from pathlib import Path

root = Path(__file__).parent.parent
sys.path[:0] = [str(root / 'tests' / 'browser'), str(root)]

import nbformat.v4 as nbf
from conftest import CHROMIUM, FLAGS, Notebook, jupyter
from PIL import Image
from playwright.sync_api import sync_playwright

setup = """import json, tempfile, warnings, logging, transformers; warnings.simplefilter('ignore'); logging.disable(); transformers.utils.logging.disable_progress_bar()
from trove_nb import *
folder = shipped_collection('medquad-mini')
encoder = str(tiny_encoder(tempfile.mkdtemp(), [json.loads(o)['text'] for o in open(folder/'corpus.jsonl')][:300]))
model = BiEncoderRetriever.from_model_args(ModelArguments(encoder, pooling='mean', normalize=True, loss='infonce', temperature=0.05))
data_args, formats = DataArguments(group_size=2, query_max_len=24, passage_max_len=48), dict(format_query=model.format_query, format_passage=model.format_passage)
answers = beir_folder(folder, 'dev', min_score=1, score_transform=1)
mined = MaterializedQRelConfig(qrel_path=folder/'mined'/'dev.tsv', corpus_path=folder/'corpus.jsonl', query_path=folder/'queries.jsonl', score_transform=0)"""
rest = """train = BinaryDataset(data_args, positive_configs=beir_folder(folder, 'train', min_score=1), negative_configs=beir_folder(folder, 'train', max_score=1), **formats)
dev = MultiLevelDataset(data_args, qrel_config=[answers, mined], data_args_overrides=dict(group_size=20), **formats)
args = RetrievalTrainingArguments(tempfile.mkdtemp(), max_steps=400, learning_rate=2e-3, per_device_train_batch_size=16, per_device_eval_batch_size=32, eval_strategy='steps', eval_steps=40, save_strategy='no', disable_tqdm=True)
trainer = RetrievalTrainer(args=args, model=model, tokenizer=model.tokenizer, train_dataset=train, eval_dataset=dev, compute_metrics=IRMetrics([10]), data_collator=RetrievalCollator(data_args, model.tokenizer))"""
cells = [setup, rest, 'run = live(trainer)\nrun']

with tempfile.TemporaryDirectory() as scratch, sync_playwright() as p:
    folder = Path(scratch) / 'root'
    folder.mkdir()
    (folder / 'first_run.ipynb').write_text(
        json.dumps(
            nbf.new_notebook(
                cells=[nbf.new_code_cell(o) for o in cells],
                metadata={
                    'kernelspec': {'name': 'python3', 'display_name': 'Python 3', 'language': 'python'}
                },
            )
        )
    )
    chromium = p.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
    with jupyter(folder) as address:
        notebook = Notebook(
            chromium.new_page(viewport=dict(width=1100, height=860)), address, 'first_run.ipynb'
        )
        for i in range(2):
            notebook.run(i)
        notebook.begin(2)
        notebook.page.wait_for_function(
            '() => /step 2[4-9][0-9] of 400/.test(document.body.innerText)', timeout=120_000
        )
        notebook.page.evaluate("() => jupyterapp.shell.currentWidget.content.scrollToItem(2, 'start')")
        notebook.page.wait_for_timeout(700)
        target = root / 'nbs' / 'images' / 'lab.png'
        notebook.page.screenshot(path=str(target))
    chromium.close()
    Image.open(target).convert('P', palette=Image.Palette.ADAPTIVE, colors=64).save(target, optimize=True)
    print(target, target.stat().st_size // 1024, 'kB')
