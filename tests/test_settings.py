"Values of every class of arguments come back from code, YAML and command lines as they were"

import os
import shlex
from dataclasses import fields

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import HfArgumentParser

import trove_nb
from trove_nb import (
    DataArguments,
    DataError,
    MaterializedQRelConfig,
    ModelArguments,
    RetrievalTrainingArguments,
    Settings,
)
from trove_nb.core.settings import _values

CLASSES = [ModelArguments, DataArguments, MaterializedQRelConfig, RetrievalTrainingArguments]
text = st.text(st.characters(codec='utf-8', exclude_categories=('Cs', 'Cc')), max_size=12)
numbers = st.floats(allow_nan=False, allow_infinity=False, min_value=-1e9, max_value=1e9)
# fields that decide what machine, service or further file the arguments need
ELSEWHERE = {
    'deepspeed',
    'fsdp',
    'fsdp_config',
    'parallelism_config',
    'accelerator_config',
    'tpu_num_cores',
    'push_to_hub',
    'report_to',
    'bf16',
    'fp16',
    'bf16_full_eval',
    'fp16_full_eval',
    'tf32',
    'torch_compile',
    'torch_compile_backend',
    'torch_compile_mode',
    'jit_mode_eval',
    'debug',
    'liger_kernel_config',
    'use_liger_kernel',
    'ddp_timeout',
    'optim',
    'data_seed',
    'torch_empty_cache_steps',
    'load_best_model_at_end',
    'trackio_space_id',
    'trackio_static_space_id',
    'include_num_input_tokens_seen',
}  # its annotation says text or bool, which argparse takes for bool


def by_title(row):
    return row['score'] > 0


namespace = {'by_title': by_title}


def drawn(spec):
    "Values that a field takes, or None where nothing can be drawn"
    if spec.name in ELSEWHERE:
        return None
    if spec.offered:
        return st.sampled_from(spec.choices)
    by_kind = {bool: st.booleans(), int: st.integers(1, 10**6), float: numbers, str: text}
    if callable in spec.alternatives or spec.name == 'group_filter_fn':
        return st.just(by_title)
    kind = next((k for k in by_kind if k in spec.alternatives), None)
    if spec.name in ('filter_fn', 'score_transform'):
        return st.just(by_title)
    if kind is None and any(o == list[str] for o in spec.alternatives):
        return st.lists(text.filter(str.strip), max_size=3)
    return by_kind.get(kind)


def objects(cls, exclude=()):
    "Random objects: settings that the class refuses are drawn again"
    specs = {k: v for k, v in Settings(cls).specs.items() if k not in exclude}
    picks = st.dictionaries(
        st.sampled_from(sorted(k for k, s in specs.items() if drawn(s) is not None)),
        st.integers(),
        max_size=5,
    )

    def made(data):
        try:
            return cls(**data)
        except (ValueError, TypeError):
            return None

    return (
        picks.flatmap(lambda p: st.fixed_dictionaries({k: drawn(specs[k]) for k in p}))
        .map(made)
        .filter(lambda o: o is not None)
    )


def equal(a, b):
    return {k: repr(v) for k, v in _values(a).items()} == {k: repr(v) for k, v in _values(b).items()}


many = settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


@pytest.mark.parametrize('cls', CLASSES)
def test_code_and_back(cls):
    @many
    @given(objects(cls))
    def check(obj):
        held = Settings(obj, namespace)
        assert not held.errors and equal(held.build(), obj)
        assert equal(eval(held.code, {**vars(trove_nb), cls.__name__: cls, **namespace}), obj)
        again = Settings(cls, namespace)
        again.read(held.code)
        assert equal(again.build(), obj)

    check()


FUNCTIONS = ('filter_fn', 'group_filter_fn', 'score_transform')


@pytest.mark.parametrize('cls', CLASSES)
def test_yaml_and_back(cls):
    @many
    @given(objects(cls, FUNCTIONS))
    def check(obj):
        again = Settings(cls)
        if yaml := Settings(obj).to_yaml():
            again.read(yaml)
        assert equal(again.build(), obj)

    check()


