"A run that was stopped, resumed or evaluated in between has the weights of one that wasn't, bit for bit"

import pytest
import torch

from trove_nb.testing import SmallCollection, number_collection


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return number_collection(tmp_path_factory.mktemp('resume')).folder


def train(folder, name, resume=None, **kw):
    trainer = SmallCollection(folder).trainer(name, **kw)
    trainer.train(resume_from_checkpoint=resume)
    return trainer.model.state_dict()


def same(one, two):
    return all(torch.equal(one[k], two[k]) for k in one)


@pytest.mark.parametrize(
    'workers',
    [{}, dict(dataloader_num_workers=1), dict(dataloader_num_workers=1, dataloader_persistent_workers=True)],
    ids=['none', 'new', 'persistent'],
)
def test_resumed_equals_uninterrupted(folder, workers):
    "In the middle of an epoch and at its end"
    whole = train(folder, 'whole', save_strategy='steps', save_steps=1, **workers)
    for step in (3, 4):
        assert same(
            whole, train(folder, 'resumed', resume=str(folder / 'whole' / f'checkpoint-{step}'), **workers)
        )


def test_evaluation_changes_nothing(folder):
    assert same(train(folder, 'plain'), train(folder, 'evaluated', eval_strategy='steps', eval_steps=1))
