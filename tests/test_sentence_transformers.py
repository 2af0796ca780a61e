"A saved retriever opens in sentence-transformers with the same vectors, and the other way round"

import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer

from trove_nb.modeling.arguments import ModelArguments
from trove_nb.modeling.retriever import BiEncoderRetriever
from trove_nb.modeling.tiny import tiny_encoder

queries = ['what sat', 'which dog ran in the park']
passages = [
    'the cat sat on the mat',
    'a dog ran',
    'the park was green and the mat was red and the cat sat on it all day long',
]
models = {
    'bert, mean, normalised, prompts': dict(
        kind='bert', pooling='mean', normalize=True, query_prompt='query: ', passage_prompt='passage: '
    ),
    'bert, first token': dict(kind='bert', pooling='first_token', normalize=False),
    'llama, last token, prompt': dict(
        kind='llama',
        pooling='last_token',
        normalize=True,
        query_prompt='Given a question, retrieve the answer: ',
    ),
    'bert, LoRA': dict(kind='bert', pooling='mean', normalize=True, use_peft=True, lora_r=2),
}


def assert_same(ours, theirs):
    torch.testing.assert_close(ours, torch.as_tensor(theirs), rtol=0, atol=1e-6)


def move_adapter(model):
    "Give the LoRA matrices that start at zero an effect"
    torch.manual_seed(0)
    for name, weight in model.named_parameters():
        if 'lora_B' in name:
            torch.nn.init.normal_(weight, std=0.1)


@pytest.mark.parametrize('name', models)
def test_ours_opens_there(name, tmp_path):
    options = dict(models[name])
    base = tiny_encoder(tmp_path / 'base', queries + passages, kind=options.pop('kind'))
    model = BiEncoderRetriever.from_model_args(ModelArguments(model_name_or_path=str(base), **options))
    move_adapter(model)
    max_len = 12 if 'prompt' in name else 20  # 12 truncates the last passage
    model.query_max_len = model.passage_max_len = max_len
    model.save_pretrained(tmp_path / 'saved')
    theirs = SentenceTransformer(str(tmp_path / 'saved'))
    assert_same(model.encode_query(queries), theirs.encode_query(queries))
    assert_same(model.encode_passage(passages), theirs.encode_document(passages))
    assert theirs.similarity_fn_name == ('cosine' if options['normalize'] else 'dot')
    again = BiEncoderRetriever.from_pretrained(tmp_path / 'saved')
    assert_same(again.encode_passage(passages), model.encode_passage(passages))


@pytest.mark.parametrize('mode,normalize', [('mean', True), ('cls', False)])
def test_theirs_opens_here(mode, normalize, tmp_path):
    base = tiny_encoder(tmp_path / 'base', queries + passages)
    modules = [Transformer(str(base)), Pooling(32, mode)]
    if normalize:
        modules.append(Normalize())
    theirs = SentenceTransformer(modules=modules, prompts={'query': 'query: ', 'document': 'passage: '})
    theirs.save(str(tmp_path / 'theirs'))
    ours = BiEncoderRetriever.from_pretrained(tmp_path / 'theirs')
    assert_same(ours.encode_query(queries), theirs.encode_query(queries))
    assert_same(ours.encode_passage(passages), theirs.encode_document(passages))
