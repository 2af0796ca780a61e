"""The demo from start to end, in turn with sentence-transformers on the same questions; medians.

    python bench/bench_demo.py [--steps 30] [--repeats 3]    # one to four minutes a turn on two cores

Each run has a process of its own. Both sides fine-tune all-MiniLM-L6-v2 on medquad-mini with one hard
negative a question and in-batch negatives: batches of 16, the same learning rate, temperature and
precision, no dropout. Both evaluate the dev questions with four candidates three times on the way, and
the test questions over their corpus before and after. Each side shuffles its batches with its own
generator. While training both use bf16 where the processor is made for it; sentence-transformers
evaluates in float32 all the same, since its evaluators leave autocast aside. Without sentence-
transformers only our own figures are printed."""

import argparse
import json
import logging
import os
import subprocess
import sys
import time
from importlib.util import find_spec
from statistics import median
from tempfile import TemporaryDirectory

started = time.perf_counter()
PHASES = ('import', 'load', 'before', 'train', 'after', 'all')


class Clock:
    "Seconds of each phase, the first of which began with the process"

    def __init__(self):
        self.seconds, self.last = {}, started

    def phase(self, name: str):
        now = time.perf_counter()
        self.seconds[name], self.last = now - self.last, now


def ours(steps: int, folder: str) -> dict:
    "As `trove_nb.scripts.demo.run_demo`, with a clock beside it"
    clock = Clock()
    from trove_nb.scripts.demo import demo_encoder, demo_parts

    clock.phase('import')
    parts = demo_parts(demo_encoder(), folder, steps)
    clock.phase('load')
    before = parts.evaluator.evaluate(parts.test, 'before').metrics['ndcg_cut_10']
    clock.phase('before')
    parts.trainer.train()
    clock.phase('train')
    after = parts.evaluator.evaluate(parts.test, 'after').metrics['ndcg_cut_10']
    clock.phase('after')
    return dict(seconds=clock.seconds, ndcg=[before, after])


def texts_of_demo() -> dict:
    "What the peer is fed: the very texts of our datasets"
    from transformers.utils.logging import disable_progress_bar

    from trove_nb import BiEncoderRetriever, DataArguments, ModelArguments
    from trove_nb.scripts.demo import demo_datasets, demo_encoder

    disable_progress_bar()
    model = BiEncoderRetriever.from_model_args(ModelArguments(demo_encoder(), pooling='mean', normalize=True))
    data_args = DataArguments(group_size=2, query_max_len=32, passage_max_len=64)
    train, dev, test = demo_datasets(model, data_args)
    rows = [(e['query'], *e['passage']) for e in map(train.__getitem__, range(len(train)))]
    samples = []
    for i in range(len(dev)):
        sample = dict(query=dev[i]['query'], positive=[], negative=[])
        for passage, label in zip(dev[i]['passage'], dev[i]['label'], strict=True):
            sample['positive' if label > 0 else 'negative'].append(passage)
        samples.append(sample)
    query_rows = test.judgements.query_rows.tolist()
    queries = {qid: test.query_text(row) for qid, row in zip(test.query_ids, query_rows, strict=True)}
    passage_ids = test.corpus.names(range(len(test.corpus)))
    corpus = {docid: test.passage_text(row) for row, docid in enumerate(passage_ids)}
    return dict(rows=rows, samples=samples, queries=queries, corpus=corpus, qrels=test.get_qrel_nested_dict())


