"Typical calls; basedpyright reads this file and must know the type of everything that comes back"

from pathlib import Path
from typing import assert_type

import numpy as np
import torch

from trove_nb import (
    BiEncoderRetriever,
    BinaryDataset,
    DataArguments,
    EvaluationArguments,
    Experiment,
    IRMetrics,
    MaterializedQRelConfig,
    ModelArguments,
    MultiLevelDataset,
    RetrievalCollator,
    RetrievalEvaluator,
    RetrievalLoss,
    RetrievalTrainer,
    RetrievalTrainingArguments,
    TrecRun,
    beir_folder,
    compare_runs,
    live,
    read_run_file,
    read_stream,
    reproduce,
    runs,
)

folder = Path('data')
source = MaterializedQRelConfig(
    folder / 'qrels.tsv', folder / 'corpus.jsonl', folder / 'queries.jsonl', min_score=1
)
assert_type(beir_folder(folder, 'train'), MaterializedQRelConfig)
assert_type(beir_folder(folder, None), dict[str, MaterializedQRelConfig])

model = BiEncoderRetriever.from_model_args(ModelArguments('encoder', pooling='mean'))
assert_type(model, BiEncoderRetriever)
assert_type(BiEncoderRetriever.from_pretrained('folder'), BiEncoderRetriever)
assert_type(model.encode_query(['one']), torch.Tensor)
assert_type(model.encode_passage(['one'], batch_size=8), torch.Tensor)
model.save_pretrained('folder')

data_args = DataArguments(group_size=2)
train = BinaryDataset(data_args, model.format_query, model.format_passage, source, source)
dev = MultiLevelDataset(data_args, model.format_query, model.format_passage, source)
example = train[0]
query = example['query']
assert_type(len(train), int)
assert_type(train.query_ids, list[str])
preview = train.preview()
table = preview.to_pandas()

trainer = RetrievalTrainer(
    model=model,
    args=RetrievalTrainingArguments('runs/a'),
    data_collator=RetrievalCollator(data_args, model.tokenizer),
    train_dataset=train,
    eval_dataset=dev,
    compute_metrics=IRMetrics([10]),
)
trainer.train()
trainer.evaluate_baseline()
trainer.save_model('model')

result = RetrievalEvaluator(EvaluationArguments(), model).evaluate(dev)
metrics = IRMetrics(10).evaluate({'q': {'d': 1.0}}, {'q': {'d': 1}})
assert_type(metrics.means, dict[str, float])
assert_type(metrics.values, np.ndarray)
run = read_run_file('run.trec')
assert_type(run, TrecRun)
assert_type(run.to_nested_dict(), dict[str, dict[str, float]])
frame = run.to_pandas()

experiment = Experiment(ModelArguments('encoder'), RetrievalTrainingArguments('runs/b'), positives=source)
experiment.validate()
experiment.train()
exported = experiment.export('exported')
launched = experiment.launch(2)
launched.stop()
launched.wait(10.0)
text = experiment.to_yaml()
assert_type(text, str)

stream = read_stream('runs/a')
stream.to_pandas()
table = runs('runs')
compare_runs('runs/a', 'runs/b')
reproduce('runs/a')
run_view = live(trainer)
run_view.pause()
run_view.resume()
losses = RetrievalLoss.available_losses()
