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
labels = dict(
    infonce=torch.tensor([[1, 0]] * 4), kl=torch.tensor([[3.0, 1.0], [2.0, 0.0], [1.0, 1.0], [2.0, 1.0]])
)
keys = torch.tensor([[1, 2], [3, 4], [5, 6], [3, 7]])
positives = torch.tensor([[1, 4, -1], [3, -1, -1], [5, 2, 1], [3, -1, -1]])
whole = {'even': [(0, 2), (2, 4)], 'uneven': [(0, 3), (3, 4)]}


def model_of(folder, loss):
    args = ModelArguments(
        model_name_or_path=str(folder),
        pooling='mean',
        normalize=True,
        loss=loss,
        temperature=0.1,
        temperature_learnable=True,
    )
    return BiEncoderRetriever.from_model_args(args).train().double()


def inputs(model, loss, start, stop):
    known = positives[start:stop]
    width = max(1, int((known != -1).sum(1).max()))  # a collator pads to the longest of its own rows
    return dict(
        query=tokenize(model.tokenizer, queries[start:stop]),
        passage=tokenize(model.tokenizer, passages[2 * start : 2 * stop]),
        label=labels[loss][start:stop],
        passage_key=keys[start:stop],
        positive_key=known[:, :width],
    )


def step(model, batch):
    out = model(**batch)
    out.loss.backward()
    return out


def worker(rank, folder, rendezvous, results):
    model = {
        loss: model_of(folder, loss) for loss in labels
    }  # made before there is a process group, as scripts do
    dist.init_process_group('gloo', init_method=f'file://{rendezvous}', rank=rank, world_size=2)
    found = {}
    for loss, m in model.items():
        for name, parts in whole.items():
            m.zero_grad()
            wrapped = torch.nn.parallel.DistributedDataParallel(m)
            out = step(wrapped, inputs(m, loss, *parts[rank]))
            found[f'{loss} {name}'] = dict(
                loss=out.loss.detach(),
                shape=out.logits.shape,
                grads={n: p.grad.clone() for n, p in m.named_parameters() if p.requires_grad},
            )
        m.eval()
        found[f'{loss} eval'] = dict(shape=m(**inputs(m, loss, *whole['uneven'][rank])).logits.shape)
    torch.save(found, f'{results}/{rank}.pt')
    dist.destroy_process_group()


@pytest.fixture(scope='module')
def runs(tmp_path_factory):
    "Results of both processes, and the model's folder"
    top = tmp_path_factory.mktemp('two')
    folder = tiny_encoder(top / 'bert', queries + passages)
    mp.spawn(worker, args=(folder, top / 'rendezvous', top), nprocs=2)
    return folder, [torch.load(top / f'{rank}.pt') for rank in range(2)]


@pytest.mark.parametrize('loss', labels)
@pytest.mark.parametrize('split', whole)
def test_gradients_are_those_of_one_process(runs, loss, split):
    folder, found = runs
    model = model_of(folder, loss)
    out = step(model, inputs(model, loss, 0, 4))
    for rank in range(2):
        mine = found[rank][f'{loss} {split}']
        assert tuple(mine['shape']) == (4, 8)
        torch.testing.assert_close(mine['loss'], out.loss.detach(), rtol=1e-6, atol=0)
        for name, p in model.named_parameters():
            if p.requires_grad:
                torch.testing.assert_close(
                    mine['grads'][name], p.grad, rtol=1e-6, atol=1e-9, msg=lambda m: f'{name}: {m}'
                )


def test_the_mask_matters(runs):
    "Else the test above would not notice a mask that is never exchanged"
    model = model_of(runs[0], 'infonce')
    batch = inputs(model, 'infonce', 0, 4)
    masked = model(**batch).loss
    model.args.mask_known_positives = False
    assert not torch.isclose(masked, model(**batch).loss)


def test_no_exchange_in_evaluation(runs):
    assert [tuple(o['infonce eval']['shape']) for o in runs[1]] == [(3, 6), (1, 2)]
