"""The explorers: whatever is moved, picture, readout and controls agree; a still says it too."""

import contextlib
import functools
import importlib
import io
import pkgutil
import re
import subprocess
import sys
from html import escape

import ipywidgets as widgets
import moving
import nbformat
import notebook_state
import numpy as np
import pytest
import svg as read
from hypothesis import given, settings
from hypothesis import strategies as st
from moving import (
    NAMES,
    copy_of,
    drawn_afresh,
    move,
    places,
    random_place,
    seen,
    taken_apart,
    untouched,
    values_of,
)
from reference import loop_layer

import capsedu.explorers
from capsedu.data import load_digits_sample
from capsedu.explorers import routing_explorer
from capsedu.explorers.routing import CLUSTERS, DIGITS
from capsedu.explorers.shell import Explorer
from capsedu.sketches.routing import clusters
from capsedu.sketches.sketch import Sketch
from capsedu.trained_layer import load_trained_layer

# Seeded, and no verdict depends on a clock; few examples, but long ones.
seeded = settings(derandomize=True, deadline=None, max_examples=3, database=None)

pytestmark = pytest.mark.explorer
NOTEBOOK = notebook_state.NOTEBOOKS / "03_routing_by_agreement.ipynb"


@pytest.fixture(scope="module", params=NAMES)
def explorer(request):
    """A copy to be moved; wherever a test finds it, it agrees."""
    return copy_of(request.param)


def assert_agrees(explorer):
    """Every frame is what is drawn for the values of the controls, by a copy nobody moved."""
    want = drawn_afresh(explorer)
    assert {at: frame.value for at, frame in explorer.frames.items()} == want
    return taken_apart(want[seen(explorer)])


@contextlib.contextmanager
def silence():
    """Nothing is printed: no traceback that a callback left, no warning."""
    heard = io.StringIO()
    with contextlib.redirect_stdout(heard), contextlib.redirect_stderr(heard):
        yield
    assert heard.getvalue() == ""


# Every explorer


def test_every_explorer_is_exported():
    found = set()
    for module in pkgutil.iter_modules(capsedu.explorers.__path__):
        there = vars(importlib.import_module(f"capsedu.explorers.{module.name}"))
        found |= {name for name in there if name.endswith("_explorer")}
    assert found == set(NAMES)


def test_each_control_at_least_first_and_greatest(explorer):
    for name, control in explorer.controls.items():
        least, first, greatest = places(control)[1]
        for place in (least, greatest, first):
            with silence():
                move(explorer, name, place)
            assert_agrees(explorer)


@pytest.mark.parametrize("name", NAMES)
@seeded
@given(moves=st.lists(st.tuples(st.integers(0, 99), st.floats(0, 1)), min_size=10, max_size=10))
def test_any_sequence_of_changes_leaves_everything_in_agreement(name, moves):
    explorer = copy_of(name)
    names = list(explorer.controls)
    for which, share in moves:
        chosen = names[which % len(names)]
        with silence():
            move(explorer, chosen, random_place(explorer.controls[chosen], share))
    assert_agrees(explorer)


def test_a_disabled_control_does_nothing(explorer):
    """Wherever the others stand while it is disabled, moving it by force changes no picture."""
    for name, control in explorer.controls.items():
        for place in places(control)[1]:
            move(explorer, name, place)
            for other in explorer.controls.values():
                if other.disabled:
                    before = [frame.value for frame in explorer.frames.values()]
                    trait, (least, now, greatest) = places(other)
                    for there in (least, greatest, now):
                        setattr(other, trait, there)
                        assert [frame.value for frame in explorer.frames.values()] == before


def test_moving_the_slider_that_was_drawn_beforehand_draws_nothing(explorer):
    drawn = explorer.html.cache_info()
    assert untouched(explorer.name).html.cache_info().misses == len(explorer.frames)
    if explorer.beforehand is not None:
        slider = explorer.controls[explorer.beforehand]
        for share in (0, 1, 0.5, 0.2):
            move(explorer, explorer.beforehand, random_place(slider, share))
        assert explorer.html.cache_info() == drawn


