"Objects show themselves: without working, without failing, and without running what they show"

import pytest

from trove_nb import (
    DataArguments,
    EvaluationArguments,
    IRMetrics,
    MaterializedQRelConfig,
    ModelArguments,
    RetrievalLoss,
    RetrievalTrainingArguments,
    read_stream,
    show_batch,
)
from trove_nb.core.html import SummaryTable
from trove_nb.data.pipeline import QRelPipeline
from trove_nb.testing import number_collection

HOSTILE = '<script>alert(1)</script>\x1b[31m\u202e'


@pytest.fixture(scope='module')
def trainer(tmp_path_factory):
    return number_collection(tmp_path_factory.mktemp('reprs')).trainer('run', max_steps=2)


def shown(trainer):
    config = MaterializedQRelConfig('no/such/' + HOSTILE, min_score=1)
    return [
        ModelArguments(query_prompt=HOSTILE),
        DataArguments(dataset_name=HOSTILE),
        RetrievalTrainingArguments(HOSTILE, use_cpu=True),
        EvaluationArguments(HOSTILE, use_cpu=True),
        config,
        QRelPipeline(config),
        trainer.train_dataset,
        trainer.eval_dataset,
        trainer.train_dataset.corpus,
        trainer.train_dataset.corpus.sources[0],
        trainer.model,
        RetrievalLoss.available_losses(),
        show_batch(trainer),
        SummaryTable(HOSTILE, {HOSTILE: HOSTILE}),
    ]


def test_html(trainer):
    for obj in shown(trainer):
        html = obj.html if isinstance(obj, SummaryTable) else obj._repr_html_()
        assert '<script' not in html and '\x1b' not in html and '\u202e' not in html, type(obj)
        assert (
            html
            and len(html) < 20_000
            and html == (obj.html if isinstance(obj, SummaryTable) else obj._repr_html_())
        ), type(obj)


def test_text(trainer):
    for obj in (*shown(trainer), IRMetrics(3), read_stream('no/such/folder')):
        assert repr(obj)


def test_a_pipeline_is_not_run_to_be_shown():
    "Its files needn't even be there"
    text = repr(QRelPipeline(MaterializedQRelConfig('no/such/file.tsv', min_score=1, group_top_k=2)))
    assert 'no/such/file.tsv' in text and '1 <= score' in text and 'group_top_k = 2' in text
