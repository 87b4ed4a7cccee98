"""The explorers: frames and still from one drawing, readouts that are what floor 1 computes."""

import itertools
import re
import subprocess
import sys

import matplotlib.colors
import nbformat
import notebook_state
import numpy as np
import pytest
from reference import assert_close, loop_layer

import capsedu
from capsedu.explorers import routing_explorer
from capsedu.figures import routing as figures
from capsedu.figures.canvas import drawing
from capsedu.figures.palette import COLOURS

NOTEBOOK = notebook_state.NOTEBOOKS / "03_routing_by_agreement.ipynb"


@pytest.fixture(scope="module")
def z():
    return np.random.default_rng(1).normal(size=(4, 2, 2))


@pytest.fixture(scope="module")
def explorer(z):
    return routing_explorer(z, iterations=4)


def parts(explorer):
    controls, stack = explorer.children
    play, slider = controls.children
    return play, slider, stack


def steps_by_loops(z, iterations):
    """Every (b, c, s, v) by the independent loops of the reference: W = z, u = 1."""
    return loop_layer(z[..., None], np.ones((len(z), 1)), iterations)[1]


def test_the_readout_says_what_routing_computes(z, explorer):
    steps = steps_by_loops(z, 4)
    for k, (b, c, s, v) in enumerate(steps, start=1):
        html = parts(explorer)[2].children[k].value
        numbers = [float(n) for n in re.findall(r"-?\d+\.\d+", html[html.index("<p>") :])]
        choice = np.where(c > 0, -c * np.log(c), 0).sum(axis=1) / np.log(2)
        lengths = np.linalg.norm([s, v], axis=-1)
        want = [*lengths.ravel(), *b.ravel(), *c.ravel(), choice.mean()]
        np.testing.assert_allclose(numbers, want, rtol=0, atol=0.005 + 1e-12)
        assert f"Iteration {k} of 4." in html


def test_frames_and_still_are_drawn_by_the_same_function_once(z, monkeypatch):
    drawn = []
    draw = figures._draw_iteration

    def recorded(panels, routing, k):
        drawn.append(k)
        draw(panels, routing, k)

    monkeypatch.setattr(figures, "_draw_iteration", recorded)
    explorer = routing_explorer(z[:1, :1], iterations=5)
    assert drawn == [1, 2, 3, 4, 5, 1, 3, 5]  # the frames, then the still
    _, slider, stack = parts(explorer)
    slider.value, stack.selected_index = 4, 4
    explorer._repr_mimebundle_()
    assert len(drawn) == 8


def test_arrows_and_matrix_are_where_and_as_strong_as_the_arrays_say(z):
    routing = capsedu.route(z, 3)
    _, c, s, v = steps_by_loops(z, 3)[-1]
    with drawing(9, 3) as figure:
        panels = figure.subplots(1, 3)
        figures._draw_iteration(panels, routing, 3)
    for j, axes in enumerate(panels[:2]):
        arrows = {"s": [], "z": [], "v": []}
        for text in axes.texts:
            patch = getattr(text, "arrow_patch", None)
            if patch is not None:
                colour = matplotlib.colors.to_hex(patch.get_edgecolor()).upper()
                name = next(name for name in arrows if COLOURS[name] == colour)
                arrows[name].append((text.xy, patch.get_linewidth(), patch.get_alpha()))
        assert_close([tip for tip, _, _ in arrows["z"]], z[:, j], 1e-15)
        assert_close(arrows["s"][0][0], s[j], 1e-12)
        assert_close(arrows["v"][0][0], v[j], 1e-12)
        for strength in ([width for _, width, _ in arrows["z"]], [a for _, _, a in arrows["z"]]):
            assert (np.argsort(strength) == np.argsort(c[:, j])).all()
    assert_close(np.asarray(panels[2].images[0].get_array()), c, 1e-12)
    assert [text.get_text() for text in panels[2].texts] == [f"{x:.2f}" for x in c.ravel()]


def test_the_slider_has_a_label_and_a_place_for_every_iteration(explorer):
    play, slider, stack = parts(explorer)
    assert slider.description == "iteration"
    assert not slider.readout  # the line under the picture says it
    for control in (play, slider):
        assert (control.value, control.min, control.max) == (1, 1, 4)
    assert stack.selected_index == 1
    assert len(stack.children) == 1 + 4


def test_two_copies_move_their_own_pictures(z):
    two = [routing_explorer(z[:1], 2), routing_explorer(z[:1], 2)]
    for explorer in two:
        play, slider, stack = parts(explorer)
        assert [(link.source, link.target) for link in explorer.links] == [
            ((play, "value"), (slider, "value")),
            ((slider, "value"), (stack, "selected_index")),
        ]
    models = [{w.model_id for w in (*parts(e), *parts(e)[2].children)} for e in two]
    assert not models[0] & models[1]


def test_one_output_holds_the_widget_and_the_still(z, explorer):
    data, metadata = explorer._repr_mimebundle_()
    still, described = explorer.still._repr_mimebundle_()
    assert data[notebook_state.WIDGET]["model_id"] == explorer.model_id
    assert data["image/png"] == still["image/png"]
    assert metadata == described
    assert data["text/plain"] == metadata["image/png"]["alt"]
    for k in (1, 3, 4):
        assert figures.routing_readout(capsedu.route(z, 4), k) in data["text/plain"]


