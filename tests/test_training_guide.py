"""Trove's training guide, step by step, with only the package's name changed

The working folder holds files by the guide's names: train_qrel.tsv, corpus.jsonl, queries.jsonl,
dev_qrel.tsv and so on, taken from the shipped collection, and a tiny encoder in facebook/contriever,
where the guide names a model of the hub."""

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from trove_nb import shipped_collection, tiny_encoder

here = Path(__file__).parent
N_QUERIES = 48


def rows_of(path):
    with path.open(encoding='utf-8') as f:
        return list(csv.reader(f, delimiter='\t'))[1:]


def write_qrel(path, rows):
    lines = ['query-id\tcorpus-id\tscore', *map('\t'.join, rows)]
    path.write_text('\n'.join(lines) + '\n', encoding='utf-8')


@pytest.fixture(scope='module')
def guide_folder(tmp_path_factory):
    "The guide's files"
    folder, shipped = tmp_path_factory.mktemp('guide'), shipped_collection()
    for name in ('corpus.jsonl', 'queries.jsonl'):
        shutil.copy(shipped / name, folder / name)
    for split in ('train', 'dev'):
        rows = rows_of(shipped / 'qrels' / f'{split}.tsv')
        first = set(list(dict.fromkeys(r[0] for r in rows))[:N_QUERIES])
        write_qrel(folder / f'{split}_qrel.tsv', [r for r in rows if r[0] in first])
    dev = rows_of(folder / 'dev_qrel.tsv')
    dev_queries = {row[0] for row in dev}
    mined = rows_of(shipped / 'mined' / 'dev.tsv')
    write_qrel(folder / 'dev_qrel_positives.tsv', [r for r in dev if int(r[2]) >= 1])
    write_qrel(folder / 'dev_mined_negs.tsv', [r for r in mined if r[0] in dev_queries])
    lines = (folder / 'corpus.jsonl').read_text(encoding='utf-8').splitlines()[:200]
    texts = [json.loads(line)['text'][:300] for line in lines]
    tiny_encoder(folder / 'facebook' / 'contriever', texts)
    return folder


@pytest.fixture(autouse=True)
def in_guide_folder(guide_folder, monkeypatch):
    monkeypatch.chdir(guide_folder)


def training_arguments(**kw):
    from trove_nb import RetrievalTrainingArguments

    return RetrievalTrainingArguments(
        output_dir='./my_model',
        learning_rate=1e-5,
        max_steps=2,
        per_device_train_batch_size=4,
        use_cpu=True,
        disable_tqdm=True,
        **kw,
    )


def load_model(**kw):
    from trove_nb import BiEncoderRetriever, ModelArguments

    settings = dict(
        model_name_or_path='facebook/contriever',
        encoder_class='default',
        pooling='mean',
        normalize=False,
        loss='infonce',
    )
    model_args = ModelArguments(**(settings | kw))
    return model_args, BiEncoderRetriever.from_model_args(args=model_args)


def data_arguments(**kw):
    from trove_nb import DataArguments

    settings = dict(dataset_name='msmarco', group_size=16, query_max_len=32, passage_max_len=128)
    return DataArguments(**(settings | kw))


def source(qrel_path, **kw):
    from trove_nb import MaterializedQRelConfig

    return MaterializedQRelConfig(
        qrel_path=qrel_path, corpus_path='corpus.jsonl', query_path='queries.jsonl', **kw
    )


def binary_dataset(model, data_args):
    from trove_nb import BinaryDataset

    return BinaryDataset(
        data_args=data_args,
        positive_configs=source('train_qrel.tsv', min_score=1),
        negative_configs=source('train_qrel.tsv', max_score=1),
        format_query=model.format_query,
        format_passage=model.format_passage,
    )


def collator(model_args, model, data_args):
    from transformers import AutoTokenizer

    from trove_nb import RetrievalCollator

    tokenizer = AutoTokenizer.from_pretrained(model_args.model_name_or_path)
    tokenizer.pad_token_id = tokenizer.eos_token_id
    tokenizer.padding_side = 'right'
    return tokenizer, RetrievalCollator(
        data_args=data_args, tokenizer=tokenizer, append_eos=model.append_eos_token
    )


def test_workflow():
    "Model, binary dataset, collator, trainer; trained and saved"
    from trove_nb import BiEncoderRetriever, RetrievalTrainer

    model_args, model = load_model()
    data_args = data_arguments()
    dataset = binary_dataset(model, data_args)
    assert len(dataset) >= N_QUERIES // 2
    tokenizer, data_collator = collator(model_args, model, data_args)
    trainer = RetrievalTrainer(
        args=training_arguments(),
        model=model,
        tokenizer=tokenizer,
        data_collator=data_collator,
        train_dataset=dataset,
    )
    trainer.train()
    trainer.save_model()
    again = BiEncoderRetriever.from_pretrained('./my_model')
    assert (again.encode_query(['fever']) - model.encode_query(['fever'])).abs().max() < 1e-6


def test_available_losses():
    from trove_nb import RetrievalLoss

    assert {'infonce', 'kl'} <= set(RetrievalLoss.available_losses())


