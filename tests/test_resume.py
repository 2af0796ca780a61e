"A run that was stopped, resumed or evaluated in between has the weights of one that wasn't, bit for bit"
import json

import pytest
import torch

from trove_nb import (BinaryDataset, BiEncoderRetriever, DataArguments, IRMetrics, MaterializedQRelConfig, ModelArguments, MultiLevelDataset, RetrievalTrainer,
    RetrievalTrainingArguments, tiny_encoder)

@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    f = tmp_path_factory.mktemp('resume')
    texts = {f'd{i}': f'number {i} and word {i%7} of group {i%5}' for i in range(40)}
    for name,items in (('corpus',texts),('queries',{f'q{i}': f'what is number {i}' for i in range(24)})):
        (f/f'{name}.jsonl').write_text('\n'.join(json.dumps({'_id': k, 'text': v}) for k,v in items.items()))
    (f/'qrels.tsv').write_text(''.join(f'q{i}\td{(i+j)%40}\t{int(j==0)}\n' for i in range(24) for j in range(7)))
    tiny_encoder(f/'tiny', list(texts.values()))
    return f

def train(folder, name, resume=None, **kw):
    torch.manual_seed(0)
    model = BiEncoderRetriever.from_model_args(ModelArguments(str(folder/'tiny'), pooling='mean', normalize=True, loss='infonce', temperature=0.1, temperature_learnable=True, dropout=0.1))
    data_args = DataArguments(group_size=3, query_max_len=16, passage_max_len=16)
    source = lambda **steps: MaterializedQRelConfig(folder/'qrels.tsv', folder/'corpus.jsonl', folder/'queries.jsonl', **steps)
    train_set = BinaryDataset(data_args, model.format_query, model.format_passage, source(min_score=1), source(max_score=1, group_random_k=4))
    dev_set = MultiLevelDataset(data_args, model.format_query, model.format_passage, source(), data_args_overrides=dict(group_size=7))
    args = RetrievalTrainingArguments(str(folder/name), num_train_epochs=3, per_device_train_batch_size=4, gradient_accumulation_steps=2, learning_rate=1e-3, use_cpu=True, disable_tqdm=True,
        **{**dict(save_strategy='no'), **kw})
    RetrievalTrainer(model, args, train_dataset=train_set, eval_dataset=dev_set, processing_class=model.tokenizer, compute_metrics=IRMetrics(5)).train(resume_from_checkpoint=resume)
    return model.state_dict()

def same(one, two): return all(torch.equal(one[k], two[k]) for k in one)

@pytest.mark.parametrize('workers', [{}, dict(dataloader_num_workers=1), dict(dataloader_num_workers=1, dataloader_persistent_workers=True)], ids=['none','new','persistent'])
def test_resumed_equals_uninterrupted(folder, workers):
    "In the middle of an epoch and at its end"
    whole = train(folder, 'whole', save_strategy='steps', save_steps=1, **workers)
    for step in (3,4): assert same(whole, train(folder, 'resumed', resume=str(folder/'whole'/f'checkpoint-{step}'), **workers))

def test_evaluation_changes_nothing(folder):
    assert same(train(folder, 'plain'), train(folder, 'evaluated', eval_strategy='steps', eval_steps=1))
