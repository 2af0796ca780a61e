"""A training script as a launcher starts it: the loss of each step and a digest of the final weights,
written by the main process"""

import gc
import json
import os
import sys
from pathlib import Path

import torch
from transformers import AutoTokenizer

from trove_nb import (
    BiEncoderRetriever,
    BinaryDataset,
    DataArguments,
    MaterializedQRelConfig,
    ModelArguments,
    MultiLevelDataset,
    RetrievalCollator,
    RetrievalTrainer,
    RetrievalTrainingArguments,
)

loss, batch_size, out = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
train_args = RetrievalTrainingArguments(
    output_dir=str(out.with_suffix('')),
    max_steps=4,
    per_device_train_batch_size=batch_size,
    learning_rate=0.1,
    optim='sgd',
    logging_steps=1,
    save_strategy='no',
    disable_tqdm=True,
    use_cpu=True,
    seed=7,
)
model_args = ModelArguments(
    model_name_or_path='facebook/contriever',
    pooling='mean',
    normalize=True,
    loss=loss,
    temperature=0.1,
    temperature_learnable=True,
    dropout=0.0,
)
model = BiEncoderRetriever.from_model_args(model_args)
data_args = DataArguments(group_size=4, query_max_len=16, passage_max_len=32)


def source(**kw):
    return MaterializedQRelConfig(
        qrel_path='train_qrel.tsv', corpus_path='corpus.jsonl', query_path='queries.jsonl', **kw
    )


formats = dict(format_query=model.format_query, format_passage=model.format_passage)
if loss == 'kl':
    dataset = MultiLevelDataset(data_args, qrel_config=source(), **formats)
else:
    dataset = BinaryDataset(
        data_args, positive_configs=source(min_score=1), negative_configs=source(max_score=1), **formats
    )
tokenizer = AutoTokenizer.from_pretrained(model_args.model_name_or_path)
collator = RetrievalCollator(data_args, tokenizer, model.append_eos_token)
trainer = RetrievalTrainer(
    args=train_args, model=model, tokenizer=tokenizer, data_collator=collator, train_dataset=dataset
)
trainer.train()
if trainer.is_world_process_zero():
    weights = {n: p.detach().double().norm().item() for n, p in model.named_parameters() if p.requires_grad}
    losses = [o['loss'] for o in trainer.state.log_history if 'loss' in o]
    out.write_text(
        json.dumps(
            dict(
                world_size=int(os.environ['WORLD_SIZE']),
                losses=losses,
                weights=[weights[n] for n in sorted(weights)],
            )
        )
    )
del trainer, model
gc.collect()  # a model that holds the process group keeps its threads beyond Python's end
if torch.distributed.is_initialized():
    torch.distributed.destroy_process_group()
