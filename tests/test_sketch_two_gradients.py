"""Two gradients: numbers against autograd, shares against held logits, arrows against both."""

import functools
import re

import autograd.numpy as anp
import numpy as np
import pytest
import svg as read
from autograd import grad
from reference import assert_close, autograd_layer, complex_step

from capsedu import route
from capsedu.explorers import gradients_explorer
from capsedu.explorers.two_gradients import random_layer
from capsedu.figures.palette import COLOURS
from capsedu.sketches.two_gradients import (
    ITERATIONS,
    compare_gradients,
    groups,
    sketch_gradients,
)

SCALES = (0.1, 1.0, 3.0)
SHORT = [r for r in ITERATIONS if r <= 30]


@pytest.fixture(scope="module")
def layer():
    rng = np.random.default_rng(5)
    return rng.normal(size=(4, 3, 2, 3)), rng.normal(size=(4, 3)), rng.normal(size=(3, 2))


@pytest.fixture(scope="module")
def both(layer):
    return compare_gradients(*layer)[0]


@functools.cache
def random_ones(capsules):
    """What the explorer compares, by scale."""
    return dict(zip(SCALES, compare_gradients(*random_layer(capsules), SCALES), strict=True))


def autograd_dW(layer, r, detached):
    W, u, dv = layer
    return grad(lambda W: anp.sum(dv * autograd_layer(W, u, r, detached)))(W)


def angle_and_ratio(one, other):
    lengths = np.linalg.norm(one), np.linalg.norm(other)
    return np.sum(one * other) / lengths[0] / lengths[1], lengths[1] / lengths[0]


# The numbers


@pytest.mark.parametrize("r", SHORT)
def test_cosine_and_ratio_are_of_the_two_dW_that_autograd_finds(layer, both, r):
    k = ITERATIONS.index(r)
    frozen, unrolled = (autograd_dW(layer, r, detached) for detached in ("zv", ""))
    cosine, ratio = angle_and_ratio(frozen, unrolled)
    assert both.cosine[k] == pytest.approx(cosine, rel=1e-10)
    assert both.ratio[k] == pytest.approx(ratio, rel=1e-10)
    # Of dz, which has no u beside it, they would be others.
    if 1 < r < 10:
        assert angle_and_ratio(both.frozen[k], both.unrolled[k])[0] != pytest.approx(cosine, 1e-6)


@pytest.mark.parametrize("r", SHORT)
def test_dz_are_those_that_autograd_finds(layer, both, r):
    W, u, dv = layer
    z, k = np.einsum("ijmn,in->ijm", W, u), ITERATIONS.index(r)
    assert_close(both.z, z, 1e-14)
    as_layer = (z[..., None], np.ones((4, 1)), dv)
    for found, detached in ((both.frozen, "zv"), (both.unrolled, "")):
        assert_close(found[k], autograd_dW(as_layer, r, detached)[..., 0], 1e-11)


def test_a_scale_multiplies_W(layer):
    W, u, dv = layer
    for scale, found in zip((0.5, 2.0), compare_gradients(W, u, dv, (0.5, 2.0)), strict=True):
        alone = compare_gradients(scale * W, u, dv)[0]
        for name in ("z", "cosine", "ratio"):
            assert_close(getattr(found, name), getattr(alone, name), 1e-9)


@pytest.mark.parametrize("r", [1, 2, 3, 5, 10])
def test_a_share_is_what_holding_the_logits_before_it_takes_away(layer, both, r):
    """The sweep through the last q iterations is exact where the logits before it are stored."""
    dv, k = layer[2], ITERATIONS.index(r)
    steps = route(both.z, r).steps

    def last(q, z):
        b = steps[r - q].b
        for _ in range(q):
            c = np.exp(b) / np.exp(b).sum(axis=-1, keepdims=True)
            s = np.sum(c[..., None] * z, axis=0)
            t = np.sqrt(np.sum(s * s, axis=-1, keepdims=True))
            v = t * s / (1 + t * t)
            b = b + np.sum(z * v, axis=-1)
        return v

    swept = [complex_step(lambda z, q=q: last(q, z), both.z, dv) for q in ITERATIONS[: k + 1]]
    dz = swept[-1]
    want = np.diff([np.sum(part * dz) / np.sum(dz * dz) for part in swept], prepend=0)
    np.testing.assert_allclose(both.shares[k], want, rtol=0, atol=1e-11)


def test_the_shares_sum_to_one_and_their_groups_are_every_iteration_once(both):
    for k, r in enumerate(ITERATIONS):
        assert both.shares[k].sum() == pytest.approx(1, abs=1e-9)
        found = [list(map(int, name.split("–"))) for name in groups(k)]
        counted = [x for group in found for x in range(group[0], group[-1] - 1, -1)]
        assert counted == list(range(r, 0, -1))
    assert groups(4) == ["10", "9", "8", "7–6", "5–1"]