@pytest.mark.parametrize('cls', [ModelArguments, DataArguments, RetrievalTrainingArguments])
def test_command_line_and_back(cls):
    @many
    @given(objects(cls))
    def check(obj):
        held = Settings(obj)
        # no parser of command lines can say None or an empty list, nor items of a list that look like options
        if any(
            v is None or v == [] or (isinstance(v, list) and len(v) > 1 and any(o.startswith('-') for o in v))
            for v in held.changed.values()
        ) or held.changed.get('include_num_input_tokens_seen') not in (None, 'all', 'no'):
            with pytest.raises(DataError):
                held.to_command_line()
            return
        line = held.to_command_line()
        (parsed,) = HfArgumentParser(cls).parse_args_into_dataclasses(shlex.split(line))
        assert equal(parsed, obj), line
        if line:
            again = Settings(cls)
            again.read(line)
            assert equal(again.build(), obj), line

    check()


def test_what_is_true_by_default_is_put_out_as_transformers_does():
    held = Settings(ModelArguments)
    held.read('--no_mask_known_positives --use_peft')
    (parsed,) = HfArgumentParser(ModelArguments).parse_args_into_dataclasses(
        ['--no_mask_known_positives', '--use_peft']
    )
    assert held.build() == parsed and parsed.mask_known_positives is False


@pytest.mark.parametrize('cls', CLASSES)
def test_every_field_is_told_of(cls):
    specs = Settings(cls).specs
    assert list(specs) == [f.name for f in fields(cls) if f.init] and all(s.help for s in specs.values())


BAD = {
    bool: ['maybe', 2, []],
    int: ['x', '1.5', [1], {}],
    float: ['x', '1,5', [1.0]],
    dict: ['{', [1]],
    list: ['[1', 3],
}


@pytest.mark.parametrize('cls', CLASSES)
def test_what_cannot_be_read_is_told_beside_the_field(cls):
    n = 0
    for name, spec in Settings(cls).specs.items():
        kinds = [getattr(o, '__origin__', o) for o in spec.alternatives]
        if str in kinds or not set(kinds) <= set(BAD):
            continue
        for bad in (v for k in BAD for v in BAD[k] if all(v in BAD[o] for o in kinds)):
            held = Settings(cls)
            held.set(**{name: bad})
            assert repr(bad)[:20] in held.errors[name] and name not in held.changed, name
            n += 1
    assert n > 3


@pytest.mark.parametrize(
    'hostile',
    [
        '--learning_rate 1; rm -rf /',
        "ModelArguments(pooling=__import__('os').system('true'))",
        '!!python/object/apply:os.system [true]',
        'ModelArguments(**x)',
        '- a\n- b',
        '\x00',
        '--pooling "',
    ],
)
def test_hostile_texts(hostile):
    held = Settings(ModelArguments)
    with pytest.raises(DataError):
        held.read(hostile)
    assert held.changed == {}


def test_a_trial_leaves_nothing_behind(caplog):
    "What was set up for training stays, whatever a form tries meanwhile"
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(reset_partial_state=True)
    accelerator, environment, precision = (
        Accelerator(cpu=True),
        dict(os.environ),
        torch.backends.fp32_precision,
    )
    held = Settings(RetrievalTrainingArguments)
    for change in (
        dict(use_cpu='false'),
        dict(bf16='true'),
        dict(torch_compile='true'),
        dict(tf32='false'),
        dict(fsdp='full_shard'),
        dict(gradient_checkpointing='true'),
    ):
        held.set(**change)
    assert (
        accelerator.mixed_precision == 'no'
        and accelerator.num_processes == 1
        and accelerator.device.type == 'cpu'
    )
    assert (
        dict(os.environ) == environment and torch.backends.fp32_precision == precision and not caplog.records
    )
    AcceleratorState._reset_state(reset_partial_state=True)
