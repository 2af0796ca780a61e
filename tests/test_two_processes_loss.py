"Two processes give the loss and the averaged gradients of one process that has the whole batch"

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from trove_nb.data.tokenize import tokenize
from trove_nb.modeling.arguments import ModelArguments
from trove_nb.modeling.retriever import BiEncoderRetriever
from trove_nb.modeling.tiny import tiny_encoder

queries = ['what sat', 'which dog', 'what was green', 'who ran']
passages = [
    'the cat sat',
    'a mat',
    'a dog ran',
    'cats and dogs',
    'the park was green',
    'a red mat',
    'a dog ran',
    'the park',
]
labels = {
    'infonce': torch.tensor([[1, 0]] * 4),
    'kl': torch.tensor([[3.0, 1.0], [2.0, 0.0], [1.0, 1.0], [2.0, 1.0]]),
}
passage_keys = torch.tensor([[1, 2], [3, 4], [5, 6], [3, 7]])
positive_keys = torch.tensor([[1, 4, -1], [3, -1, -1], [5, 2, 1], [3, -1, -1]])
splits = {'even': [(0, 2), (2, 4)], 'uneven': [(0, 3), (3, 4)]}  # rows of the two processes


def make_model(folder, loss):
    args = ModelArguments(
        model_name_or_path=str(folder),
        pooling='mean',
        normalize=True,
        loss=loss,
        temperature=0.1,
        temperature_learnable=True,
    )
    return BiEncoderRetriever.from_model_args(args).train().double()


def make_batch(model, loss, start, stop):
    "Rows of the whole batch"
    known = positive_keys[start:stop]
    width = max(1, int((known != -1).sum(1).max()))  # a collator pads to the longest of its own rows
    return dict(
        query=tokenize(model.tokenizer, queries[start:stop]),
        passage=tokenize(model.tokenizer, passages[2 * start : 2 * stop]),
        label=labels[loss][start:stop],
        passage_key=passage_keys[start:stop],
        positive_key=known[:, :width],
    )


def gradients(model):
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.requires_grad}


def worker(rank, folder, rendezvous, results):
    # the models are made before there is a process group, as scripts do
    models = {loss: make_model(folder, loss) for loss in labels}
    dist.init_process_group('gloo', init_method=f'file://{rendezvous}', rank=rank, world_size=2)
    found = {}
    for loss, model in models.items():
        for name, parts in splits.items():
            model.zero_grad()
            wrapped = torch.nn.parallel.DistributedDataParallel(model)
            out = wrapped(**make_batch(model, loss, *parts[rank]))
            out.loss.backward()
            found[f'{loss} {name}'] = dict(
                loss=out.loss.detach(), shape=out.logits.shape, grads=gradients(model)
            )
        model.eval()
        out = model(**make_batch(model, loss, *splits['uneven'][rank]))
        found[f'{loss} eval'] = dict(shape=out.logits.shape)
    torch.save(found, f'{results}/{rank}.pt')
    dist.destroy_process_group()


@pytest.fixture(scope='module')
def runs(tmp_path_factory):
    "The model's folder, and the results of both processes"
    top = tmp_path_factory.mktemp('two')
    folder = tiny_encoder(top / 'bert', queries + passages)
    mp.spawn(worker, args=(folder, top / 'rendezvous', top), nprocs=2)
    return folder, [torch.load(top / f'{rank}.pt') for rank in range(2)]


@pytest.mark.parametrize('loss', labels)
@pytest.mark.parametrize('split', splits)
def test_gradients_are_those_of_one_process(runs, loss, split):
    folder, found = runs
    model = make_model(folder, loss)
    out = model(**make_batch(model, loss, 0, 4))
    out.loss.backward()
    expected = gradients(model)
    for rank in range(2):
        mine = found[rank][f'{loss} {split}']
        assert tuple(mine['shape']) == (4, 8)
        torch.testing.assert_close(mine['loss'], out.loss.detach(), rtol=1e-6, atol=0)
        torch.testing.assert_close(mine['grads'], expected, rtol=1e-6, atol=1e-9)


def test_the_mask_matters(runs):
    "Else the test above would not notice a mask that is never exchanged"
    model = make_model(runs[0], 'infonce')
    batch = make_batch(model, 'infonce', 0, 4)
    masked = model(**batch).loss
    model.args.mask_known_positives = False
    assert not torch.isclose(masked, model(**batch).loss)


def test_no_exchange_in_evaluation(runs):
    assert [tuple(found['infonce eval']['shape']) for found in runs[1]] == [(3, 6), (1, 2)]
