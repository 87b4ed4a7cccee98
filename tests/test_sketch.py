"""Sketches: SVG and PNG show the same shapes, and what they show is what the arrays say."""

import io
import re
from dataclasses import replace

import matplotlib.image
import numpy as np
import pytest
import svg as read
from hypothesis import given
from hypothesis import strategies as st
from reference import assert_close, loop_layer
from shapes import seeded

import capsedu
from capsedu.figures.palette import COLOURS
from capsedu.sketches.plane import Plane, along
from capsedu.sketches.routing import (
    ARROWS,
    NUMBERS,
    SHOWN,
    clusters,
    principal_planes,
    sketch_routing,
)
from capsedu.sketches.sketch import Path, Sketch, Words, stacked

ROUNDING = 0.08  # pixels: they are written to a tenth


# What SVG and PNG are, whatever is drawn


def test_markup_is_well_formed_whatever_the_texts_hold():
    nasty = "<script>alert('x')</script> & \"quotes\" û_{j|i}"
    sketch = Sketch(100, 50, nasty, nasty, nasty)
    sketch.path([(0, 0), (10, 10)], "#000000", name=nasty)
    sketch.path([(0, 0), (10, 10), (0, 10)], "#000000", width=0, name=nasty)
    sketch.words((50, 25), nasty)
    tree = read.root(sketch.svg())
    assert tree.findtext(f"{read.SPACE}title") == nasty
    assert tree.findtext(f"{read.SPACE}desc") == nasty
    line, area, words = read.shapes(sketch.svg())
    assert line.name == area.name == words.text == nasty
    assert tree.get("role") == "img"
    assert tree.get("viewBox") == "0 0 100 50"
    assert (tree.get("width"), tree.get("height")) == ("100", "50")


def test_white_lies_behind_everything():
    sketch = Sketch(100, 50, "title", "description")
    sketch.path([(0, 0), (10, 10)], "#000000")
    ground = next(each for each in read.root(sketch.svg()) if each.tag == f"{read.SPACE}rect")
    assert (ground.get("width"), ground.get("height"), ground.get("fill")) == ("100", "50", "white")
    assert sketch.svg().index("<rect") < sketch.svg().index("<polyline")


def test_what_the_reader_of_the_markup_must_not_find():
    good = Sketch(10, 10, "title", "description").svg()
    for bad in (
        good.replace("<desc>", "<style></style><desc>"),
        good.replace("<desc>", "<script></script><desc>"),
        good.replace('role="img"', 'id="a"'),
        good.replace('role="img"', 'onload="a()"'),
        good.replace("<desc>", '<rect style="fill: red"/><desc>'),
        good.replace("<desc>", '<image href="https://example.org/a.png"/><desc>'),
        good.replace("<desc>", f'<rect href="{read.PNG}"/><desc>'),
    ):
        with pytest.raises(AssertionError):
            read.root(bad)


def ink(sketch):
    """The box of the pixels of the PNG that aren't white: left, top, right, bottom; and colours."""
    pixels = matplotlib.image.imread(io.BytesIO(sketch.picture().png))[..., :3]
    height, width = pixels.shape[:2]
    assert (width, height) == (2 * sketch.width, 2 * sketch.height)
    where = np.argwhere((pixels < 0.98).any(axis=-1))
    (top, left), (bottom, right) = where.min(axis=0), where.max(axis=0) + 1
    darkest = pixels[tuple(where[pixels[tuple(where.T)].sum(axis=-1).argmin()])]
    return np.array([left, top, right, bottom]) / 2, darkest


def sketch_of(shape):
    return Sketch(200, 120, "title", "description", shapes=[shape])


