"""The figures describe the numbers that they draw."""

import io

import matplotlib.image
import numpy as np
import pytest
from matplotlib.figure import Figure

from capsedu.figures import digits
from capsedu.figures.palette import COLOURS
from capsedu.figures.panels import _draw, curves
from capsedu.figures.routing import coupling_maps
from capsedu.figures.slopes import slopes_on_curve
from capsedu.figures.squashing import gains_and_lengths
from capsedu.figures.training import _draw_readings, training_so_far


def test_the_alt_text_of_couplings_says_the_numbers():
    maps = np.array([np.full((2, 3), 0.1), [[0.0, 0.2, 0.4], [0.6, 0.8, 0.9]]])
    alt = coupling_maps(np.zeros((28, 28)), maps, (1, 5), "digit 3").alt
    assert "2 × 3 patches" in alt and "digit 3" in alt
    assert "0.10 to 0.10 at iteration 1, 0.00 to 0.90 at iteration 5" in alt


def test_the_alt_texts_of_digits_say_the_words_and_numbers():
    images = np.linspace(0, 1, 3 * 4).reshape(3, 2, 2)
    shown = digits.image_rows({"image": images, "decoded": images}, {"decoded": ["a", "b", "c"]})
    assert shown.alt == "Images in rows of 3, from the top: image; decoded: a, b, c."
    assert len(shown.png) > 1000

    ink, slant = np.array([12.4, -3.0]), np.array([-0.2, 7.6])
    alt = digits.effects_of_entries(ink, slant, moved=0.1).alt
    assert "moved by +0.1. Entry 1: 12 % and 0°, 2: -3 % and 8°." in alt


def test_the_alt_text_of_curves_says_first_last_and_largest_values():
    panels = {
        "share": {"r = 1": [0.25, 0.75, 0.5], "r = 3": [0, 0, 1]},
        "$v_1$": {"frozen": [3, 2, 1]},
    }
    assert curves([-10, 0, 10], "angle", panels, ("v", "z")).alt == (
        "Curves over the angle. share: r = 1, 0.25 at -10, 0.50 at 10, at most 0.75 at 0; "
        "r = 3, 0.00 at -10, 1.00 at 10. v_1: frozen, 3.00 at -10, 1.00 at 10."
    )
    with pytest.raises(ValueError):
        curves([1, 2], "x", {"y": {"too long": [1, 2, 3]}})


def drawn_lines(x, lines):
    """What `curves` draws in a panel in the colour of v: {name: line}."""
    axes = Figure().subplots()
    _draw(axes, np.asarray(x), {name: np.asarray(y) for name, y in lines.items()}, COLOURS["v"])
    return axes, {line.get_label(): line for line in axes.lines[: len(lines)]}


def test_curves_are_told_apart_without_their_colour_too():
    y = [0.1, 0.5, 0.9]
    axes, lines = drawn_lines(
        [1, 2, 5], dict.fromkeys(("unrolled", "a", "frozen", "no routing"), y)
    )
    assert len({str(line._dash_pattern) for line in lines.values()}) == 4
    assert [line.get_color() for line in lines.values()] == [
        COLOURS[quantity] for quantity in ("unrolled", "v", "frozen", "muted")
    ]
    assert lines["unrolled"].get_linestyle() == "-" and lines["frozen"].is_dashed()
    assert [text.get_text() for text in axes.get_legend().get_texts()] == list(lines)
    assert axes.get_xticks().tolist() == [1, 2, 5]
    assert axes.get_ylim()[0] == 0

    x = np.arange(30)
    axes, lines = drawn_lines(x, {f"input {k}": (k - 2) * x for k in range(5)})
    assert axes.get_legend() is None
    named = {text.get_text().strip(): text.get_position() for text in axes.texts}
    assert named == {f"input {k}": (29, (k - 2) * 29) for k in range(5)}
    assert axes.get_xlim()[1] > 35  # room for them
    assert axes.get_ylim()[0] < -58


