"""The squash sketch: arrows, ellipses, curves and words are where 50 digits say they belong."""

import re
from typing import NamedTuple

import numpy as np
import pytest
import svg as read
from hypothesis import example, given
from hypothesis import strategies as st
from reference import MpSquash, assert_close, complex_step_jacobian
from shapes import seeded

from capsedu.explorers import squash_explorer
from capsedu.figures.palette import COLOURS
from capsedu.sketches.plane import ticks
from capsedu.sketches.squashing import (
    epsilon_gains,
    sketch_circle,
    sketch_squash,
    sketch_vectors,
)

ROUNDING = 0.08  # pixels: they are written to a tenth
NUMBER = r"(-?\d[\d,]*(?:\.\d+)?(?:e[-+]\d+)?)"

lengths = st.floats(-5, 3).map(lambda x: min(max(10.0**x, 1e-5), 1e3))
degrees = st.integers(-180, 180)
epsilons = st.sampled_from([1e-12, 1e-9, 1e-7, 1e-5, 1e-3])


def every_s(test):
    """The test at random s and ε, and at the ends of both sliders."""
    for case in [(1e-5, -180, 1e-12), (1e-5, 35, 1e-3), (1.0, 0, 1e-7), (1e3, 180, 1e-3)]:
        test = example(*case)(test)
    return seeded(given(lengths, degrees, epsilons)(test))


def number(text):
    return float(text.replace(",", ""))


def vector(length, degrees):
    return length * np.array([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))])


def textbook(s, epsilon):
    """v_ε as it is printed; a complex step passes through."""
    norm = np.sqrt((s * s).sum() + epsilon)
    return norm**2 / (1 + norm**2) * s / norm


def wanted(length, epsilon):
    """‖v‖, the gains across and along: exact in 50 digits, with ε by complex step; s = (‖s‖, 0)."""
    exact = MpSquash([length, 0])
    s = np.array([length, 0.0])
    J = complex_step_jacobian(lambda x: textbook(x, epsilon), s)
    v = float(np.linalg.norm([float(x) for x in exact.v]))
    return (
        np.array([v, float(exact.across), float(exact.along)]),
        np.array([np.linalg.norm(textbook(s, epsilon)), J[1, 1], J[0, 0]]),
    )


class Picture(NamedTuple):
    shapes: list
    texts: dict  # text: its place

    def named(self, start):
        return [shape for shape in self.shapes if shape.name.startswith(start)]

    def numbers(self, at):
        """From pixels of the plot of the gains to (‖s‖, gain), by the places of its ticks."""
        (x_0, _), (x_1, _) = self.texts["1e-5"], self.texts["1000"]
        (_, y_0), (_, y_1) = self.texts["1e-9"], self.texts["1"]
        share = (np.asarray(at) - (x_0, y_0)) / (x_1 - x_0, y_1 - y_0)
        return share * (8, 9) + (-5, -9)  # decades


def picture(*parameters):
    shapes = read.shapes(sketch_squash(*parameters).svg())
    return Picture(shapes, {shape.text: shape.points[0] for shape in shapes if shape.text})


@seeded
@given(st.lists(st.floats(-1, 1), min_size=1, max_size=5), lengths, epsilons)
def test_the_gains_with_epsilon_are_the_eigenvalues_of_its_jacobian(direction, length, epsilon):
    s = np.array(direction)
    if not np.linalg.norm(s) > 1e-3:
        s = np.ones(len(s))
    e = s / np.linalg.norm(s)
    s = length * e
    across, along = epsilon_gains(length, epsilon)
    J = complex_step_jacobian(lambda x: textbook(x, epsilon), s)
    # The complex step itself cancels: along a long s, what is left is small beside what was there.
    assert abs(J @ e - along * e).max() <= 1e-14 * max(across, along)
    other = np.roll(e, 1) + 0.3
    other -= (e @ other) * e
    assert abs(J @ other - across * other).max() <= 1e-14 * max(across, along)
    assert_close(np.linalg.norm(textbook(s, epsilon)), length * across, 1e-14)


def test_without_epsilon_they_are_the_exact_ones_and_nothing_cancels():
    for length in (1e-5, 0.1, 1.0, 1e3):
        exact = MpSquash([length, 0])
        assert_close(epsilon_gains(length, 0.0), (float(exact.across), float(exact.along)), 1e-15)
        assert epsilon_gains(length, 0.0)[1] == pytest.approx(float(exact.along), rel=1e-14)


