"Forms through the models of their widgets, without a browser: all fields of all classes, and hostile input"

import itertools
import logging
import time

import pytest
from test_settings import BAD, CLASSES

from trove_nb import DataArguments, MaterializedQRelConfig, ModelArguments, RetrievalLoss, form
from trove_nb.core.errors import ConfigError
from trove_nb.lab import qrel_form
from trove_nb.lab.settings_form import Form
from trove_nb.testing import restore_registrations, write_judgements


@pytest.mark.parametrize('cls', CLASSES)
def test_every_field_has_a_row(cls):
    "Each row shows the field's default and gives it back"
    f = Form(cls, {})
    grouped = itertools.chain(*f.fields.groups.values())
    assert sorted(grouped) == sorted(f.settings.specs)
    for name in f.settings.specs:
        row = f.row(name)
        assert name in row.label.value
        assert row.note.value.count('<') > 2
    assert f.settings.changed == {}
    assert not f.errors
    f.validate()


def unreadable_texts(spec):
    "Texts that no type of a field can read"
    kinds = [getattr(kind, '__origin__', kind) for kind in spec.alternatives]
    if str in kinds or not set(kinds) <= set(BAD):
        return []
    texts = [value for value in itertools.chain(*BAD.values()) if isinstance(value, str)]
    for kind in kinds:
        texts = [text for text in texts if text in BAD[kind]]
    return texts


@pytest.mark.parametrize('cls', CLASSES)
def test_what_cannot_be_read(cls, caplog):
    "The message stands beside the field, and the last good value is kept"
    f = Form(cls, {})
    n_typed = 0
    for name, spec in f.settings.specs.items():
        row = f.row(name)
        texts = unreadable_texts(spec) if hasattr(row.input, 'placeholder') else []
        for text in texts:
            row.input.value = text
            assert 'role="alert"' in row.note.value, (name, text)
            assert name in f.errors, (name, text)
            assert name not in f.settings.changed, (name, text)
            n_typed += 1
        if texts:
            with pytest.raises(ConfigError, match=name):
                f.validate()
        f.settings.reset(name)
        assert name not in f.errors
        assert 'role="alert"' not in row.note.value
    assert n_typed > 3
    warnings = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert not [record for record in warnings if record.name.startswith('trove_nb')]


def pick_another(widget):
    "Tick a box or choose the last entry of a list; False for an input of text"
    if hasattr(widget, 'placeholder'):
        return False
    if isinstance(widget.value, bool):
        widget.value = not widget.value
        return True
    if getattr(widget, 'options', ()):
        widget.value = widget.options[-1][1]
        return True
    return False


# MaterializedQRelConfig has inputs of text only
@pytest.mark.parametrize('cls', [cls for cls in CLASSES if cls is not MaterializedQRelConfig])
def test_widgets_follow_the_value(cls):
    "And the value follows the widgets"
    one, two = Form(cls, {}), Form(cls, {})
    assert one.widget
    assert two.widget
    for name in one.settings.specs:
        if pick_another(one.row(name).input) and one.errors:
            one.settings.reset(name)
    assert one.settings.changed
    two.read(one.code)
    assert two.settings.changed == one.settings.changed
    for name in one.settings.changed:
        assert two.row(name).input.value == one.row(name).input.value, name


def test_a_class_of_the_cell_above():
    "Is among the choices at once"
    with restore_registrations():

        class NewLoss(RetrievalLoss):
            "A loss"

            def forward(self, logits, label, **kwargs):
                return logits.mean()

        assert 'NewLoss' in form(ModelArguments).row('loss').input.options


def test_hostile_texts():
    "Are shown, and neither run nor style"
    hostile = '<script>alert(1)</script><img src=x onerror=alert(1)>" onclick="x\x1b[31m\u202e'
    f = form(DataArguments(dataset_name=hostile))
    assert f.widget
    f.set(group_size=hostile)
    notes = f.row('group_size').note.value + f.row('dataset_name').note.value
    shown = f._repr_html_() + f.fields.head.value + f.code_box.copy_button.value + notes
    for danger in ('<script', '<img', '" onclick="x', '\x1b', '\u202e'):
        assert danger not in shown


def test_stale_previews_are_thrown_away(tmp_path, monkeypatch):
    "A preview that was requested first and is done last isn't shown"
    real = qrel_form.preview

    def slow(configs):
        if configs[0].min_score == 1:
            time.sleep(0.5)
        return real(configs)

    monkeypatch.setattr(qrel_form, 'preview', slow)
    monkeypatch.setattr(qrel_form.QRelForm, 'preview_delay', 0.01)
    qrels = write_judgements(tmp_path / 'q.tsv', [('q', 'd', 1), ('q', 'e', 2)])
    f = form(MaterializedQRelConfig(qrels), {})
    f.cards[0].set(min_score=1)
    time.sleep(0.2)
    f.cards[0].set(min_score=2)
    f.wait()
    time.sleep(0.6)
    assert f.preview.totals['judged'].judgements == 1
    assert '2 &lt;= score' in f.preview_html or '2.0 &lt;= score' in f.preview_html


def test_no_files_no_exception():
    f = form(MaterializedQRelConfig, {})
    f.cards[0].set(qrel_path='/no/such\x1b/file<b>.tsv')
    f.wait()
    assert 'no such file' in f.preview_html
    assert '<b>' not in f.preview_html
    assert '\x1b' not in f.preview_html
    f.cards[0].set(min_score=2, max_score=1)
    f.wait()
    assert 'waits until all fields are right' in f.preview_html
    assert all(isinstance(errors, dict) for errors in f.errors)