def test_several_sources():
    "Lists of configs, each processed in its own way, and lists of files"
    from trove_nb import BinaryDataset

    _, model = load_model()
    negatives = [
        source('train_qrel.tsv', max_score=1),
        source(['train_qrel.tsv'], max_score=1, group_random_k=2),
    ]
    dataset = BinaryDataset(
        data_args=data_arguments(group_size=4),
        positive_configs=[source(['train_qrel.tsv'], min_score=1)],
        negative_configs=negatives,
        format_query=model.format_query,
        format_passage=model.format_passage,
    )
    assert len(dataset[0]['passage']) == 4


def test_multi_level_labels_with_kl():
    "Graded labels, one set of configs"
    from trove_nb import MultiLevelDataset, RetrievalTrainer

    model_args, model = load_model(loss='kl', normalize='yes', temperature=0.1)
    data_args = data_arguments(group_size=4, passage_selection_strategy='random')
    graded = [
        source('train_qrel.tsv', min_score=1, score_transform=3),
        source('train_qrel.tsv', max_score=1, group_random_k=2, score_transform=1),
    ]
    dataset = MultiLevelDataset(
        data_args=data_args,
        format_query=model.format_query,
        format_passage=model.format_passage,
        qrel_config=graded,
    )
    tokenizer, data_collator = collator(model_args, model, data_args)
    result = RetrievalTrainer(
        args=training_arguments(),
        model=model,
        tokenizer=tokenizer,
        data_collator=data_collator,
        train_dataset=dataset,
    ).train()
    assert result.training_loss > 0


@pytest.mark.parametrize('mined', [False, True], ids=['annotated', 'annotated and mined'])
def test_metrics_during_training(mined):
    "An approximate dev metric every step, from annotated passages or from positives and mined negatives"
    from trove_nb import IRMetrics, MultiLevelDataset, RetrievalTrainer

    model_args, model = load_model()
    data_args = data_arguments(group_size=4)
    eval_mqrel = (
        [source('dev_qrel_positives.tsv', score_transform=1), source('dev_mined_negs.tsv', score_transform=0)]
        if mined
        else source('dev_qrel.tsv')
    )
    arg_overrides = {'group_size': 100, 'passage_selection_strategy': 'most_relevant'}
    eval_dataset = MultiLevelDataset(
        data_args=data_args,
        format_query=model.format_query,
        format_passage=model.format_passage,
        qrel_config=eval_mqrel,
        data_args_overrides=arg_overrides,
        num_proc=8,
    )
    tokenizer, data_collator = collator(model_args, model, data_args)
    metric_callback = IRMetrics(k_values=[10, 100])
    trainer = RetrievalTrainer(
        args=training_arguments(
            batch_eval_metrics=True, label_names=['label'], eval_strategy='steps', eval_steps=1
        ),
        model=model,
        tokenizer=tokenizer,
        data_collator=data_collator,
        train_dataset=binary_dataset(model, data_args),
        eval_dataset=eval_dataset,
        compute_metrics=metric_callback,
    )
    trainer.train(ignore_keys_for_eval=['query', 'passage'])
    seen = [o['eval_ndcg_cut_10'] for o in trainer.state.log_history if 'eval_ndcg_cut_10' in o]
    assert len(seen) == 2 and all(0 < o <= 1 for o in seen)
    assert data_args.group_size == 4


def test_lora():
    "use_peft alone"
    from trove_nb import BiEncoderRetriever, RetrievalTrainer

    model_args, model = load_model(use_peft=True)
    trained = [n for n, p in model.named_parameters() if p.requires_grad]
    assert trained and all('lora_' in n for n in trained)
    data_args = data_arguments(group_size=4)
    tokenizer, data_collator = collator(model_args, model, data_args)
    trainer = RetrievalTrainer(
        args=training_arguments(),
        model=model,
        tokenizer=tokenizer,
        data_collator=data_collator,
        train_dataset=binary_dataset(model, data_args),
    )
    trainer.train()
    trainer.save_model('./my_adapter')
    assert Path('my_adapter/adapter_model.safetensors').exists()
    again = BiEncoderRetriever.from_pretrained('./my_adapter')
    assert (again.encode_query(['fever']) - model.encode_query(['fever'])).abs().max() < 1e-5


@pytest.mark.parametrize('loss', ['infonce', 'kl'])
def test_two_processes_equal_one(loss, guide_folder, tmp_path):
    "torchrun with two processes and half the batch gives the losses and weights of one process"
    runs = {}
    for n in (1, 2):
        out = tmp_path / f'{n}.json'
        command = [
            sys.executable,
            '-m',
            'torch.distributed.run',
            '--standalone',
            '--nproc-per-node',
            str(n),
            str(here / 'launched' / 'train_guide.py'),
            loss,
            str(8 // n),
            str(out),
        ]
        env = {
            **os.environ,
            'OMP_NUM_THREADS': '1',
            'ACCELERATE_USE_CPU': 'true',
            'PYTHONPATH': os.pathsep.join([str(here.parent), os.environ.get('PYTHONPATH', '')]),
        }
        done = subprocess.run(command, cwd=guide_folder, env=env, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr[-3000:]
        runs[n] = json.loads(out.read_text())
    assert runs[1]['world_size'] == 1 and runs[2]['world_size'] == 2
    assert runs[2]['losses'] == pytest.approx(runs[1]['losses'], rel=1e-5)
    assert runs[2]['weights'] == pytest.approx(runs[1]['weights'], rel=1e-4, abs=1e-6)