@every_s
def test_arrows_and_ellipses_are_what_the_formulas_say(length, degrees, epsilon):
    drawn, svg = picture(length, degrees, epsilon), sketch_squash(length, degrees, epsilon).svg()
    s = vector(length, degrees)
    (middle, unit), (centre, ring) = read.circles(svg)
    assert ring == pytest.approx(unit, abs=0.02)

    def in_plane(points, centre, scale):
        return (np.asarray(points) - centre) * (1, -1) / scale

    cut = length > 1.15
    (arrow,) = read.arrows(svg, "total input s")
    at_s, at_v = s * min(1, 1.15 / length), [float(x) for x in MpSquash(s).v]
    assert arrow.colour == COLOURS["s"]
    assert in_plane(arrow.tip, middle, unit) == pytest.approx(at_s, abs=ROUNDING / unit)
    (arrow,) = read.arrows(svg, "output v")
    assert arrow.colour == COLOURS["v"]
    assert in_plane(arrow.tip, middle, unit) == pytest.approx(at_v, abs=ROUNDING / unit)
    assert any("drawn shorter" in text for text in drawn.texts) == cut

    # The scale is told twice, and both say the same.
    told = next(text for text in drawn.texts if text.startswith("dotted"))
    radius = float(re.search(NUMBER, told)[1])
    told = next(text for text in drawn.texts if "× the scale" in text)
    assert number(re.search(NUMBER, told)[1]) * radius == pytest.approx(1)

    angles = np.linspace(0, 2 * np.pi, 101)
    circle = np.stack([np.cos(angles), np.sin(angles)])
    exact = np.array(MpSquash(s).jacobian(), dtype=float)
    variant = complex_step_jacobian(lambda x: textbook(x, epsilon), s)
    largest = max(abs(exact).max(), abs(variant).max())
    assert largest <= radius * 1.0001 <= 7.1 * largest
    for end, J, colour in (("exact", exact, "v"), ("with ε", variant, "muted")):
        (line,) = [each for each in drawn.shapes if each.name.endswith(end)]
        assert line.colour == COLOURS[colour]
        points = in_plane(line.points, centre, ring) * radius
        # Each drawn point lies on the image of the circle, and all round it: the points may begin
        # anywhere. A needle is as thin as the pixels allow.
        apart = np.linalg.norm(points[:, None] - (J @ circle).T, axis=-1)
        between = np.linalg.norm(np.diff(J @ circle), axis=0).max()
        assert apart.min(axis=1).max() <= between + 2 * ROUNDING / ring * radius
        assert apart.min(axis=0).max() <= between + 2 * ROUNDING / ring * radius
        half_axes = np.linalg.norm(points, axis=1)
        assert half_axes.max() == pytest.approx(
            np.linalg.norm(J, 2), abs=2 * ROUNDING / ring * radius
        )
        low = np.linalg.svd(J, compute_uv=False)[1]
        assert half_axes.min() == pytest.approx(low, abs=2 * ROUNDING / ring * radius)


@every_s
def test_curves_and_dots_stand_at_the_gains(length, degrees, epsilon):
    drawn = picture(length, degrees, epsilon)
    bottom = drawn.texts["1e-9"]
    of_gains = [s for s in drawn.shapes if s.tag == "polyline" and len(s.points) == 97]
    assert [(s.colour, bool(s.dash)) for s in of_gains] == [
        (COLOURS["muted"], False), (COLOURS["muted"], True),
        (COLOURS["v"], False), (COLOURS["v"], True),
    ]  # fmt: skip
    for k in range(0, 97, 8):
        t = 10 ** drawn.numbers(of_gains[0].points[k])[0]
        exact, variant = (x[1:] for x in wanted(t, epsilon))
        heights = [drawn.numbers(curve.points[k])[1] for curve in of_gains]
        # A tenth of a pixel is a two-hundredth of a decade; t is read to that, too, and the
        # steepest curve falls by three decades in one.
        assert heights == pytest.approx(np.log10([*variant, *exact]), abs=0.025)
    exact, variant = (x[1:] for x in wanted(length, epsilon))
    dots = [drawn.numbers(d.points[:-1].mean(axis=0)) for d in drawn.shapes if is_dot(d)]
    assert dots == pytest.approx(
        np.array([(np.log10(length), np.log10(gain)) for gain in (*variant, *exact)]), abs=0.015
    )
    (line,) = drawn.named("length ")
    assert [drawn.numbers(at)[0] for at in line.points] == pytest.approx(
        [np.log10(length)] * 2, abs=0.01
    )
    assert line.points[:, 1].max() == pytest.approx(bottom[1], abs=0.2)