@pytest.mark.parametrize(
    ("shape", "grown"),
    [
        (Path(np.array([(20.0, 30.0), (120.0, 30.0)]), "#0072B2", width=6), (0, 3)),
        (Path(np.array([(70.0, 22.0), (70.0, 100.0)]), "#000000", width=4, dash=(8, 2)), (2, 0)),
        (Path(np.array([(20.0, 90.0), (60.0, 30.0), (90.0, 80.0)]), "#D55E00", width=0), (0, 0)),
        (Path(np.array([(20.0, 90.0), (60.0, 30.0)]), "#D55E00", width=0.6), (0, 0)),
    ],
)
def test_a_path_lies_where_both_say(shape, grown):
    box, colour = ink(sketch_of(shape))
    (drawn,) = read.shapes(sketch_of(shape).svg())
    low, high = drawn.points.min(axis=0) - grown, drawn.points.max(axis=0) + grown
    assert box == pytest.approx([*low, *high], abs=1.5)
    assert colour == pytest.approx(rgb(shape.colour), abs=0.35 if shape.width == 0.6 else 0.02)
    assert drawn.colour == shape.colour
    assert drawn.width == shape.width


@pytest.mark.parametrize("width", [0, 8])
def test_opacity_is_the_same_in_both(width):
    corners = [(20.0, 20.0), (150.0, 20.0), (150.0, 28.0), (20.0, 28.0)]
    points = np.array([(20.0, 24.0), (150.0, 24.0)] if width else corners)
    for opacity in (1.0, 0.5, 0.15):
        sketch = sketch_of(Path(points, "#0072B2", width=width, opacity=opacity))
        (drawn,) = read.shapes(sketch.svg())
        assert drawn.opacity == opacity
        _, colour = ink(sketch)
        blended = 1 - drawn.opacity * (1 - rgb(drawn.colour))
        assert colour == pytest.approx(blended, abs=0.02)


def test_an_image_lies_where_both_say_with_its_grey_values():
    grey = np.array([[1.0, 0.2, 0.0], [0.4, 0.6, 0.8]])
    sketch = Sketch(200, 120, "title", "description")
    sketch.image(grey, (20, 30), (90, 40), "a < b")
    image, frame = read.shapes(sketch.svg())
    assert image.points.tolist() == [[20, 30], [110, 70]]
    assert (frame.points.min(axis=0) == (20, 30)).all()
    assert (frame.points.max(axis=0) == (110, 70)).all()
    assert image.name == "a < b"
    np.testing.assert_allclose(read.grey(image), grey, atol=read.GREY)
    pixels = matplotlib.image.imread(io.BytesIO(sketch.picture().png))[..., :3]
    middles = pixels[80:140:40, 70:240:60].mean(axis=-1)  # two pixels of the PNG for one
    np.testing.assert_allclose(1 - middles, grey, atol=0.01)
    lowered = stacked({"name": sketch}).shapes[1]
    assert (lowered.at, lowered.size) == ((20, 56), (90, 40))


def test_dashes_are_as_long_in_both():
    sketch = sketch_of(Path(np.array([(20.0, 50.0), (180.0, 50.0)]), "#000000", 4, (12, 8)))
    (drawn,) = read.shapes(sketch.svg())
    on, off = map(float, drawn.dash.split())
    pixels = matplotlib.image.imread(io.BytesIO(sketch.picture().png))[100, :, 0] < 0.5
    starts = np.flatnonzero(np.diff(pixels.astype(int)) == 1) / 2
    assert np.diff(starts) == pytest.approx(on + off, abs=1)
    assert pixels.sum() / 2 == pytest.approx(160 * on / (on + off), abs=3)


@pytest.mark.parametrize(("anchor", "share"), [("start", 0), ("middle", 0.5), ("end", 1)])
@pytest.mark.parametrize("size", [11, 24])
def test_words_are_anchored_where_both_say(anchor, share, size):
    words = Words((100.0, 60.0), "xnox", anchor=anchor, size=size)
    (left, top, right, bottom), _ = ink(sketch_of(words))
    assert left + share * (right - left) == pytest.approx(100, abs=2)
    # Halfway up the letters is somewhat above the middle of those that have no ascender.
    assert (top + bottom) / 2 == pytest.approx(60, abs=0.15 * size)
    assert bottom - top == pytest.approx(0.56 * size, abs=2)  # the x-height of DejaVu Sans
    element = read.root(sketch_of(words).svg())[-1]
    assert element.get("text-anchor") == anchor
    assert float(element.get("font-size")) == size
    assert (element.get("x"), element.get("y"), element.get("dy")) == ("100.0", "60.0", "0.35em")


