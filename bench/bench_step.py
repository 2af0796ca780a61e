"""Seconds of a training step, in turn with sentence-transformers, on the same texts

    python bench/bench_step.py [--steps 5] [--queries 8] [--passages 4] [--max_length 128]

One step: examples to tokens, forward, loss with in-batch negatives, backward, optimiser. Both sides
train all-MiniLM-L6-v2 in float32 with the same number of queries and passages, first with the model's
own dropout, then with none; at the end ours in bf16, where the processor is made for it. sentence-
transformers is optional: without it, only our own figures are printed. The two take turns step by step,
so a busy machine slows both; medians and their ratio are reported."""

import argparse
import time
from statistics import median

import torch

from trove_nb import BiEncoderRetriever, BinaryDataset, DataArguments, ModelArguments, RetrievalCollator
from trove_nb.scripts.demo import demo_encoder, demo_source, fast_bf16


def our_step(args, dropout, bf16=False):
    model = BiEncoderRetriever.from_model_args(
        ModelArguments(
            demo_encoder(), pooling='mean', normalize=True, loss='infonce', temperature=0.05, dropout=dropout
        )
    ).train()
    data_args = DataArguments(
        group_size=args.passages,
        query_max_len=args.max_length,
        passage_max_len=args.max_length,
        pad_to_multiple_of=None,
    )
    data = BinaryDataset(
        data_args,
        model.format_query,
        model.format_passage,
        demo_source('train', min_score=1),
        demo_source('train', max_score=1),
    )
    collator = RetrievalCollator(data_args, model.tokenizer)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-5)

    def step(i):
        batch = collator([data[j] for j in range(i * args.queries, (i + 1) * args.queries)])
        with torch.autocast('cpu', torch.bfloat16, enabled=bf16):
            loss = model(**{k: v for k, v in batch.items() if k not in ('query_id', 'passage_id')}).loss
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()

    return step, data


def their_step(args, dropout, data):
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

    config = {}
    if dropout is not None:
        config = dict(hidden_dropout_prob=dropout, attention_probs_dropout_prob=dropout)
    model = SentenceTransformer(demo_encoder(), device='cpu', config_kwargs=config).train()
    model.max_seq_length = args.max_length
    loss_fn = MultipleNegativesRankingLoss(model)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-5)

    def step(i):
        examples = [data[j] for j in range(i * args.queries, (i + 1) * args.queries)]
        columns = [[e['query'] for e in examples]]
        for g in range(args.passages):
            columns.append([e['passage'][g] for e in examples])
        loss_fn([model.preprocess(c) for c in columns], None).backward()
        optimiser.step()
        optimiser.zero_grad()

    return step


def in_turn(steps, n):
    seconds = [[] for _ in steps]
    for i in range(n + 1):
        for s, step in zip(seconds, steps):
            start = time.perf_counter()
            step(i)
            s.append(time.perf_counter() - start)
    return [median(s[1:]) for s in seconds]  # the first step warms up


if __name__ == '__main__':
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, default in (('steps', 5), ('queries', 8), ('passages', 4), ('max_length', 128)):
        parser.add_argument(f'--{name}', type=int, default=default)
    args = parser.parse_args()
    try:
        import sentence_transformers
    except ImportError:
        sentence_transformers = None
    for dropout in (None, 0.0):
        ours, data = our_step(args, dropout)
        steps = [ours]
        if sentence_transformers:
            steps.append(their_step(args, dropout, data))
        found = in_turn(steps, args.steps)
        peer = ''
        if sentence_transformers:
            peer = f', sentence-transformers {found[1]:.3f} s, ratio {found[1] / found[0]:.2f}'
        name = 'of the model' if dropout is None else dropout
        print(f'float32, dropout {name}: ours {found[0]:.3f} s a step{peer}')
    if fast_bf16():
        found = in_turn([our_step(args, 0.0, bf16=True)[0]], args.steps)
        print(f'bf16, dropout 0: ours {found[0]:.3f} s a step')