def test_a_picture_that_was_seen_is_not_drawn_again(explorer):
    def sweep():
        for name, control in explorer.controls.items():
            if name != explorer.beforehand:
                first = places(control)[1][1]
                for place in {*places(control)[1]}:
                    move(explorer, name, place)
                move(explorer, name, first)

    sweep()
    drawn = explorer.html.cache_info().misses
    sweep()
    assert explorer.html.cache_info().misses == drawn


@pytest.mark.parametrize("name", NAMES)
def test_every_control_has_a_label_of_its_own(name):
    explorer = untouched(name)
    labels = [control.description for control in explorer.controls.values()]
    assert all(labels)
    assert len(set(labels)) == len(labels)
    (row, _), shown = explorer.children, set(explorer.controls.values())
    assert shown <= set(row.children)


@pytest.mark.parametrize("name", NAMES)
def test_the_browser_ties_each_place_of_the_slider_to_its_frame(name):
    explorer = untouched(name)
    if explorer.beforehand is None:
        assert list(explorer.children[1:]) == list(explorer.frames.values())
        return
    slider = explorer.controls[explorer.beforehand]
    play, stack = explorer.children[0].children[0], explorer.children[1]
    trait, (least, first, greatest) = places(slider)
    assert [(link.source, link.target) for link in explorer.links] == [
        ((play, "value"), (slider, trait)),
        ((slider, trait), (stack, "selected_index")),
    ]
    assert (play.min, play.value, play.max) == (least, first, greatest)
    assert slider.description in play.tooltip
    assert stack.selected_index == first
    for place in range(least, greatest + 1):
        move(explorer, explorer.beforehand, place)
        assert stack.children[place] is explorer.frames[slider.value]
    move(explorer, explorer.beforehand, first)


def parts(widget):
    """A widget and all that is in it, and its layout and style."""
    for part in (widget, getattr(widget, "layout", None), getattr(widget, "style", None)):
        if part is not None:
            yield part
    for child in getattr(widget, "children", ()):
        yield from parts(child)


def test_two_copies_share_nothing(explorer):
    other = untouched(explorer.name)
    models = [{part.model_id for part in parts(copy)} for copy in (explorer, other)]
    models[0] |= {link.model_id for link in getattr(explorer, "links", ())}
    models[1] |= {link.model_id for link in getattr(other, "links", ())}
    assert len(models[0]) == len(models[1]) > 5
    assert not models[0] & models[1]
    before = values_of(other), [frame.value for frame in other.frames.values()]
    for name, control in explorer.controls.items():
        least, _, greatest = places(control)[1]
        for place in (least, greatest):
            move(explorer, name, place)
    assert (values_of(other), [frame.value for frame in other.frames.values()]) == before
    assert_agrees(explorer)
    assert_agrees(other)


@pytest.mark.parametrize("name", NAMES)
def test_one_output_holds_the_widget_and_the_still_in_words(name):
    explorer = untouched(name)
    data, metadata = explorer._repr_mimebundle_()
    still, described = explorer.still._repr_mimebundle_()
    assert data[notebook_state.WIDGET]["model_id"] == explorer.model_id
    assert data["image/png"] == still["image/png"]
    assert metadata == described
    told = metadata["image/png"]["alt"]
    assert data["text/plain"] == told
    tree = read.root(assert_agrees(explorer)[0])
    assert tree.findtext(f"{read.SPACE}desc") in told
    assert len(re.findall(r"\d", told)) > 5
    assert described["image/png"]["width"] <= 760


# The shell


def shell(**given):
    """An explorer of two sliders whose picture is its numbers; `drawn` lists what was drawn."""
    drawn = []

    def draw(x, k):
        drawn.append((x, k))
        return Sketch(10, 10, "title", "description", f"x is {x}, k is {k} < 9")

    controls = {
        "x": widgets.IntSlider(value=1, min=0, max=5, description="x"),
        "k": widgets.SelectionSlider(options=range(3, 7), value=4, description="k"),
    }
    stills = {"as it starts": {}, "k is the last": {"k": 6}}
    return Explorer(draw, controls, stills, **given), drawn