def test_what_comes_later_lies_on_top_in_both():
    square = np.array([(20.0, 20.0), (60.0, 20.0), (60.0, 60.0), (20.0, 60.0)])
    for colours in (("#0072B2", "#D55E00"), ("#D55E00", "#0072B2")):
        sketch = Sketch(100, 100, "title", "description")
        for colour in colours:
            sketch.path(square, colour, width=0)
        assert [each.colour for each in read.shapes(sketch.svg())] == list(colours)
        pixels = matplotlib.image.imread(io.BytesIO(sketch.picture().png))
        assert pixels[80, 80, :3] == pytest.approx(rgb(colours[1]), abs=0.01)


def rgb(colour):
    return np.array([int(colour[k : k + 2], 16) for k in (1, 3, 5)]) / 255


def test_the_picture_tells_what_is_drawn_and_its_numbers():
    picture = Sketch(100, 50, "title", "What is drawn.", "Its number: 3.").picture()
    assert picture.alt == "What is drawn. Its number: 3."
    assert picture.width == 100


def test_stacked_sketches_lie_below_one_another():
    each = [Sketch(100, 50, "title", "What.", f"Number {k}.") for k in range(3)]
    for sketch in each:
        sketch.path([(10, 10), (20, 30)], "#000000", name="line")
        sketch.words((10, 40), "word")
    names = ["one", "two", "three"]
    story = stacked(dict(zip(names, each, strict=True)))
    drawn = read.shapes(story.svg())
    lines = [shape.points for shape in drawn if shape.tag == "polyline"]
    words = {shape.text: shape.points[0] for shape in drawn if shape.text}
    tall = (story.height - 150) / 3 + 50  # a sketch and its name
    for k, (line, name) in enumerate(zip(lines, names, strict=True)):
        top = k * tall + (tall - 50)
        assert_close(line, np.array([(10, 10 + top), (20, 30 + top)]), 1e-12)
        assert k * tall < words[name][1] < top
    assert story.readout == "Number 0. Number 1. Number 2."
    assert (story.title, story.description, story.width) == ("title", "What.", 100)
    assert [shape.points.tolist() for shape in each[0].shapes[:1]] == [[[10, 10], [20, 30]]]


# A plane


def test_pixels_grow_to_the_right_and_downwards():
    plane = Plane(Sketch(300, 200, "", ""), 50, 20, 200, 100, x=(-1, 3), y=(10, 20))
    corners = plane.pixels([(-1, 10), (3, 20), (1, 15)])
    assert_close(corners, np.array([(50, 120), (250, 20), (150, 70)]), 1e-15)


@given(
    points=st.lists(st.tuples(*[st.floats(-1e6, 1e6)] * 2), min_size=1, max_size=5),
    size=st.tuples(st.floats(40, 700), st.floats(40, 300)),
)
@seeded
def test_a_plane_around_points_holds_them_and_the_unit_circle_to_one_scale(points, size):
    plane = Plane.around(np.array(points), Sketch(760, 310, "", ""), (30, 10, *size))
    circle = [(np.cos(t), np.sin(t)) for t in np.linspace(0, 2 * np.pi, 100)]
    for x, y in plane.pixels([*points, *circle]):
        assert 30 <= x <= 30 + size[0]
        assert 10 <= y <= 10 + size[1]
    centre, right, up = plane.pixels([(0, 0), (1, 0), (0, 1)])
    assert_close(right - centre, -(up - centre)[::-1], 1e-6)


def arrow(tip, **style):
    sketch = Sketch(200, 200, "", "")
    Plane(sketch, 0, 0, 200, 200, (-1, 1), (-1, 1)).arrow(tip, "#0072B2", name="arrow", **style)
    return sketch