@pytest.mark.parametrize("capsules", [2, 3, 5])
def test_they_coincide_part_and_meet_again_but_with_small_weights_not_yet(capsules):
    large, small = (random_ones(capsules)[scale] for scale in (1.0, 0.1))
    for each in (large, small):
        np.testing.assert_array_equal(each.frozen[0], each.unrolled[0])
        assert each.cosine[0] == pytest.approx(1, abs=1e-12)
    assert large.cosine.min() < 0.98
    assert large.cosine[-1] > 0.9999
    assert large.ratio[-1] == pytest.approx(1, abs=0.01)
    assert small.cosine[-1] < 0.96
    assert small.ratio[-1] > 1.5


def test_the_layer_that_is_shown_first_parts_widely():
    both = random_ones(3)[1.0]
    assert both.cosine[ITERATIONS.index(10)] < 0.6
    assert both.ratio[ITERATIONS.index(10)] > 2


def test_a_tie_grows_beyond_what_can_be_squared():
    tie = np.ones((2, 2, 1, 1)), np.ones((2, 1)), np.array([[1.0], [0.0]])
    both = compare_gradients(*tie)[0]
    # dz is (1.5^(r−1) − 1)/4 as long in either output, and ¼ in the frozen one (notebook 06).
    assert both.ratio[-1] == pytest.approx(np.sqrt(2) * 1.5**999, rel=1e-9)
    assert both.cosine[-1] == pytest.approx(np.sqrt(0.5), abs=1e-9)
    assert "nan" not in sketch_gradients(both, 1000).svg()


# The picture


def planes(svg, both):
    """For each output: origin and tips of z in pixels, and what one unit of z is in pixels."""
    found = []
    I, J, _ = both.z.shape
    for j in range(J):
        heads = [
            read.arrows(svg, f"prediction of input {i + 1} for output {j + 1}")[0] for i in range(I)
        ]
        tips = np.array([head.tip for head in heads])
        design = np.zeros((2 * I, 3))  # x = x0 + a z_x, y = y0 − a z_y
        design[0::2, 0] = design[1::2, 1] = 1
        design[:, 2] = (both.z[:, j] * (1, -1)).ravel()
        (x0, y0, unit), *_ = np.linalg.lstsq(design, tips.ravel(), rcond=None)
        np.testing.assert_allclose(design @ (x0, y0, unit), tips.ravel(), rtol=0, atol=0.12)
        assert {head.colour for head in heads} == {COLOURS["z"]}
        found.append((tips, unit))
    return found


@pytest.mark.explorer
@pytest.mark.parametrize("capsules", [2, 3, 5])
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("r", [1, 10, 1000])
def test_dz_are_arrows_at_the_tips_of_z_to_one_scale(capsules, scale, r):
    both = random_ones(capsules)[scale]
    svg, k = sketch_gradients(both, r).svg(), ITERATIONS.index(r)
    larger = float(re.search(r"dz drawn × (\S+),", svg)[1])
    units = []
    for j, (tips, unit) in enumerate(planes(svg, both)):
        units.append(unit)
        for rule, dz in (("frozen", both.frozen[k]), ("unrolled", both.unrolled[k])):
            for i, tip in enumerate(tips):
                name = f"{rule} dz of input {i + 1} for output {j + 1},"
                want = tip + unit * larger * dz[i, j] * (1, -1)
                found = read.arrows(svg, name)
                if np.linalg.norm(want - tip) > 0.2:
                    assert np.linalg.norm(found[0].tip - want) < 0.2
                    assert found[0].colour == COLOURS[rule]
                    assert found[0].start is None or np.linalg.norm(found[0].start - tip) < 0.1
    assert max(units) == pytest.approx(min(units), rel=1e-2)


def test_frozen_is_dashed_and_unrolled_solid(both):
    drawn = read.shapes(sketch_gradients(both, 3).svg())
    for rule, dashed in (("frozen", True), ("unrolled", False)):
        lines = [each for each in drawn if each.name.startswith(f"{rule} dz") and each.width]
        assert lines
        assert all(bool(each.dash) == dashed for each in lines)


def test_the_arrows_stay_in_the_sketch_and_z_stands_still(both):
    seen = []
    for r in ITERATIONS:
        sketch = sketch_gradients(both, r)
        for each in read.shapes(sketch.svg()):
            assert (each.points > 0).all(), each
            assert (each.points < (sketch.width, sketch.height)).all(), each
        seen.append(np.concatenate([tips for tips, _ in planes(sketch.svg(), both)]))
    assert all(np.array_equal(each, seen[0]) for each in seen)


