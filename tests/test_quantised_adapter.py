"LoRA on a quantised base: trains, has the same gradients after an evaluation, and comes back from its folder"

import pytest
import torch

from trove_nb.data.tokenize import tokenize
from trove_nb.modeling.arguments import ModelArguments
from trove_nb.modeling.retriever import BiEncoderRetriever
from trove_nb.modeling.tiny import tiny_encoder

texts = ['the cat sat', 'a dog ran', 'the park', 'a mat']


def gradients(model, batch):
    "The gradient of each trained weight"
    model.zero_grad()
    model(**batch).loss.backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.requires_grad}


@pytest.mark.parametrize('bits', ['load_in_4bit', 'load_in_8bit'])
@pytest.mark.parametrize('kind', ['bert', 'llama'])
def test_trains_and_comes_back(kind, bits, tmp_path):
    pytest.importorskip('bitsandbytes')
    base = tiny_encoder(tmp_path / 'base', texts, hidden_size=64, kind=kind)
    args = ModelArguments(
        model_name_or_path=str(base),
        pooling='mean',
        normalize=True,
        loss='infonce',
        use_peft=True,
        lora_dropout=0.0,
        **{bits: True},
    )
    model = BiEncoderRetriever.from_model_args(args).train()
    batch = dict(
        query=tokenize(model.tokenizer, texts[:2]),
        passage=tokenize(model.tokenizer, texts),
        label=torch.tensor([[1, 0], [1, 0]]),
    )
    before = gradients(model, batch)
    vectors = model.encode_passage(texts)
    after = gradients(model, batch)
    for name in before:
        torch.testing.assert_close(after[name], before[name])
    assert any(grad.abs().max() > 0 for grad in before.values())
    model.save_pretrained(tmp_path / 'saved')
    again = BiEncoderRetriever.from_pretrained(tmp_path / 'saved', use_peft=True)
    torch.testing.assert_close(again.encode_passage(texts), vectors, rtol=0, atol=1e-6)