def test_an_arrow_ends_at_its_tip_and_starts_where_it_should():
    for tip, start in (((0.5, 0.25), (0, 0)), ((-0.7, -0.9), (0.3, 0.2)), ((0, 1), (0, 0))):
        (drawn,) = read.arrows(arrow(tip, start=start, width=3).svg(), "arrow")
        assert drawn.tip == pytest.approx([100 + 100 * tip[0], 100 - 100 * tip[1]], abs=ROUNDING)
        want = [100 + 100 * start[0], 100 - 100 * start[1]]
        assert drawn.start == pytest.approx(want, abs=ROUNDING)
        assert drawn.width == 3


def test_a_head_points_along_its_arrow_and_is_no_longer_than_it():
    for tip in ((0.5, 0.25), (0.05, 0), (0, -0.01), (0.8, 0.8), (-0.3, 0.4)):
        heads = [s.points for s in read.shapes(arrow(tip).svg()) if s.tag == "polygon"]
        (corner, *wings), along = heads[0], np.array(tip) * (1, -1) / np.hypot(*tip)
        neck = np.mean(wings, axis=0)
        assert (corner - neck) @ along == pytest.approx(min(9, 100 * np.hypot(*tip)), abs=0.15)
        assert abs((wings[0] - wings[1]) @ along) < 0.2


def test_no_arrow_is_drawn_of_length_zero_and_no_label_of_a_tiny_one():
    assert arrow((0, 0), label="z").shapes == []
    assert not [s for s in read.shapes(arrow((0.05, 0), label="z").svg()) if s.text]
    (label,) = (s for s in read.shapes(arrow((0.5, 0), label="z").svg()) if s.text)
    assert label.text == "z"
    assert label.points[0] == pytest.approx([159, 100], abs=ROUNDING)


def test_a_dashed_arrow_has_a_solid_head():
    shaft, head = read.shapes(arrow((0.8, 0), dash=(4, 2)).svg())
    assert (shaft.dash, head.dash) == ("4 2", "")


def test_axes_have_names_and_ticks_where_they_stand():
    sketch = Sketch(300, 200, "", "")
    plane = Plane(sketch, 60, 30, 200, 100, (0, 10), (0, 1))
    plane.axes("across", "up", {0: "none", 5: "half"}, {0.5: "middle"})
    words = {shape.text: shape.points[0] for shape in read.shapes(sketch.svg()) if shape.text}
    assert set(words) == {"across", "up", "none", "half", "middle"}
    assert (words["none"][0], words["half"][0], words["across"][0]) == (60, 160, 160)
    assert words["middle"][1] == 80 and words["middle"][0] < 60
    assert words["half"][1] > 130 and words["across"][1] > words["half"][1]
    assert words["up"][1] < 30


def test_a_dot_is_round_and_where_it_should_be():
    sketch = Sketch(200, 200, "", "")
    Plane(sketch, 0, 0, 200, 200, (-1, 1), (-1, 1)).dot((0.5, -0.5), "#000000", "dot", radius=7)
    (dot,) = read.shapes(sketch.svg())
    assert np.linalg.norm(dot.points - (150, 150), axis=1) == pytest.approx(7, abs=ROUNDING)
    assert dot.name == "dot"


def test_names_stand_near_their_tips_and_off_whatever_is_taken():
    plane = Plane(Sketch(200, 200, "", ""), 0, 0, 200, 200, (-1, 1), (-1, 1))
    tips = {"a": (0.5, 0.2), "b": (0.5, 0.25), "7": (-0.3, -0.6), "short": (0.05, 0.05)}
    tips = {name: np.array(tip) for name, tip in tips.items()}
    taken = along([*tips.values(), (0.9, 0.9)])
    plane.names(tips, taken, near=12)
    written = {words.text: words for words in plane.sketch.shapes}
    assert written.keys() == {"a", "b", "7"}
    assert [words.italic for words in written.values()] == [True, True, False]
    for name, words in written.items():
        assert 11.9 < np.linalg.norm(words.at - plane.pixels(tips[name])) < 24.1
        assert np.linalg.norm(words.at - plane.pixels(taken), axis=1).min() > 9.6
    assert np.linalg.norm(np.subtract(written["a"].at, written["b"].at)) > 15