@pytest.mark.parametrize("r", ITERATIONS)
def test_curves_mark_and_bars_are_the_numbers(both, r):
    drawn, k = read.shapes(sketch_gradients(both, r).svg()), ITERATIONS.index(r)
    curves = [each.points for each in drawn if each.tag == "polyline" and len(each.points) == 9]
    for curve, values in zip(curves, (both.cosine, np.log10(both.ratio)), strict=True):
        np.testing.assert_allclose(np.ptp(curve[:, 0]) * np.log10(ITERATIONS) / 3,
                                   curve[:, 0] - curve[0, 0], atol=0.15)  # fmt: skip
        gain = np.polyfit(values, curve[:, 1], 1)
        assert gain[0] < 0
        np.testing.assert_allclose(np.polyval(gain, values), curve[:, 1], atol=0.12)
    marks = [each for each in drawn if each.name.startswith(f"r = {r}:")]
    for mark, curve in zip(marks, curves, strict=True):
        centre = (mark.points.min(axis=0) + mark.points.max(axis=0)) / 2
        assert np.linalg.norm(centre - curve[k]) < 0.3
    bars = [each for each in drawn if each.name.startswith("iteration ")]
    assert [re.match(r"iteration (\S+):", each.name)[1] for each in bars] == groups(k)
    ends = np.array([each.points[1, 0] - each.points[0, 0] for each in bars])
    every = np.concatenate(both.shares)
    width = 118 / (max(1, every.max()) - min(0, every.min()))
    np.testing.assert_allclose(ends, width * both.shares[k], atol=0.15)
    assert bars[0].colour == COLOURS["frozen"]
    assert {bar.colour for bar in bars[1:]} <= {COLOURS["unrolled"]}


@pytest.mark.parametrize("r", ITERATIONS)
def test_the_readout_tells_the_numbers(both, r):
    told, k = sketch_gradients(both, r).readout, ITERATIONS.index(r)
    said, cosine, ratio, shares = re.fullmatch(
        r"r = (\d+)\. Of the two dW: cosine (\S+), length unrolled / frozen (\S+)\. "
        r"Share of each iteration in the unrolled dz, last to first: (.*)\.",
        told,
    ).groups()
    assert int(said) == r
    assert float(cosine) == pytest.approx(both.cosine[k], abs=0.501e-3)
    assert float(ratio) == pytest.approx(both.ratio[k], rel=0.501e-2)
    named = [share.split(": ") for share in shares.split("; ")]
    assert [name for name, _ in named] == groups(k)
    numbers = [float(share) for _, share in named]
    np.testing.assert_allclose(numbers, both.shares[k], rtol=0, atol=0.00501)


# The explorer, with and without arrays


@pytest.mark.explorer
def test_the_explorer_shows_what_its_controls_say():
    explorer = gradients_explorer()
    assert tuple(explorer.frames) == ITERATIONS
    for scale, capsules in ((1.0, 3), (0.1, 3), (3.0, 5), (1.0, 2)):
        explorer.controls["scale"].value = scale
        explorer.controls["capsules"].value = capsules
        both = random_ones(capsules)[scale]
        for r, frame in explorer.frames.items():
            readout = re.search(r'<p role="status"[^>]*>(.*)</p>', frame.value)[1]
            assert readout == sketch_gradients(both, r).readout
    for r in (1, 10, 1000):
        assert f"r = {r}. Of the two dW" in explorer.still.alt


@pytest.mark.explorer
@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (3, 1, 2, 2), (20, 2, 3, 4), (2, 7, 1, 2)])
def test_every_layer_can_be_given(shape):
    I, J, m, n = shape
    rng = np.random.default_rng(3)
    W, u, dv = rng.normal(size=shape), rng.normal(size=(I, n)), rng.normal(size=(J, m))
    explorer = gradients_explorer(W, u, dv)
    assert set(explorer.controls) == {"r", "scale"}
    for scale in (0.1, 3.0):
        explorer.controls["scale"].value = scale
        assert all("nan" not in frame.value for frame in explorer.frames.values())
    drawn = read.shapes(sketch_gradients(compare_gradients(W, u, dv)[0], 3).svg())
    heads = [each for each in drawn if each.name.startswith("prediction") and not each.width]
    assert len(heads) == J * min(I, 16)


def changed(layer, **other):
    return dict(zip(("W", "u", "dv"), layer, strict=True)) | other


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"u": np.ones((5, 3))}, ["u: got shape (5, 3)", "(…, 4, 3)"]),
        ({"u": np.ones((2, 4, 3))}, ["u: got shape (2, 4, 3)", "want (4, 3)"]),
        ({"dv": np.ones((2, 2))}, ["dv: got shape (2, 2)", "want (3, 2)"]),
        ({"dv": np.full((3, 2), np.nan)}, ["dv: holds NaN"]),
        ({"u": np.full((4, 3), np.inf)}, ["u: holds NaN, infinity"]),
        ({"W": np.full((4, 3, 2, 3), 1j)}, ["W: holds", "complex"]),
        ({"dv": np.zeros((3, 2))}, ["the gradient is zero"]),
        ({"u": np.zeros((4, 3))}, ["the gradient is zero"]),
        ({"dv": None}, ["dv: missing, want W, u and dv"]),
        ({"u": None, "dv": None}, ["u, dv: missing"]),
        ({"W": None}, ["W: missing"]),
    ],
)
def test_what_cannot_be_shown_is_refused_in_words(layer, other, words):
    with pytest.raises(ValueError) as error:
        gradients_explorer(**changed(layer, **other))
    assert all(word in str(error.value) for word in words), error.value


def test_there_are_no_other_numbers_of_iterations(both):
    with pytest.raises(ValueError, match=r"r: got 4, want one of \(1, 2, 3, 5"):
        sketch_gradients(both, 4)
