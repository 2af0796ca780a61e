"Forms through the models of their widgets, without a browser: every field of every class, what can't be read, and what must not run"

import logging

import pytest
from test_settings import BAD, CLASSES

from trove_nb import DataArguments, Form, MaterializedQRelConfig, ModelArguments, RetrievalLoss, form


@pytest.mark.parametrize('cls', CLASSES)
def test_every_field_has_a_row(cls):
    "Which shows the default and gives it back"
    f = Form(cls, {})
    assert sorted(o for names in f.groups.values() for o in names) == sorted(f.settings.specs)
    for name in f.settings.specs:
        row = f.row(name)
        assert name in row.label.value and row.note.value.count('<') > 2
    assert f.settings.changed == {} and not f.errors


def typed_values(spec):
    kinds = [getattr(o, '__origin__', o) for o in spec.alternatives]
    if str in kinds or not set(kinds) <= set(BAD):
        return []
    return [v for k in BAD for v in BAD[k] if isinstance(v, str) and all(v in BAD[o] for o in kinds)]


@pytest.mark.parametrize('cls', CLASSES)
def test_what_cannot_be_read(cls, caplog):
    "A message beside the field, and the last good value kept"
    f, n = Form(cls, {}), 0
    for name, spec in f.settings.specs.items():
        row = f.row(name)
        for bad in typed_values(spec) if hasattr(row.input, 'placeholder') else ():
            row.input.value = bad
            assert 'role="alert"' in row.note.value and name in f.errors and name not in f.settings.changed, (
                name,
                bad,
            )
            n += 1
        f.settings.reset(name)
        assert name not in f.errors and 'role="alert"' not in row.note.value
    assert n > 3 and not [
        r for r in caplog.records if r.levelno >= logging.WARNING and r.name.startswith('trove_nb')
    ]


@pytest.mark.parametrize(
    'cls', [c for c in CLASSES if c is not MaterializedQRelConfig]
)  # which has text fields only
def test_widgets_follow_the_value(cls):
    "And the other way round"
    one, two = Form(cls, {}), Form(cls, {})
    for f in (one, two):
        f.widget
    for name in one.settings.specs:
        row = one.row(name)
        if not hasattr(row.input, 'placeholder') and isinstance(row.input.value, bool):
            row.input.value = not row.input.value
        elif getattr(row.input, 'options', ()) and not hasattr(row.input, 'placeholder'):
            row.input.value = row.input.options[-1][1]
        else:
            continue
        if one.errors:
            one.settings.reset(name)
    assert one.settings.changed
    two.read(one.code)
    assert two.settings.changed == one.settings.changed
    for name in one.settings.changed:
        assert two.row(name).input.value == one.row(name).input.value, name


def test_a_class_of_the_cell_above():
    "Is among the choices at once"
    known = list(RetrievalLoss.registry._entries)
    try:

        class NewLoss(RetrievalLoss):
            "A loss"

            def forward(self, logits, label, **kwargs):
                return logits.mean()

        assert 'NewLoss' in form(ModelArguments).row('loss').input.options
    finally:
        RetrievalLoss.registry._entries = known


def test_hostile_texts():
    "Are shown"
    hostile = '<script>alert(1)</script><img src=x onerror=alert(1)>" onclick="x\x1b[31m\u202e'
    f = form(DataArguments(dataset_name=hostile))
    f.widget
    f.set(group_size=hostile)
    shown = ''.join(
        [
            f._repr_html_(),
            f.head.value,
            f.copy.value,
            f.row('group_size').note.value,
            f.row('dataset_name').note.value,
        ]
    )
    assert (
        '<script' not in shown
        and '<img' not in shown
        and '" onclick="x' not in shown
        and '\x1b' not in shown
        and '\u202e' not in shown
    )


def test_stale_previews_are_thrown_away(tmp_path, monkeypatch):
    "What was asked for first and comes last isn't shown"
    import time

    import trove_nb.lab.form as module

    real = module.preview

    def slow(config):
        if config.min_score == 1:
            time.sleep(0.5)
        return real(config)

    monkeypatch.setattr(module, 'preview', slow)
    monkeypatch.setattr(module.QRelForm, 'seconds_to_wait', 0.01)
    (tmp_path / 'q.tsv').write_text('q\td\t1\nq\te\t2\n')
    f = form(MaterializedQRelConfig(tmp_path / 'q.tsv'), {})
    f.cards[0].set(min_score=1)
    time.sleep(0.2)
    f.cards[0].set(min_score=2)
    f.wait()
    time.sleep(0.6)
    assert (
        f.preview.totals['judged'].judgements == 1 and '2 &lt;= score' in f._html
    ) or '2.0 &lt;= score' in f._html


def test_no_files_no_exception():
    f = form(MaterializedQRelConfig, {})
    f.cards[0].set(qrel_path='/no/such\x1b/file<b>.tsv')
    f.wait()
    assert 'no such file' in f._html and '<b>' not in f._html and '\x1b' not in f._html
    f.cards[0].set(min_score=2, max_score=1)
    f.wait()
    assert 'waits until all fields are right' in f._html
    assert all(isinstance(o, dict) for o in f.errors)