def test_a_crowded_name_stands_farther_off():
    plane = Plane(Sketch(200, 200, "", ""), 0, 0, 200, 200, (-1, 1), (-1, 1))
    tip = np.array([0.5, 0])
    turns = np.linspace(0, 2 * np.pi, 30)
    ring = tip + 0.12 * np.stack([np.cos(turns), np.sin(turns)], axis=-1)
    plane.names({"a": tip}, ring)
    (words,) = plane.sketch.shapes
    assert np.linalg.norm(words.at - plane.pixels(tip)) == pytest.approx(20, abs=0.1)


def test_a_title_stands_above_the_middle_of_the_box():
    plane = Plane(Sketch(300, 200, "", ""), 50, 40, 200, 100)
    plane.title("above")
    (words,) = plane.sketch.shapes
    assert (words.text, words.anchor, words.at[0]) == ("above", "middle", 150)
    assert words.at[1] < 40


# Routing


def steps_by_loops(z, iterations):
    """Every (b, c, s, v) by the independent loops of the reference: W = z, u = 1."""
    return loop_layer(z[..., None], np.ones((len(z), 1)), iterations)[1]


def points_at(arrow, vector, ring):
    """Whether an arrow's tip is where the vector ends in the plane whose unit circle is `ring`."""
    (centre, unit), (x, y) = ring, vector
    far = 0.01 * np.hypot(x, y)  # the radius is read from rounded points
    return arrow.tip == pytest.approx(centre + unit * np.array([x, -y]), abs=ROUNDING + far)