def test_every_frame_has_its_picture_with_alt_text(explorer):
    _, _, stack = parts(explorer)
    pictures = [re.findall(r'<img src="([^"]+)" alt="([^"]+)"', w.value) for w in stack.children]
    assert [len(found) for found in pictures] == [0, 1, 1, 1, 1]
    assert len({found[0][0] for found in pictures[1:]}) == 4  # all different


def test_a_screen_reader_hears_the_numbers_once(z, explorer):
    for k, frame in enumerate(parts(explorer)[2].children[1:], start=1):
        readout = figures.routing_readout(capsedu.route(z, 4), k)
        assert frame.value.count(readout) == frame.value.count(f"Iteration {k}") == 1
        assert f'alt="{figures.WHAT_IS_DRAWN}"' in frame.value


def label_boxes(z, iterations, k):
    """Where the labels of the planes end up on the page, in pixels: a dict for each output."""
    with drawing(9, 3) as figure:
        panels = figure.subplots(1, z.shape[1] + 1)
        figures._draw_iteration(panels, capsedu.route(z, iterations), k)
        figure.draw_without_rendering()
        return [
            {t.get_text(): t.get_window_extent() for t in axes.texts if t.get_text()}
            for axes in panels[:-1]
        ]


@pytest.mark.parametrize("seed", range(5))
def test_no_label_covers_another_and_those_of_the_inputs_stand_still(seed):
    z = np.random.default_rng(seed).normal(size=(4, 2, 2))
    first, last = label_boxes(z, 10, 1), label_boxes(z, 10, 10)
    for boxes in (*first, *last):
        assert set(boxes) == {"1", "2", "3", "4", "$s$", "$v$"}
        for one, other in itertools.combinations(boxes.values(), 2):
            # The corner of a box holds no ink, and its size changes with matplotlib's version.
            assert not one.padded(-2).overlaps(other.padded(-2))
    for before, after in zip(first, last, strict=True):
        for name in "1234":
            assert_close(before[name].get_points(), after[name].get_points(), 1e-9)


@pytest.mark.parametrize(
    ("z", "iterations", "words"),
    [
        (np.zeros((3, 2, 3)), 10, ["z", "(3, 2, 3)", "(I, J, 2)"]),
        (np.zeros((5, 3, 2, 2)), 10, ["z", "(5, 3, 2, 2)", "(I, J, 2)"]),
        (np.full((3, 2, 2), np.nan), 10, ["z", "NaN", "finite"]),
        (np.zeros((3, 2, 2)), 0, ["iterations", "0", "at least 1"]),
    ],
)
def test_what_cannot_be_drawn_is_refused_in_words(z, iterations, words):
    with pytest.raises(ValueError) as error:
        routing_explorer(z, iterations)
    assert all(word in str(error.value) for word in words)


@pytest.mark.parametrize(
    ("shape", "size"), [((1, 1, 2), 1.0), ((20, 3, 2), 1e6), ((2, 2, 2), 1e-9), ((2, 2, 2), 0.0)]
)
def test_every_size_can_be_drawn(shape, size):
    z = size * np.random.default_rng(0).normal(size=shape)
    picture = figures.routing_iteration(capsedu.route(z, 2), 2)
    assert "Iteration 2 of 2." in picture.alt and picture.width == 300 * shape[1] + 180


def test_entropy_is_a_share_of_the_largest():
    c = np.array([[0.25, 0.25, 0.25, 0.25], [0, 1, 0, 0], [0.5, 0.5, 0, 0]])
    np.testing.assert_allclose(figures.entropy(c), [1, 0, 0.5], atol=1e-15)
    assert figures.entropy(np.ones((3, 1))).tolist() == [0, 0, 0]


def test_there_is_no_iteration_beyond_those_that_ran(z):
    for k in (0, 4):
        with pytest.raises(ValueError, match=f"k: got {k}, want an iteration from 1 to 3"):
            figures.routing_iteration(capsedu.route(z, 3), k)


def test_the_other_figures_describe_the_numbers_they_draw(z):
    curves = {"one": np.array([1.0, 0.75, 0.5]), "two": np.array([1.0, 0.25])}
    alt = figures.entropy_curves(curves).alt
    assert "one from 1.00 to 0.50; two from 1.00 to 0.25" in alt

    maps = np.array([np.full((2, 3), 0.1), [[0.0, 0.2, 0.4], [0.6, 0.8, 0.9]]])
    alt = figures.coupling_maps(np.zeros((28, 28)), maps, (1, 5), "digit 3").alt
    assert "2 × 3 patches" in alt and "digit 3" in alt
    assert "0.10 to 0.10 at iteration 1, 0.00 to 0.90 at iteration 5" in alt

    b, _, _, v = steps_by_loops(z, 30)[-1]
    alt = figures.long_run(capsedu.route(z, 30)).alt
    assert ", ".join(f"{gap:.0f}" for gap in b[:, 0] - b[:, 1]) in alt
    assert " and ".join(f"{length:.2f}" for length in np.linalg.norm(v, axis=1)) in alt
    with pytest.raises(ValueError, match="z: got shape"):
        figures.long_run(capsedu.route(z[:, :1], 3))


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
    (still,) = next(outs for source, outs in outputs.items() if "routing_explorer(z)" in source)
    assert "Iteration 10 of 10." in still.metadata["image/png"]["alt"]
