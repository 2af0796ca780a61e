"Values of every class of arguments come back from code, YAML and command lines as they were"

import itertools
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
    ConfigError,
    DataArguments,
    MaterializedQRelConfig,
    ModelArguments,
    RetrievalTrainingArguments,
)
from trove_nb.core.field_values import field_values
from trove_nb.core.settings import Settings

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
    # its annotation says text or bool, which argparse takes for bool
    'include_num_input_tokens_seen',
}
FUNCTIONS = ('filter_fn', 'group_filter_fn', 'score_transform')


def by_title(row):
    return row['score'] > 0


namespace = {'by_title': by_title}


def drawn(spec):
    "Values that a field takes, or None where nothing can be drawn"
    if spec.name in ELSEWHERE:
        return None
    if spec.offered:
        return st.sampled_from(spec.choices)
    if callable in spec.alternatives or spec.name in FUNCTIONS:
        return st.just(by_title)
    by_kind = {bool: st.booleans(), int: st.integers(1, 10**6), float: numbers, str: text}
    for kind, values in by_kind.items():
        if kind in spec.alternatives:
            return values
    if any(kind == list[str] for kind in spec.alternatives):
        return st.lists(text.filter(str.strip), max_size=3)
    return None


def objects(cls, exclude=()):
    "Random objects: settings that the class refuses are drawn again"
    specs = Settings(cls).specs
    strategies = {name: drawn(spec) for name, spec in specs.items() if name not in exclude}
    names = sorted(name for name, values in strategies.items() if values is not None)
    picked = st.dictionaries(st.sampled_from(names), st.integers(), max_size=5)

    def values_of(picks):
        return st.fixed_dictionaries({name: strategies[name] for name in picks})

    def made(data):
        try:
            return cls(**data)
        except (ValueError, TypeError):
            return None

    return picked.flatmap(values_of).map(made).filter(lambda obj: obj is not None)


def equal(a, b):
    "Whether two objects have the same values; a NaN is the same as a NaN"
    a, b = field_values(a), field_values(b)
    return a.keys() == b.keys() and all(repr(a[name]) == repr(b[name]) for name in a)


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


def cannot_be_parsed(value):
    "No parser of command lines can say None or an empty list, nor items of a list that look like options"
    if value is None or value == []:
        return True
    return isinstance(value, list) and len(value) > 1 and any(item.startswith('-') for item in value)


@pytest.mark.parametrize('cls', [ModelArguments, DataArguments, RetrievalTrainingArguments])
def test_command_line_and_back(cls):
    @many
    @given(objects(cls))
    def check(obj):
        held = Settings(obj)
        other_words = held.changed.get('include_num_input_tokens_seen') not in (None, 'all', 'no')
        if other_words or any(map(cannot_be_parsed, held.changed.values())):
            with pytest.raises(ConfigError):
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


def test_a_switch_that_is_on_is_turned_off_as_in_transformers():
    held = Settings(ModelArguments)
    held.read('--no_mask_known_positives --use_peft')
    (parsed,) = HfArgumentParser(ModelArguments).parse_args_into_dataclasses(
        ['--no_mask_known_positives', '--use_peft']
    )
    assert held.build() == parsed and parsed.mask_known_positives is False


@pytest.mark.parametrize('cls', CLASSES)
def test_every_field_has_help(cls):
    specs = Settings(cls).specs
    assert list(specs) == [f.name for f in fields(cls) if f.init]
    assert all(spec.help for spec in specs.values())


BAD = {
    bool: ['maybe', 2, []],
    int: ['x', '1.5', [1], {}],
    float: ['x', '1,5', [1.0]],
    dict: ['{', [1]],
    list: ['[1', 3],
}


def bad_values(spec):
    "Values that a field can't take, whichever of its types is meant; none where any text can be a value"
    kinds = [getattr(kind, '__origin__', kind) for kind in spec.alternatives]
    if str in kinds or not set(kinds) <= set(BAD):
        return []
    found = []
    for value in itertools.chain(*BAD.values()):
        if all(value in BAD[kind] for kind in kinds):
            found.append(value)
    return found


@pytest.mark.parametrize('cls', CLASSES)
def test_what_cannot_be_read_is_an_error_of_its_field(cls):
    n = 0
    for name, spec in Settings(cls).specs.items():
        for bad in bad_values(spec):
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
    with pytest.raises(ConfigError):
        held.read(hostile)
    assert held.changed == {}


TRIED = [
    dict(use_cpu='false'),
    dict(bf16='true'),
    dict(torch_compile='true'),
    dict(tf32='false'),
    dict(fsdp='full_shard'),
    dict(gradient_checkpointing='true'),
]


def test_a_trial_leaves_nothing_behind(caplog):
    "What was set up for training stays, whatever a form tries meanwhile"
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(reset_partial_state=True)
    accelerator = Accelerator(cpu=True)
    environment = dict(os.environ)
    precision = torch.backends.fp32_precision
    held = Settings(RetrievalTrainingArguments)
    for change in TRIED:
        held.set(**change)
    assert accelerator.mixed_precision == 'no'
    assert accelerator.num_processes == 1
    assert accelerator.device.type == 'cpu'
    assert dict(os.environ) == environment
    assert torch.backends.fp32_precision == precision
    assert not caplog.records
    AcceleratorState._reset_state(reset_partial_state=True)