def theirs(steps: int, folder: str, texts: dict) -> dict:
    "The same with sentence-transformers' trainer and evaluators"
    clock = Clock()
    from datasets import Dataset
    from sentence_transformers import (
        SentenceTransformer,
        SentenceTransformerTrainer,
        SentenceTransformerTrainingArguments,
    )
    from sentence_transformers.sentence_transformer.evaluation import (
        InformationRetrievalEvaluator,
        RerankingEvaluator,
    )
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

    from trove_nb.scripts.demo import demo_encoder, fast_bf16

    clock.phase('import')
    model = SentenceTransformer(
        demo_encoder(), config_kwargs=dict(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    )
    model.max_seq_length = 64
    columns = map(list, zip(*texts['rows'], strict=True))
    data = Dataset.from_dict(dict(zip(('anchor', 'positive', 'negative'), columns, strict=True)))
    dev = RerankingEvaluator(texts['samples'], at_k=10, batch_size=32)
    test = InformationRetrievalEvaluator(
        texts['queries'],
        texts['corpus'],
        {q: set(d) for q, d in texts['qrels'].items()},
        ndcg_at_k=[10],
        precision_recall_at_k=[100],
        batch_size=32,
    )
    args = SentenceTransformerTrainingArguments(
        folder,
        max_steps=steps,
        per_device_train_batch_size=16,
        learning_rate=1e-4,
        warmup_steps=0.1,
        bf16=fast_bf16(),
        use_cpu=not has_gpu(),
        eval_strategy='steps',
        eval_steps=max(1, steps // 2),
        eval_on_start=True,
        logging_steps=max(1, steps // 6),
        save_strategy='no',
        report_to='none',
        dataloader_pin_memory=False,
    )
    trainer = SentenceTransformerTrainer(
        model=model,
        args=args,
        train_dataset=data,
        loss=MultipleNegativesRankingLoss(model, scale=20.0),
        evaluator=dev,
    )
    clock.phase('load')
    before = test(model)['cosine_ndcg@10']
    clock.phase('before')
    trainer.train()
    clock.phase('train')
    after = test(model)['cosine_ndcg@10']
    clock.phase('after')
    return dict(seconds=clock.seconds, ndcg=[before, after])


def has_gpu() -> bool:
    import torch

    return torch.accelerator.is_available()


def in_child(side: str, steps: int, texts: str) -> dict:
    "One side in a process of its own; seconds of each phase, and nDCG@10 before and after"
    with TemporaryDirectory() as folder:
        options = ['--side', side, '--steps', str(steps), '--folder', folder, '--texts', texts]
        done = subprocess.run([sys.executable, __file__, *options], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f'{side} failed:\n{done.stderr[-4000:]}')
    found = json.loads(done.stdout.splitlines()[-1])
    found['seconds']['all'] = sum(found['seconds'].values())
    return found


def medians(found: list[dict]) -> dict[str, float]:
    "The median seconds of each phase"
    middle = {}
    for phase in PHASES:
        middle[phase] = median(o['seconds'][phase] for o in found)
    return middle


def report(runs: dict[str, list[dict]], steps: int):
    "A line for each side with the medians of its phases, and their ratios"
    print(f'{steps} steps, medians of {len(runs["ours"])}')
    heads = [f'{phase:>9}' for phase in PHASES]
    print(f'{"":<24}{"".join(heads)}{"nDCG@10":>20}')
    middle = {}
    for side, found in runs.items():
        middle[side] = medians(found)
        cells = [f'{seconds:>8.1f}s' for seconds in middle[side].values()]
        before = median(o['ndcg'][0] for o in found)
        after = median(o['ndcg'][1] for o in found)
        print(f'{side:<24}{"".join(cells)}{before:>12.4f}{after:>8.4f}')
    if len(runs) == 2:
        peer = middle['sentence-transformers']
        ratios = [f'{peer[phase] / middle["ours"][phase]:>9.2f}' for phase in PHASES]
        print(f'{"theirs / ours":<24}{"".join(ratios)}')


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--steps', type=int, default=30)
    parser.add_argument('--repeats', type=int, default=3)
    for hidden in ('--side', '--folder', '--texts'):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        found = one_side(options)
        print(f'\n{json.dumps(found)}')  # the demo counts its steps on the line before
        return
    sides = ['ours', 'sentence-transformers'] if find_spec('sentence_transformers') else ['ours']
    runs: dict[str, list[dict]] = {side: [] for side in sides}
    with TemporaryDirectory() as folder:
        os.environ['TROVE_NB_CACHE'], texts = f'{folder}/cache', f'{folder}/texts.json'
        with open(texts, 'w') as f:
            json.dump(texts_of_demo(), f)
        for turn in range(options.repeats):
            for side in sides if turn % 2 == 0 else sides[::-1]:
                runs[side].append(in_child(side, options.steps, texts))
            totals = [f'{side} {found[-1]["seconds"]["all"]:.1f} s' for side, found in runs.items()]
            print(f'turn {turn + 1}: {", ".join(totals)}', flush=True)
    report(runs, options.steps)


def one_side(options) -> dict:
    "What a child process does"
    logging.basicConfig(level=logging.WARNING)
    if options.side == 'ours':
        return ours(options.steps, options.folder)
    with open(options.texts) as f:
        texts = json.load(f)
    return theirs(options.steps, options.folder, texts)


if __name__ == '__main__':
    main()
