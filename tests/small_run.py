"A small collection, a small encoder and a trainer of both, for tests in this process and others; as a script: folder, name, and what the trainer's arguments are to be"

import json
import sys
from contextlib import contextmanager
from pathlib import Path

import torch

from trove_nb import (
    BiEncoderRetriever,
    BinaryDataset,
    DataArguments,
    IRMetrics,
    MaterializedQRelConfig,
    ModelArguments,
    MultiLevelDataset,
    PretrainedEncoder,
    RetrievalLoss,
    RetrievalTrainer,
    RetrievalTrainingArguments,
    run_rank,
    tiny_encoder,
)


def write_collection(folder):
    texts = {f'd{i}': f'number {i} and word {i % 7} of group {i % 5}' for i in range(40)}
    for name, items in (('corpus', texts), ('queries', {f'q{i}': f'what is number {i}' for i in range(24)})):
        (folder / f'{name}.jsonl').write_text(
            '\n'.join(json.dumps({'_id': k, 'text': v}) for k, v in items.items())
        )
    (folder / 'qrels.tsv').write_text(
        ''.join(f'q{i}\td{(i + j) % 40}\t{int(j == 0)}\n' for i in range(24) for j in range(7))
    )
    tiny_encoder(folder / 'tiny', list(texts.values()))
    return folder


@contextmanager
def kept_registrations():
    "Encoders, losses and loaders that are defined within are forgotten after it: other tests count what there is"
    from trove_nb.data.qrels import _LOADERS

    registries = [RetrievalLoss.registry, PretrainedEncoder.registry, *_LOADERS.values()]
    before = [list(o._entries) for o in registries]
    try:
        yield
    finally:
        for registry, entries in zip(registries, before):
            registry._entries = entries


def small_trainer(folder, name, **kw):
    torch.manual_seed(0)
    model = BiEncoderRetriever.from_model_args(
        ModelArguments(
            str(folder / 'tiny'),
            pooling='mean',
            normalize=True,
            loss='infonce',
            temperature=0.1,
            temperature_learnable=True,
            dropout=0.1,
        )
    )
    data_args = DataArguments(group_size=3, query_max_len=16, passage_max_len=16)
    source = lambda **steps: MaterializedQRelConfig(
        folder / 'qrels.tsv', folder / 'corpus.jsonl', folder / 'queries.jsonl', **steps
    )
    train_set = BinaryDataset(
        data_args,
        model.format_query,
        model.format_passage,
        source(min_score=1),
        source(max_score=1, group_random_k=4),
    )
    dev_set = MultiLevelDataset(
        data_args, model.format_query, model.format_passage, source(), data_args_overrides=dict(group_size=7)
    )
    args = RetrievalTrainingArguments(
        str(folder / name),
        **{
            **dict(
                num_train_epochs=3,
                per_device_train_batch_size=4,
                gradient_accumulation_steps=2,
                learning_rate=1e-3,
                use_cpu=True,
                disable_tqdm=True,
                save_strategy='no',
            ),
            **kw,
        },
    )
    return RetrievalTrainer(
        model,
        args,
        train_dataset=train_set,
        eval_dataset=dev_set,
        processing_class=model.tokenizer,
        compute_metrics=IRMetrics(5),
    )


def main():
    trainer = small_trainer(Path(sys.argv[1]), sys.argv[2], **json.loads(sys.argv[3]))
    trainer.train()
    if trainer.is_world_process_zero():
        torch.save(trainer.model.state_dict(), Path(trainer.args.output_dir) / 'weights.pt')


if __name__ == '__main__':
    run_rank(main, Path(sys.argv[1]) / sys.argv[2])
