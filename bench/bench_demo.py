"""The demo from start to end, in turn with sentence-transformers on the same questions; each run in a process of its own, medians.

    python bench/bench_demo.py [--steps 60] [--repeats 3]    # from seven minutes (AMX) to twenty a turn on two cores

Both sides fine-tune all-MiniLM-L6-v2 on medquad-mini with one mined negative a question and in-batch negatives, batches of 32, the same learning rate, temperature and precision, without
dropout. Both measure the dev questions with 20 candidates each seven times on the way, and the test questions over the whole collection before and after. Batches are shuffled by each side's own generator.
While training both use bf16 where the processor is made for it; sentence-transformers measures in float32 all the same, since its evaluators leave autocast aside. Without it only our own figures are printed."""

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
    from trove_nb.evaluation.evaluator import EvaluationArguments, RetrievalEvaluator
    from trove_nb.scripts.demo import demo_encoder, demo_parts, fast_bf16

    clock.phase('import')
    trainer, test = demo_parts(demo_encoder(), folder, steps)
    evaluator = RetrievalEvaluator(
        EvaluationArguments(
            output_dir=folder, per_device_eval_batch_size=32, bf16=fast_bf16(), ir_metrics_k_values='10,100'
        ),
        trainer.model,
        trainer.tokenizer,
    )
    clock.phase('load')
    before = evaluator.evaluate(test, 'before').metrics['ndcg_cut_10']
    clock.phase('before')
    trainer.train()
    clock.phase('train')
    after = evaluator.evaluate(test, 'after').metrics['ndcg_cut_10']
    clock.phase('after')
    return dict(seconds=clock.seconds, ndcg=[before, after])


def texts_of_demo() -> dict:
    "What the peer is fed: the very texts of our datasets"
    from transformers.utils.logging import disable_progress_bar

    from trove_nb import BiEncoderRetriever, DataArguments, ModelArguments
    from trove_nb.scripts.demo import demo_datasets, demo_encoder

    disable_progress_bar()
    model = BiEncoderRetriever.from_model_args(ModelArguments(demo_encoder(), pooling='mean', normalize=True))
    train, dev, test = demo_datasets(
        model, DataArguments(group_size=2, query_max_len=32, passage_max_len=128)
    )
    rows = [(e['query'], *e['passage']) for e in map(train.__getitem__, range(len(train)))]
    split = lambda e, wanted: [p for p, label in zip(e['passage'], e['label']) if (label > 0) == wanted]
    samples = [
        dict(query=e['query'], positive=split(e, True), negative=split(e, False))
        for e in map(dev.__getitem__, range(len(dev)))
    ]
    queries = {q: test.query_text(row) for q, row in zip(test.query_ids, test.judgements.query_rows.tolist())}
    corpus = dict(
        zip(test.corpus.names(range(len(test.corpus))), map(test.passage_text, range(len(test.corpus))))
    )
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
    model.max_seq_length = 128
    data = Dataset.from_dict(dict(zip(('anchor', 'positive', 'negative'), map(list, zip(*texts['rows'])))))
    dev = RerankingEvaluator(texts['samples'], at_k=10, batch_size=32)
    test = InformationRetrievalEvaluator(
        texts['queries'],
        texts['corpus'],
        {q: set(d) for q, d in texts['qrels'].items()},
        ndcg_at_k=[10],
        precision_recall_at_k=[100],
        batch_size=32,
    )
    every = max(1, steps // 6)
    args = SentenceTransformerTrainingArguments(
        folder,
        max_steps=steps,
        per_device_train_batch_size=32,
        learning_rate=1e-4,
        warmup_steps=0.1,
        bf16=fast_bf16(),
        use_cpu=not _has_gpu(),
        eval_strategy='steps',
        eval_steps=every,
        eval_on_start=True,
        logging_steps=every,
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


def _has_gpu() -> bool:
    import torch

    return torch.accelerator.is_available()


def in_child(side: str, steps: int, texts: str) -> dict:
    with TemporaryDirectory() as folder:
        done = subprocess.run(
            [
                sys.executable,
                __file__,
                '--side',
                side,
                '--steps',
                str(steps),
                '--folder',
                folder,
                '--texts',
                texts,
            ],
            capture_output=True,
            text=True,
        )
    if done.returncode:
        sys.exit(f'{side} failed:\n{done.stderr[-4000:]}')
    found = json.loads(done.stdout.splitlines()[-1])
    found['seconds']['all'] = sum(found['seconds'].values())
    return found


def report(runs: dict[str, list[dict]], steps: int):
    print(f'{steps} steps, medians of {len(runs["ours"])}')
    print(f'{"":<24}' + ''.join(f'{p:>9}' for p in PHASES) + f'{"nDCG@10":>20}')
    middle = {
        side: {p: median(o['seconds'][p] for o in found) for p in PHASES} for side, found in runs.items()
    }
    for side, found in runs.items():
        before, after = (median(o['ndcg'][i] for o in found) for i in (0, 1))
        print(
            f'{side:<24}'
            + ''.join(f'{middle[side][p]:>8.1f}s' for p in PHASES)
            + f'{before:>12.4f}{after:>8.4f}'
        )
    if len(runs) == 2:
        print(
            f'{"theirs / ours":<24}'
            + ''.join(f'{middle["sentence-transformers"][p] / middle["ours"][p]:>9.2f}' for p in PHASES)
        )


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--steps', type=int, default=60)
    parser.add_argument('--repeats', type=int, default=3)
    for hidden in ('--side', '--folder', '--texts'):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        return print(json.dumps(_side(options)))
    sides = ['ours', *(['sentence-transformers'] if find_spec('sentence_transformers') else [])]
    runs: dict[str, list[dict]] = {side: [] for side in sides}
    with TemporaryDirectory() as folder:
        os.environ['TROVE_NB_CACHE'], texts = f'{folder}/cache', f'{folder}/texts.json'
        with open(texts, 'w') as f:
            json.dump(texts_of_demo(), f)
        for turn in range(options.repeats):
            for side in sides if turn % 2 == 0 else sides[::-1]:
                runs[side].append(in_child(side, options.steps, texts))
            print(
                f'turn {turn + 1}: '
                + ', '.join(f'{side} {found[-1]["seconds"]["all"]:.1f} s' for side, found in runs.items()),
                flush=True,
            )
    report(runs, options.steps)


def _side(options) -> dict:
    logging.basicConfig(level=logging.WARNING)
    if options.side == 'ours':
        return ours(options.steps, options.folder)
    with open(options.texts) as f:
        texts = json.load(f)
    return theirs(options.steps, options.folder, texts)


if __name__ == '__main__':
    main()