def test_the_frame_that_is_seen_is_drawn_and_sent_first():
    explorer, drawn = shell(beforehand="k")
    sent = []
    for k, frame in explorer.frames.items():
        frame.observe(lambda change, k=k: sent.append(k), "value")
    move(explorer, "k", 2)  # its third option, 5
    drawn.clear()
    move(explorer, "x", 2)
    assert drawn == [(2, 5), (2, 3), (2, 4), (2, 6)]
    assert sent == [5, 3, 4, 6]


def test_the_stills_are_drawn_by_the_same_function_from_the_first_values_but_for_those_named():
    explorer, drawn = shell()
    assert drawn == [(1, 4), (1, 6), (1, 4)]  # the stills, and what is seen
    told = "description x is 1, k is 4 < 9 x is 1, k is 6 < 9"
    assert explorer.still.alt == told
    move(explorer, "x", 2)
    assert explorer.still.alt == told
    table = Sketch(10, 10, "title", "description", "a table")
    assert shell(below={"below": table})[0].still.alt == f"{told} a table"


def test_every_position_of_a_slider_is_drawn_beforehand():
    slider = widgets.SelectionSlider(options=[1, 10, 100], value=10, description="k")
    drawn = []

    def draw(k):
        drawn.append(k)
        return Sketch(10, 10, "title", "description", f"k is {k}")

    explorer = Explorer(draw, {"k": slider}, {"first": {"k": 1}}, beforehand="k")
    assert drawn == [1, 10, 1, 100]  # the still, what is seen, the others
    assert [taken_apart(frame.value)[1] for frame in explorer.frames.values()] == [
        "k is 1",
        "k is 10",
        "k is 100",
    ]
    stack = explorer.children[1]
    assert list(stack.children) == list(explorer.frames.values())
    assert stack.selected_index == 1


def test_the_readout_is_escaped():
    explorer, _ = shell()
    (frame,) = explorer.frames.values()
    assert frame.value.endswith(f">{escape('x is 1, k is 4 < 9')}</p>")
    assert taken_apart(frame.value)[1] == "x is 1, k is 4 < 9"


def test_a_disagreement_is_found(monkeypatch):
    explorer, _ = shell(beforehand="k")
    explorer.name = "shell"
    monkeypatch.setattr(moving, "untouched", lambda name: shell(beforehand="k")[0])
    assert_agrees(explorer)
    explorer.frames[5].value = explorer.frames[4].value
    with pytest.raises(AssertionError):
        assert_agrees(explorer)


# Routing


@functools.cache
def example(source, alike):
    """Prediction vectors of the clusters, or of a digit, by a sum that is written out."""
    if source == CLUSTERS:
        return clusters(alike)
    basis, W = load_trained_layer()
    u = basis.encode(load_digits_sample()[2][DIGITS[source]])
    return (W.astype(np.float64) * u[:, None, None, :]).sum(axis=-1)


@functools.cache
def steps_by_loops(source, alike):
    z = example(source, alike)
    return loop_layer(z[..., None], np.ones((len(z), 1)), 10)[1]


def assert_told(told, steps, k):
    """Hold a readout of iteration k to what the independent loops compute."""
    b, c, s, v = steps[k - 1]
    I, J = c.shape
    entropy = -np.where(c > 0, c * np.log(np.where(c > 0, c, 1)), 0).sum(axis=1) / np.log(max(2, J))
    lengths = np.linalg.norm([s, v], axis=-1)
    few = [b.ravel(), c.ravel()] if I * J <= 24 else []
    numbers = [float(n) for n in re.findall(r"-?\d+\.\d+", told)]
    want = np.concatenate([lengths.ravel(), *few, [entropy.mean()]])
    np.testing.assert_allclose(numbers, want, rtol=0, atol=0.005 + 1e-5)  # the layer is float32
    assert f"Iteration {k} of {len(steps)}." in told
    if not few:
        assert f"Longest: digit {lengths[1].argmax()}." in told


@given(
    moves=st.lists(
        st.tuples(st.sampled_from(["source", "alike", "iteration"]), st.floats(0, 1)),
        min_size=4,
        max_size=4,
    )
)
@seeded
def test_the_readout_of_every_frame_says_what_routing_computes(moves):
    explorer = routing_explorer()
    for name, share in moves:
        move(explorer, name, random_place(explorer.controls[name], share))
    values = values_of(explorer)
    clustered = values["source"] == CLUSTERS
    steps = steps_by_loops(values["source"], values["alike"] if clustered else None)
    for k in {1, 2, 10, values["iteration"]}:
        assert_told(taken_apart(explorer.frames[k].value)[1], steps, k)