def is_dot(shape):
    return shape.tag == "polygon" and shape.name.startswith(("across s", "along s"))


@every_s
def test_the_readout_says_the_numbers(length, degrees, epsilon):
    said = sketch_squash(length, degrees, epsilon).readout
    found = re.match(
        rf"Length of s: {NUMBER}, direction {NUMBER}°. Length of v: {NUMBER}. Gain across s: "
        rf"{NUMBER}, along s: {NUMBER}. (.*) With ε = {NUMBER}: length of v {NUMBER} \((.*)\), "
        rf"gain across s {NUMBER} \((.*)\), along s {NUMBER} \((.*)\).$",
        said,
    )
    assert found, said
    numbers = [number(x) for x in found.group(1, 2, 3, 4, 5, 7, 8, 10, 12)]
    exact, variant = wanted(length, epsilon)
    want = [length, degrees, *exact, epsilon, *variant]
    np.testing.assert_allclose(numbers, want, rtol=0.0051, atol=0)
    for said, ratio in zip(found.group(9, 11, 13), variant / exact, strict=True):
        if ratio >= 2:
            assert number(re.match(rf"{NUMBER} times too large$", said)[1]) == pytest.approx(
                ratio, rel=0.0051
            )
        elif said == "right to 0.01 %":
            assert abs(ratio - 1) <= 1.001e-4
        else:
            percent = float(re.match(r"([-+][\d.e]+) %$", said)[1])
            assert percent == pytest.approx(100 * (ratio - 1), rel=0.051)
    across, along = exact[1:]
    ratio = max(across, along) / min(across, along)
    if ratio > 1.005:
        easier, harder = ("Turning", "length") if length > 1 else ("Lengthening", "turning")
        assert found[6].startswith(f"{easier} is ") and f"as easy as {harder}" in found[6]
        told = number(re.search(NUMBER, found[6])[1])
        assert told == pytest.approx(ratio, rel=0.0051)
    else:
        assert "equally easy" in found[6]


@every_s
def test_nothing_lies_outside_the_picture(length, degrees, epsilon):
    sketch = sketch_squash(length, degrees, epsilon)
    for shape in read.shapes(sketch.svg()):
        assert (shape.points >= 0).all()
        assert (shape.points <= (sketch.width, sketch.height)).all()
    assert sketch.width <= 760


def test_the_numbers_of_the_design():
    said = sketch_squash(5.0, 53, 1e-7).readout
    assert "Turning is 13 times as easy as lengthening" in said  # s = (3, 4)
    assert "Gain across s: 0.192, along s: 0.0148" in said  # 5/26 and 10/676
    assert "length of v 1.05e-06 (+4.9 %)" in sketch_squash(1e-3, 0, 1e-7).readout
    assert "equally easy" in sketch_squash(1.0, 0, 1e-7).readout


def test_the_stills_go_from_near_zero_to_beyond_one():
    told = squash_explorer().still.alt
    ease = re.findall(r"(Turning|Lengthening) is", told)
    assert ease == ["Lengthening", "Lengthening", "Turning"]
    assert "3.32 times too large" in told


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ((1e-6, 0), ["length", "1e-06", "1e-5"]),
        ((1e4, 0), ["length", "10000", "1e3"]),
        ((float("nan"), 0), ["length", "nan"]),
        ((1.0, 0, 0.0), ["epsilon", "0.0", "positive"]),
        ((1.0, 0, float("inf")), ["epsilon", "inf"]),
    ],
)
def test_what_cannot_be_drawn_is_refused_in_words(parameters, words):
    with pytest.raises(ValueError) as error:
        sketch_squash(*parameters)
    assert all(word in str(error.value) for word in words)


def test_the_explorer_draws_what_its_sliders_say():
    explorer = squash_explorer()
    length = explorer.controls["length"]
    for value in (length.base**length.min, length.base**length.max, 0.02):
        length.value, explorer.controls["degrees"].value = value, -180
        explorer.controls["epsilon"].value = 1e-3
        sketch = sketch_squash(value, -180, 1e-3)
        picture, _, readout = explorer.frames[None].value.partition('<p role="status"')
        assert picture == sketch.svg() and readout.endswith(f">{sketch.readout}</p>")


# Many vectors, and a circle


def is_frame(shape):
    """Whether it is the left and the lower edge of a plot."""
    return shape.tag == "polyline" and len(shape.points) == 3