def assert_shows_routing(svg, z, iterations, k):
    """Hold an SVG to iteration k of routing z, shape (I, J, 2), computed by the loops."""
    steps = steps_by_loops(z, iterations)
    _, c, s, v = steps[k - 1]
    I, J, _ = z.shape
    rings = read.circles(svg)
    assert len(rings) == J
    for j, ring in enumerate(rings):
        rows = -(-J // 5)
        farthest = max(1, SHOWN / rows * np.linalg.norm(z, axis=-1).max())
        cut = s[j] * min(1, farthest / np.linalg.norm(s[j]))
        for quantity, name, vector in (("s", "total input s", cut), ("v", "output v", v[j])):
            drawn = read.arrows(svg, f"{name} of output {j + 1},")
            if drawn or np.linalg.norm(vector) > 1e-9:  # too short to be drawn
                (each,) = drawn
                assert points_at(each, vector, ring)
                assert each.colour == COLOURS[quantity]
                if each.start is not None and quantity == "s":
                    assert bool(each.dash) == (np.linalg.norm(s[j]) > farthest)  # cut off
        for i in range(I):
            (each,) = read.arrows(svg, f"prediction of input {i + 1} for output {j + 1},")
            assert points_at(each, z[i, j], ring)
            assert each.colour == COLOURS["z"]
            assert each.opacity == pytest.approx(0.15 + 0.85 * c[i, j], abs=0.006)
            if each.start is not None:
                assert each.width == pytest.approx(0.6 + 3 * c[i, j], abs=0.06)
    cells = [s for s in read.shapes(svg) if s.tag == "polygon" and s.name.startswith("input ")]
    assert len(cells) == I * J
    rows, columns = ([cell.points[:, axis].min() for cell in cells] for axis in (1, 0))
    order = np.lexsort((columns, rows))  # as one reads: an input's row after the other
    opacities = np.array([cells[place].opacity for place in order]).reshape(I, J)
    assert opacities == pytest.approx(c, abs=0.006)
    names = [cells[place].name for place in order]
    for name, (i, j) in zip(names, np.ndindex(I, J), strict=True):
        assert name == f"input {i + 1}, output {j + 1}: coupling {c[i, j]:.2f}"
    numbers = {  # written in the middle of their cells
        tuple(shape.points[0].round()): shape.text for shape in read.shapes(svg) if shape.text
    }
    for place, coupling in zip(order, c.ravel(), strict=True):
        middle = cells[place].points[:-1].mean(axis=0)
        near = [text for at, text in numbers.items() if np.hypot(*(at - middle)) < 2]
        assert near == [f"{coupling:.2f}"]
    (dot,) = (s for s in read.shapes(svg) if s.name.startswith("iteration "))
    assert dot.name == f"iteration {k}: {mean_entropy(c):.2f}"


def mean_entropy(c):
    """−Σ_j c_ij log c_ij as a share of that of J equal ones, mean over i, by a plain loop."""
    shares = [-sum(x * np.log(x) for x in row if x > 0) / np.log(max(2, len(row))) for row in c]
    return sum(shares) / len(shares)


@pytest.fixture(scope="module")
def z():
    return np.random.default_rng(1).normal(size=(4, 2, 2))


@pytest.mark.parametrize("k", [1, 2, 4])
def test_arrows_and_matrix_are_where_and_as_strong_as_the_loops_say(z, k):
    assert_shows_routing(sketch_routing(capsedu.route(z, 4), k).svg(), z, 4, k)


@given(
    seed=st.integers(0, 2**32 - 1),
    I=st.integers(1, 4),
    J=st.integers(1, 6),
    scale=st.sampled_from([0.3, 1, 3]),
    k=st.integers(1, 3),
)
@seeded
def test_every_small_routing_is_shown_as_it_is(seed, I, J, scale, k):
    z = scale * np.random.default_rng(seed).normal(size=(I, J, 2))
    assert_shows_routing(sketch_routing(capsedu.route(z, 3), k).svg(), z, 3, k)


def shown_wrongly(z, how):
    """An SVG of iteration 3 of 3 with something wrong in it."""
    routing = capsedu.route(z, 3)
    last = routing.steps[-1]
    c, s, v = last.c.copy(), last.s.copy(), last.v.copy()
    if how == "two couplings swapped":
        c[[0, 1], 0] = c[[1, 0], 0]
    elif how == "inputs and outputs confused":
        c = c[:, ::-1]
    elif how == "s of the other output":
        s = s[::-1]
    elif how == "v in the place of s":
        s = v
    elif how == "v too long":
        v = 1.1 * v
    elif how == "predictions turned":
        routing = replace(routing, z=z @ np.array([[0.0, 1.0], [-1.0, 0.0]]))
    elif how == "the iteration before":
        return sketch_routing(routing, 2).svg()
    routing = replace(routing, steps=(*routing.steps[:-1], last._replace(c=c, s=s, v=v)))
    svg = sketch_routing(routing, 3).svg()
    if how == "upside down":
        turned = lambda found: ",".join([found[1], f"{310 - float(found[2]):.1f}"])  # noqa: E731
        svg = re.sub(r"(-?[\d.]+),(-?[\d.]+)", turned, svg)
    if how == "all as opaque":
        svg = re.sub(r' opacity="[\d.]+"', "", svg)
    if how == "other colour":
        svg = svg.replace(COLOURS["v"], COLOURS["s"])
    return svg


WRONG = [
    *("two couplings swapped", "inputs and outputs confused", "s of the other output"),
    *("v in the place of s", "v too long", "predictions turned", "the iteration before"),
    *("upside down", "all as opaque", "other colour"),
]


@pytest.mark.parametrize("how", WRONG)
def test_a_wrong_picture_is_caught(z, how):
    assert_shows_routing(shown_wrongly(z, "not at all"), z, 3, 3)
    with pytest.raises(AssertionError):
        assert_shows_routing(shown_wrongly(z, how), z, 3, 3)


def test_the_readout_says_what_the_loops_compute(z):
    for k, (b, c, s, v) in enumerate(steps_by_loops(z, 4), start=1):
        sketch = sketch_routing(capsedu.route(z, 4), k)
        numbers = [float(n) for n in re.findall(r"-?\d+\.\d+", sketch.readout)]
        lengths = np.linalg.norm([s, v], axis=-1)
        want = [*lengths.ravel(), *b.ravel(), *c.ravel(), mean_entropy(c)]
        np.testing.assert_allclose(numbers, want, rtol=0, atol=0.005 + 1e-12)
        assert f"Iteration {k} of 4." in sketch.readout


def test_the_curve_of_the_entropy_ends_at_the_dot(z):
    values = [mean_entropy(c) for _, c, _, _ in steps_by_loops(z, 5)]
    drawn = read.shapes(sketch_routing(capsedu.route(z, 5), 4).svg())
    lines = {len(shape.points): shape.points for shape in drawn if shape.tag == "polyline"}
    corner, run, whole = lines[3], lines[4], lines[5]
    (left, top), (_, bottom), (right, _) = corner  # the axes: 0 to 1 upwards, iterations 1 to 5
    x = left + (right - left) * np.arange(5) / 4
    curve = np.stack([x, bottom - (bottom - top) * np.array(values)], axis=-1)
    assert whole == pytest.approx(curve, abs=ROUNDING)
    assert run == pytest.approx(curve[:4], abs=ROUNDING)
    (dot,) = (s for s in drawn if s.name.startswith("iteration "))
    assert dot.points[:-1].mean(axis=0) == pytest.approx(curve[3], abs=0.2)


@pytest.mark.parametrize("m", [3, 5])
@pytest.mark.parametrize("I", [1, 2, 6])
def test_more_than_two_dimensions_are_shown_in_the_plane_of_largest_variance(m, I):
    z = np.random.default_rng(m).normal(size=(I, 3, m))
    z[..., 0] *= 3
    P = principal_planes(z)
    assert P.shape == (3, m, 2)
    for j in range(3):
        assert_close(P[j].T @ P[j], np.eye(2), 1e-12)
        # What the plane holds of Σ_i ‖z_ij‖² is what the two largest eigenvalues of zᵀz hold.
        values = np.linalg.eigvalsh(z[:, j].T @ z[:, j])
        held = np.sum((z[:, j] @ P[j]) ** 2)
        assert held == pytest.approx(values[-2:].sum(), rel=1e-10)
        along = z[:, j] @ P[j]
        assert np.sum(along[:, 0] ** 2) == pytest.approx(values[-1], rel=1e-10)
        assert (along.sum(axis=0) > -1e-12).all()
        other = np.linalg.qr(np.random.default_rng(0).normal(size=(m, 2)))[0]
        assert np.sum((z[:, j] @ other) ** 2) < held
    flat = np.einsum("ijm,jmx->ijx", z, P)
    routing = capsedu.route(z, 2)
    svg = sketch_routing(routing, 2).svg()
    for j, ring in enumerate(read.circles(svg)):
        for i in range(I):
            (each,) = read.arrows(svg, f"prediction of input {i + 1} for output {j + 1},")
            assert points_at(each, flat[i, j], ring)
        (each,) = read.arrows(svg, f"output v of output {j + 1},")
        assert points_at(each, routing.v[j] @ P[j], ring)


def test_two_dimensions_are_shown_as_they_are_and_one_along_the_x_axis(z):
    assert (principal_planes(z) == np.eye(2)).all()
    line = z[..., :1]
    assert principal_planes(line).tolist() == [[[1, 0]], [[1, 0]]]
    svg = sketch_routing(capsedu.route(line, 2), 2).svg()
    for j, ring in enumerate(read.circles(svg)):
        for i in range(4):
            (each,) = read.arrows(svg, f"prediction of input {i + 1} for output {j + 1},")
            assert points_at(each, (line[i, j, 0], 0), ring)


def test_of_many_inputs_the_strongest_are_drawn():
    z = np.random.default_rng(0).normal(size=(40, 2, 2))
    routing = capsedu.route(z, 3)
    _, c, _, _ = steps_by_loops(z, 3)[-1]
    for k in (1, 3):
        svg = sketch_routing(routing, k).svg()
        for j in range(2):
            names = {each.name for each in read.shapes(svg)}
            drawn = {
                int(re.match(rf"prediction of input (\d+) for output {j + 1},", name)[1]) - 1
                for name in names
                if re.match(rf"prediction of input \d+ for output {j + 1},", name)
            }
            strength = c[:, j] * np.hypot(*z[:, j].T)
            assert len(drawn) == ARROWS
            assert drawn == set(np.argsort(strength)[-ARROWS:])
    cells = [each.opacity for each in read.shapes(svg) if each.colour == COLOURS["c"]]
    assert cells[:80] == pytest.approx(c.ravel(), abs=0.006)
    assert z[..., 0].size > NUMBERS
    told = sketch_routing(routing, 3).readout
    v = np.linalg.norm(routing.v, axis=-1)
    assert f"Longest: output {v.argmax() + 1}." in told
    assert "Couplings" not in told


@pytest.mark.parametrize(
    ("shape", "size"),
    [((1, 1, 1), 1.0), ((1, 1, 2), 1.0), ((20, 3, 2), 1e6), ((2, 2, 2), 1e-9), ((2, 2, 2), 0.0),
     ((3, 12, 4), 1.0), ((1, 2, 5), 1.0), ((5, 1, 3), 0.0), ((2, 2, 2), 1e-200)],
)  # fmt: skip
def test_every_size_can_be_drawn_within_the_sketch(shape, size):
    z = size * np.random.default_rng(0).normal(size=shape)
    sketch = sketch_routing(capsedu.route(z, 2), 2)
    for each in read.shapes(sketch.svg()):
        assert np.isfinite(each.points).all()
        assert (each.points >= 0).all()
        assert (each.points <= (sketch.width, sketch.height)).all()
    assert "nan" not in sketch.svg() + sketch.readout
    assert "Iteration 2 of 2." in sketch.picture().alt


def test_the_image_is_drawn_pixel_by_pixel():
    image = np.zeros((4, 3))
    image[1, 2], image[3, 0] = 1.0, 0.5
    svg = sketch_routing(capsedu.route(np.ones((2, 2, 2)), 1), 1, image, ["left", "right"]).svg()
    drawn = read.shapes(svg)
    (shown,) = (s for s in drawn if s.tag == "image")
    np.testing.assert_allclose(read.grey(shown), image, atol=read.GREY)
    assert {"left", "right"} <= {s.text for s in drawn}
    assert read.arrows(svg, "output v of right,")


def test_clusters_agree_as_much_as_they_are_told():
    z = clusters(1.0)
    angle = np.arctan2(z[..., 1], z[..., 0])
    assert np.ptp(angle[:3, 0]) < 1e-12 and np.ptp(angle[3:5, 1]) < 1e-12
    towards = capsedu.route(z, 10).c
    assert (towards[:3, 0] > 0.9).all() and (towards[3:5, 1] > 0.9).all()
    shares = []
    for agreement in (0, 0.5, 1):  # how long the sum of a group is, as a share of what it can be
        z = clusters(agreement)
        for group in (z[:3, 0], z[3:5, 1]):
            units = group / np.linalg.norm(group, axis=-1, keepdims=True)
            shares.append(np.linalg.norm(units.mean(axis=0)))
    assert shares[0] < shares[2] < shares[4] == pytest.approx(1)
    assert shares[1] < shares[3] < shares[5] == pytest.approx(1)
    assert max(shares[:2]) < 0.02


def test_there_is_no_iteration_beyond_those_that_ran(z):
    for k in (0, 4):
        with pytest.raises(ValueError, match=f"k: got {k}, want an iteration from 1 to 3"):
            sketch_routing(capsedu.route(z, 3), k)


def test_the_png_has_its_arrows_where_the_svg_has_them(z):
    sketch = sketch_routing(capsedu.route(z, 3), 3)
    pixels = matplotlib.image.imread(io.BytesIO(sketch.picture().png))[..., :3]
    for quantity, name in (("v", "output v"), ("s", "total input s")):
        for drawn in read.arrows(sketch.svg(), name):
            x, y = (2 * (drawn.tip + 0.08 * (drawn.start - drawn.tip))).astype(int)
            near = pixels[y - 6 : y + 7, x - 6 : x + 7]
            assert (abs(near - rgb(COLOURS[quantity])).max(axis=-1) < 0.03).any(), name