def test_a_digit_has_no_handle_on_agreement():
    explorer = routing_explorer()
    assert not explorer.controls["alike"].disabled
    explorer.controls["source"].value = next(iter(DIGITS))
    assert explorer.controls["alike"].disabled
    explorer.controls["source"].value = CLUSTERS
    assert not explorer.controls["alike"].disabled


def test_the_digits_are_what_they_are_called():
    labels = load_digits_sample()[3]
    assert [f"a digit {labels[index]}" for index in DIGITS.values()] == list(DIGITS)


@pytest.mark.parametrize(
    "shape", [(4, 2, 2), (3, 1, 2), (4, 3, 1), (5, 2, 5), (1, 2, 2), (1, 1, 1)]
)
@pytest.mark.parametrize("iterations", [1, 2, 4])
def test_a_lecturers_own_predictions_are_routed(shape, iterations):
    z = np.random.default_rng(1).normal(size=shape)
    with silence():
        explorer = routing_explorer(z, iterations)
    steps = loop_layer(z[..., None], np.ones((len(z), 1)), iterations)[1]
    assert list(explorer.frames) == list(range(1, iterations + 1))
    for k, frame in explorer.frames.items():
        svg, told = taken_apart(frame.value)
        assert_told(told, steps, k)
        assert len(read.circles(svg)) == shape[1]
        assert len(read.arrows(svg, "prediction")) == shape[0] * shape[1]
    told = explorer._repr_mimebundle_()[0]["text/plain"]
    for k in {1, min(3, iterations), iterations}:
        assert taken_apart(explorer.frames[k].value)[1].replace("\xa0", " ") in told.replace(
            "\xa0", " "
        )
    assert list(explorer.controls) == ["iteration"]


def test_lists_and_integers_will_do():
    explorer = routing_explorer([[[1, 0], [0, 1]], [[1, 1], [2, 0]]], 2)
    assert len(explorer.frames) == 2


@pytest.mark.parametrize(
    ("z", "iterations", "words"),
    [
        (np.zeros((3, 2)), 10, ["z", "(3, 2)", "(I, J, m)"]),
        (np.zeros((5, 3, 2, 2)), 10, ["z", "(5, 3, 2, 2)", "(I, J, m)"]),
        (np.zeros((0, 3, 2)), 10, ["z", "(0, 3, 2)"]),
        (np.full((3, 2, 2), np.nan), 10, ["z", "NaN", "finite"]),
        (np.full((3, 2, 2), np.inf), 10, ["z", "infinity", "finite"]),
        (np.zeros((3, 2, 2)) * 1j, 10, ["z", "complex"]),
        ([["a"]], 10, ["z"]),
        (np.zeros((3, 2, 2)), 0, ["iterations", "0", "at least 1"]),
        (None, 0, ["iterations", "0", "at least 1"]),
        (None, 2.5, ["iterations", "2.5"]),
    ],
)
def test_what_cannot_be_drawn_is_refused_in_words(z, iterations, words):
    with pytest.raises(ValueError) as error:
        routing_explorer(z, iterations)
    assert all(word in str(error.value) for word in words), str(error.value)
    assert str(error.value).startswith(words[0])


# Around them


def test_importing_does_nothing_else():
    code = (
        "import capsedu.explorers, sys, ipywidgets.widgets.widget as w;"
        "assert not w._instances and 'matplotlib.pyplot' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_committed_notebook_holds_the_still_alone():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert "widgets" not in notebook.metadata
    outputs = {cell.source: cell.outputs for cell in notebook.cells if cell.cell_type == "code"}
    assert not any(
        notebook_state.WIDGET in o.get("data", {}) for os in outputs.values() for o in os
    )
    (still,) = next(outs for source, outs in outputs.items() if "routing_explorer(" in source)
    assert "Iteration 10 of 10." in still.metadata["image/png"]["alt"]