def in_axes(shapes, points):
    """From pixels of a plot to its numbers, by its corner at 0 and by both ticks at 1."""
    (corner,) = (shape.points[1] for shape in shapes if is_frame(shape))
    ones = np.array([shape.points[0] for shape in shapes if shape.text == "1"])
    return (np.asarray(points) - corner) / (
        ones[:, 0].max() - corner[0],
        ones[:, 1].min() - corner[1],
    )


def test_many_vectors_and_their_lengths():
    s = np.array([vector(2.5, 25), vector(0.4, 155), vector(1.0, -15)])
    v = np.array([[float(x) for x in MpSquash(each).v] for each in s])
    sketch = sketch_vectors(s)
    shapes, [(centre, unit), *_] = read.shapes(sketch.svg()), read.circles(sketch.svg())
    for quantity, want in (("s", s), ("v", v)):
        drawn = read.arrows(sketch.svg(), quantity)
        assert {arrow.colour for arrow in drawn} == {COLOURS[quantity]}
        tips = (np.array([arrow.tip for arrow in drawn]) - centre) * (1, -1) / unit
        assert tips == pytest.approx(want, abs=2 * ROUNDING / unit)
    lengths = np.linalg.norm(s, axis=1), np.linalg.norm(v, axis=1)
    (curve,) = (shape for shape in shapes if len(shape.points) == 200)
    t, height = in_axes(shapes, curve.points).T
    assert height == pytest.approx(t**2 / (1 + t**2), abs=0.005)
    dots = [s for s in shapes if s.tag == "polygon" and len(s.points) > 10]
    middles = in_axes(shapes, [dot.points[:-1].mean(axis=0) for dot in dots])
    assert middles == pytest.approx(np.stack(lengths, axis=-1), abs=0.005)
    told = ", ".join(f"{a:.2f} becomes {b:.2f}" for a, b in zip(*lengths, strict=True))
    assert f"The lengths: {told}." in sketch.picture().alt
    with pytest.raises(ValueError, match=r"^s: got shape"):
        sketch_vectors(np.ones((4, 3)))


@pytest.mark.parametrize("long", [0.01, 1, 60, 1e6])
def test_a_few_round_numbers_stand_at_an_axis_however_long(long):
    found = ticks(1.1 * long)
    assert 3 <= len(found) <= 8
    assert found[0] == "0" and all(float(text) == x for x, text in found.items())
    assert len(sketch_vectors(np.array([[long, 0.0]])).shapes) < 40


def test_a_circle_becomes_a_needle():
    s = np.array([3.0, 4.0])
    sketch = sketch_circle(s, 1.0)
    shapes = read.shapes(sketch.svg())
    _, half = (k for k, shape in enumerate(shapes) if is_frame(shape))  # the second plot begins
    ends = {}
    for part, quantity in ((shapes[:half], "s"), (shapes[half:], "v")):
        points = {
            "area": [x for x in part if x.tag == "polygon" and x.opacity < 1],
            "across": [x for x in part if x.tag == "polyline" and x.width == 3],
            "along": [x for x in part if x.tag == "polyline" and x.dash and x.width == 2.5],
        }
        for name, (drawn,) in points.items():
            ends[quantity, name] = in_axes(part, drawn.points)
        assert points["area"][0].colour == points["across"][0].colour == COLOURS[quantity]
    assert np.linalg.norm(ends["s", "area"] - s, axis=1) == pytest.approx(1, abs=0.01)
    for name, e in (("across", (-0.8, 0.6)), ("along", (0.6, 0.8))):
        assert np.linalg.norm(np.ptp(ends["s", name], axis=0)) == pytest.approx(2, abs=0.01)
        assert abs((ends["s", name][0] - s) @ e) == pytest.approx(1, abs=0.01)
    for name in ("area", "across", "along"):
        want = [[float(x) for x in MpSquash(point).v] for point in ends["s", name]]
        assert ends["v", name] == pytest.approx(np.array(want), abs=0.002)
    far = [MpSquash(s + sign * np.array([-0.8, 0.6])).v for sign in (1, -1)]
    long = np.linalg.norm(np.subtract(*np.array(far, dtype=float)))
    thick = 36 / 37 - 16 / 17  # of lengths 6 and 4
    assert f"{long:.2f} long and {thick:.3f} thick" in sketch.picture().alt
    with pytest.raises(ValueError, match=r"^s: got shape"):
        sketch_circle(np.ones(3), 1.0)
