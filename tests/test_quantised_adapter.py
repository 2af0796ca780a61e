"LoRA on a quantised base: trains, is the same after an evaluation, and comes back from its folder"

import pytest
import torch

from trove_nb.data.tokenize import tokenize
from trove_nb.modeling.arguments import ModelArguments
from trove_nb.modeling.retriever import BiEncoderRetriever
from trove_nb.modeling.tiny import tiny_encoder

texts = ['the cat sat', 'a dog ran', 'the park', 'a mat']


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

    def gradients():
        model.zero_grad()
        model(**batch).loss.backward()
        return {n: p.grad.clone() for n, p in model.named_parameters() if p.requires_grad}

    before = gradients()
    vectors = model.encode_passage(texts)
    after = gradients()
    for n in before:
        torch.testing.assert_close(after[n], before[n])
    assert any(g.abs().max() > 0 for g in before.values())
    model.save_pretrained(tmp_path / 'saved')
    torch.testing.assert_close(
        BiEncoderRetriever.from_pretrained(tmp_path / 'saved', use_peft=True).encode_passage(texts),
        vectors,
        rtol=0,
        atol=1e-6,
    )