def test_each_image_is_drawn_in_its_place():
    black, white = np.ones((2, 2)), np.zeros((2, 2))
    rows = {"first": np.array([black, white]), "second": np.array([white, black])}
    pixels = matplotlib.image.imread(io.BytesIO(digits.image_rows(rows).png))[..., :3].mean(axis=-1)
    dark = pixels < 0.05
    height, width = dark.shape
    left, right = dark[:, : 2 * width // 3], dark[:, 2 * width // 3 :]
    assert left[: height // 2].mean() > 0.1 and right[height // 2 :].mean() > 0.1
    assert right[: height // 2].mean() < 0.05 and left[height // 2 :].mean() < 0.05


def test_as_many_captions_as_images():
    with pytest.raises(ValueError):
        digits.image_rows({"image": np.zeros((2, 3, 3))}, {"image": ["one"]})


def test_where_lengths_lie_on_the_two_gains_is_told():
    t = np.linspace(0.1, 2.1, 201)
    alt = gains_and_lengths({"start": t, "trained": 10 * t.reshape(3, 67)}).alt
    assert "start: median 1.1, from 0.2 to 2; trained: median 11, from 2 to 20." in alt


def three_readings():
    """Of three digits, 2, 0 and 1, the last is read as a 2."""
    v = np.zeros((3, 3, 2))
    v[0, 2], v[1, 0], v[2, 1], v[2, 2] = (0.3, 0.4), (0, -0.9), (0.6, 0), (0, 0.7)
    return np.zeros((3, 28, 28)), v, np.array([2, 0, 1])


def test_what_is_read_is_told_and_the_bars_are_lengths():
    told = "2 read as 2, 0 read as 0, 1 read as 2."
    axes = Figure().subplots()
    assert _draw_readings(axes, *three_readings()).endswith(told)
    heights = [bar.get_height() for bar in axes.patches]
    assert heights == pytest.approx([0, 0, 0.5, 0.9, 0, 0, 0, 0.6, 0.7])
    assert [t.get_text() for t in axes.texts] == ["read: 2", "read: 0", "read: 2, is 1"]
    named = {
        tick.get_text() + f"{at:.3f}"
        for at, tick in zip(axes.get_xticks(), axes.get_xticklabels(), strict=True)
    }
    middles = [bar.get_x() + bar.get_width() / 2 for bar in axes.patches]
    assert named == {f"{k % 3}{middles[k]:.3f}" for k in (2, 3, 7, 8)}


def test_the_loss_so_far_is_told_once_there_is_one():
    losses = [0.9, *[0.5] * 5, *[0.2] * 5, *[0.4] * 5]
    alt = training_so_far(losses, 100, *three_readings()).alt
    assert "after 16 steps: from 0.9 to 0.3." in alt and "1 read as 2" in alt
    assert "after 0 steps. Some digits" in training_so_far([], 100, *three_readings()).alt


def test_a_right_slope_lies_along_its_curve_and_a_wrong_one_cuts_it():
    x = np.linspace(-1, 3, 201)
    alt = slopes_on_curve(x, {"cube": x**3, "square": x**2}, [1, 2], [3, 11], ("$x$", "y")).alt
    assert alt.startswith("y over x. cube: -1.000 at -1, 27.000 at 3; square: 1.000 at -1")
    assert "slope 3.000 at 1 lies along the curve; slope 11.000 at 2 cuts the curve" in alt
    flat = slopes_on_curve(x, {"constant": 0 * x}, [0, 1], [0, 0.5]).alt
    assert "0 at 0 lies along" in flat and "0.500 at 1 cuts" in flat
    assert "Segments" not in slopes_on_curve(x, {"cube": x**3}).alt
    for wrong in ({"at": [0.0], "slopes": [1.0, 2.0]}, {"curves": {"short": x[1:]}}):
        with pytest.raises(ValueError, match="got shape"):
            slopes_on_curve(**{"x": x, "curves": {"cube": x**3}, **wrong})
