"Charts: well-formed and of one size whatever the values are; thinning and smoothing against plain loops"

import time
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from trove_nb.core.html import visible_text
from trove_nb.lab.axes import nice_ticks, short_number, tick_labels
from trove_nb.lab.charts import Chart, charts_figure, charts_html
from trove_nb.lab.lines import Line, Mark, smoothed, thinned

svg = '{http://www.w3.org/2000/svg}'
anything = st.floats(allow_nan=True, allow_infinity=True)
curve = st.lists(anything, max_size=40)
text = st.text(max_size=80)


@given(curve, curve, text, text, st.booleans(), st.sampled_from(['', 'max', 'min']), st.sampled_from([0, 10]))
@settings(max_examples=150, deadline=None)
def test_any_values_give_a_picture(ys, zs, title, name, log, better, span):
    lines = [Line(range(len(o)), o, name, span=span, run_index=i) for i, o in enumerate((ys, zs))]
    baselines, marks = {name: ys[0]} if ys else {}, [Mark(1, name, title)]
    chart = Chart(title, lines, baselines, marks, better=better, log_y=log)
    again = Chart(title, lines, baselines, marks, better=better, log_y=log)
    assert chart.svg() == again.svg()
    picture = ElementTree.fromstring(chart.svg().encode())
    assert (picture.get('width'), picture.get('height')) == ('400', '210')
    for path in picture.iter(f'{svg}path'):
        assert not {'nan', 'inf'} & set(path.get('d').replace('-', ' ').split()), path.get('d')


@given(arrays.arrays(float, st.integers(600, 3000), elements=st.floats(-1e6, 1e6) | st.just(np.nan)))
@settings(max_examples=30, deadline=None)
def test_thinning_keeps_extremes_and_gaps(ys):
    kept, gaps = thinned(np.arange(len(ys)), ys, 50)
    if not np.isfinite(ys).any():
        return
    assert np.nanmin(ys) in ys[kept] and np.nanmax(ys) in ys[kept] and len(kept) <= 102
    expected = [i == 0 or np.isnan(ys[kept[i - 1] : k]).any() for i, k in enumerate(kept)]
    assert gaps.tolist() == expected


@given(st.lists(st.floats(-1e3, 1e3) | st.just(float('nan')), max_size=300), st.sampled_from([1, 3, 20, 400]))
@settings(max_examples=60, deadline=None)
def test_smoothing_is_the_weighted_mean(ys, span):
    ys, keep = np.array(ys, float), 1 - 1 / span
    total = weight = 0.0
    for y, out in zip(ys, smoothed(ys, span)):
        total, weight = keep * total, keep * weight
        if np.isnan(y):
            assert np.isnan(out)
        else:
            total, weight = total + y, weight + 1
            assert abs(out - total / weight) < 1e-6


@given(st.floats(-1e200, 1e200), st.floats(1e-6, 1e6))
def test_ticks_are_told_apart(low, width):
    high = low + width * max(abs(low), 1e-100)
    ticks = nice_ticks(low, high)
    assert 2 <= len(ticks) <= 9 and len(set(tick_labels(ticks))) == len(ticks) and ticks == sorted(ticks)


def test_short_numbers():
    "Against Python's own formatting: what is written is the number, to its digits"
    units = dict(k=1e3, M=1e6, G=1e9, T=1e12)
    for x in np.geomspace(1e-12, 1e14, 300):
        written = short_number(x).replace(',', '')
        unit = units.get(written[-1], 1)
        value = float(written.rstrip('kMGT')) * unit
        assert abs(value / x - 1) < 6e-3, (x, written)


HOSTILE = [
    '<script>alert(1)</script>',
    '"><img src=x onerror=alert(1)>',
    '\x1b[31mred\x1b[0m',
    '\u202eright to left',
    'שלום',
    '\x00\x07',
    '\ud800',
    '&amp;',
    'x' * 10_000,
    ']]>',
    '{{7*7}}',
    "' onload='x",
]


@pytest.mark.parametrize('evil', HOSTILE)
def test_hostile_text_is_text(evil):
    chart = Chart(evil, [Line([1, 2], [1, 2], evil)], {evil: 1.5}, [Mark(1, evil, evil)], note=evil)
    html = charts_html([chart])
    picture = ElementTree.fromstring(chart.svg().encode())
    drawn = ('svg', 'desc', 'text', 'tspan', 'path', 'g', 'title', 'circle', 'rect', 'polygon')
    allowed = {f'{svg}{name}' for name in drawn}
    assert {element.tag for element in picture.iter()} <= allowed
    for element in picture.iter():
        assert not {'onerror', 'onload', 'href'} & set(element.attrib)
    for bad in ('<script', '<img', '\x1b', '\u202e'):
        assert bad not in html
    assert len(html) < 15_000
    assert visible_text(evil).isprintable()
    charts_figure([chart])._repr_png_()


def test_a_million_points_are_quick():
    ys = np.random.default_rng(0).normal(size=1_000_000)
    ys[777_777] = 1e3
    chart = Chart('loss', [Line(np.arange(len(ys)), ys, span=5000)])
    took = []
    for _ in range(3):
        began = time.perf_counter()
        picture = chart.svg()
        took.append(time.perf_counter() - began)
    assert min(took) < 0.5 and len(picture) < 20_000  # a twentieth of a second when nothing else runs
    assert '1k' in picture or '1,000' in picture


def test_the_interval_of_one_point_is_seen():
    line = Line([5], [0.5], lower=[0.4], upper=[0.6])
    picture = ElementTree.fromstring(Chart('x', [line]).svg())
    points = picture.find(f'{svg}polygon').get('points').split()
    xs = [float(point.split(',')[0]) for point in points]
    assert max(xs) > min(xs)
