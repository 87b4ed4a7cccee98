"""Scissors: every way to cut the graph, against the same function with the cut values stored."""

import itertools
import re

import numpy as np
import pytest
import svg as read
from autograd import grad
from reference import assert_close, autograd_layer, complex_step, loop_layer

from capsedu.explorers import scissors_explorer
from capsedu.figures.palette import COLOURS
from capsedu.sketches.scissors import (
    CUTS,
    NAMES,
    cut_gradient,
    finite_difference,
    sketch_scissors,
)

W = np.array([[1.0, 2.0], [1.0, 0.0]])
EVERY = [cuts for k in range(6) for cuts in itertools.combinations(CUTS, k)]
NUMBER = r"-?\d+\.\d{4}"


def squash(s):
    return s * s / (1 + s * s)  # every s of the example is positive


def v_1(W, cuts=(), stored=None):
    """v_1 after two iterations, m = n = 1 and u = 1; a cut edge carries the `stored` value."""

    def edge(cut, value):
        return stored[cut] if cut in cuts else value

    carried = {}
    carried["z_into_s1"] = carried["z_into_agreement"] = carried["z_into_s2"] = W
    s = np.sum(0.5 * edge("z_into_s1", W), axis=0)
    carried["v_into_agreement"] = squash(s)
    v = edge("v_into_agreement", carried["v_into_agreement"])
    b = np.exp(edge("z_into_agreement", W) * v)
    carried["c_into_s2"] = b / b.sum(axis=1, keepdims=True)
    s = np.sum(edge("c_into_s2", carried["c_into_s2"]) * edge("z_into_s2", W), axis=0)
    return squash(s)[0], carried


def reference(cuts):
    stored = v_1(W)[1]
    return complex_step(lambda x: v_1(x, cuts, stored)[0], W, 1.0)


def detached(which):
    def loss(W):
        return autograd_layer(W[:, :, None, None], np.ones((2, 1)), 2, which)[0, 0]

    return grad(loss)(W)


def test_there_are_32_ways_to_cut():
    assert len(EVERY) == len(set(EVERY)) == 32


@pytest.mark.parametrize("cuts", EVERY)
def test_a_cut_gradient_is_that_of_the_function_with_the_cut_values_stored(cuts):
    assert_close(cut_gradient(cuts), reference(cuts) + 0, 1e-14)


def test_the_reference_tells_the_cuts_apart():
    found = {tuple(reference(cuts).round(12).ravel() + 0.0) for cuts in EVERY}
    assert len(found) == len(NAMES) == 6  # of 8 choices of roads two pairs coincide here


@pytest.mark.parametrize(
    ("cuts", "which", "printed"),
    [
        ((), "", [[0.3063, -0.1175], [0.4287, -0.1175]]),
        (("c_into_s2",), "zv", [[0.1888, 0], [0.3112, 0]]),
        (("z_into_agreement",), "z", [[0.2475, -0.0588], [0.3700, -0.0588]]),
        (("v_into_agreement",), "v", [[0.2475, -0.0588], [0.3700, -0.0588]]),
        (("z_into_agreement", "v_into_agreement"), "zv", [[0.1888, 0], [0.3112, 0]]),
    ],
)
def test_the_gradients_that_codes_compute_are_among_them(cuts, which, printed):
    assert_close(cut_gradient(cuts), detached(which), 1e-14)
    np.testing.assert_array_equal(cut_gradient(cuts).round(4) + 0.0, printed)


def test_the_finite_difference_is_computed_and_finds_the_exact_gradient():
    error = abs(finite_difference() - reference(())).max()
    assert 0 < error < 1e-9


def test_an_unknown_cut_is_refused():
    for function in (cut_gradient, sketch_scissors):
        with pytest.raises(ValueError, match=r"cuts: got .*'z_into_s3'.*want some of.*z_into_s1"):
            function(["z_into_s3"])


UNROLLED, FROZEN, Z_CUT, V_CUT = (detached(which) for which in ("", "zv", "z", "v"))
NAMED = {  # of two that are said to be the same, both
    "unrolled, the exact gradient": [UNROLLED],
    "frozen, the couplings held constant": [FROZEN],
    "half-detached: z or v¹ cut in the agreement, the same here": [Z_CUT, V_CUT],
    "only through the couplings: unrolled − frozen": [UNROLLED - FROZEN],
    "only through the couplings, directly to z or by way of v¹, the same here": [
        V_CUT - FROZEN,
        Z_CUT - FROZEN,
    ],
    "zero, no road leads from L to W": [np.zeros((2, 2))],
}


@pytest.mark.parametrize("cuts", EVERY)
def test_the_readout_names_the_gradient_and_tells_its_numbers(cuts):
    told = sketch_scissors(cuts).readout
    cut, gradient, rest = re.match(r"Cut: (.*?)\. Gradient: (.*?)\. (.*)", told).groups()
    assert cut == (", ".join(CUTS[key] for key in CUTS if key in cuts) or "nothing")
    numbers = np.array(re.findall(NUMBER, rest), dtype=float)
    want = reference(cuts)
    for called, same in NAMED.items():
        for each in same:
            assert np.allclose(each, want, atol=1e-12) == (called == gradient)
    wanted = np.array([*want.ravel(), *reference(()).ravel(), want[0, 1]])
    np.testing.assert_allclose(numbers, wanted, rtol=0, atol=0.5001e-4)


@pytest.mark.parametrize("cuts", EVERY)
def test_the_readout_tells_which_cuts_are_idle(cuts):
    found = re.search(
        r"Untick one of these alone, and nothing changes: (.*)\.", sketch_scissors(cuts).readout
    )
    told = found[1].split("; ") if found else []
    here = reference(cuts)
    idle = [key for key in cuts if np.allclose(reference(set(cuts) - {key}), here, atol=1e-12)]
    assert told == [CUTS[key] for key in CUTS if key in idle]


FORWARD = {  # head, tail, cut: typed in again, to find what a gradient reaches
    *(("z", "W", ""), ("s¹", "z", "z_into_s1"), ("v¹", "s¹", ""), ("b", "v¹", "v_into_agreement")),
    *(("b", "z", "z_into_agreement"), ("c²", "b", ""), ("s²", "c²", "c_into_s2")),
    *(("s²", "z", "z_into_s2"), ("v²", "s²", ""), ("L", "v²", "")),
}


def hears(node, cuts):
    """Whether a way leads from the node to L."""
    return node == "L" or any(
        tail == node and cut not in cuts and hears(head, cuts) for head, tail, cut in FORWARD
    )


@pytest.mark.parametrize("cuts", EVERY)
def test_cut_edges_are_drawn_cut_and_those_that_carry_a_gradient_thick(cuts):
    drawn = read.shapes(sketch_scissors(cuts).svg())
    nodes = {each.text: each.points[0] for each in drawn if each.text}
    assert [each.text for each in drawn].count("cut") == len(cuts)
    for head, tail, cut in FORWARD:
        name = CUTS.get(cut, f"{tail} into {head}")
        lines = [each for each in drawn if each.name == name and each.tag == "polyline"]
        pieces = [each for each in drawn if each.name == f"{name}, cut"]
        if cut and cut in cuts:
            assert not lines
            one, other = (each.points for each in pieces if each.dash)
            assert {each.colour for each in pieces if each.dash} == {COLOURS["muted"]}
            assert np.linalg.norm(one[-1] - other[0]) > 5  # the gap
            ends = one[0], other[-1]
            assert len([each for each in pieces if each.tag == "polygon"]) == 0  # no arrow head
        else:
            assert not pieces
            assert all(not each.dash for each in lines)
            width = max(each.width for each in lines)
            assert width == (2.4 if hears(head, cuts) else 1)
            ends = lines[0].points[0], read.arrows(sketch_scissors(cuts).svg(), name)[0].tip
        for end, node in zip(ends, (tail, head), strict=True):
            assert 14 < np.linalg.norm(end - nodes[node]) < 18  # at the rim


@pytest.mark.parametrize("cuts", EVERY)
def test_the_numbers_of_the_picture_are_the_gradients(cuts):
    drawn = read.shapes(sketch_scissors(cuts).svg())
    entries = [float(each.text) for each in drawn if re.fullmatch(NUMBER, each.text)]
    want = reference(cuts), reference(()), reference(()) - reference(cuts)
    np.testing.assert_allclose(entries, np.ravel(want), rtol=0, atol=0.5001e-4)


@pytest.mark.parametrize("cuts", EVERY)
def test_the_curve_and_both_slopes_are_where_the_numbers_say(cuts):
    svg = sketch_scissors(cuts).svg()
    drawn = read.shapes(svg)
    ticks = {each.text: each.points[0] for each in drawn if re.fullmatch(r"[024]|0\.\d", each.text)}
    x0, x4, y3, y6 = ticks["0"][0], ticks["4"][0], ticks["0.3"][1], ticks["0.6"][1]

    def numbers(points):
        x, y = points.T
        return 4 * (x - x0) / (x4 - x0), 0.3 + 0.3 * (y - y3) / (y6 - y3)

    (curve,) = [each for each in drawn if each.name == "output v₁"]
    for w, v in np.transpose(numbers(curve.points))[::10]:
        example = np.array([[1.0, w], [1.0, 0.0]])[:, :, None, None]
        assert v == pytest.approx(loop_layer(example, np.ones((2, 1)), 2)[1][-1][3][0, 0], abs=1e-3)
    for start, want in (("exact: slope", reference(())), ("these cuts: slope", reference(cuts))):
        (line,) = [each for each in drawn if each.name.startswith(start)]
        w, v = numbers(line.points)
        assert (v[1] - v[0]) / (w[1] - w[0]) == pytest.approx(want[0, 1], abs=2e-4)
        assert np.interp(2, w, v) == pytest.approx(0.5, abs=1e-3)
    is_frozen = "Gradient: frozen" in sketch_scissors(cuts).readout
    assert line.colour == COLOURS["frozen" if is_frozen else "muted"]
    assert line.dash


def test_the_explorer_draws_what_is_ticked():
    explorer = scissors_explorer()
    assert list(explorer.controls) == list(CUTS)
    frame = explorer.frames[None]
    assert sketch_scissors().svg() in frame.value
    explorer.controls["z_into_s1"].value = explorer.controls["c_into_s2"].value = True
    assert sketch_scissors(["z_into_s1", "c_into_s2"]).svg() in frame.value
    for key, control in explorer.controls.items():
        assert control.description == f"cut {CUTS[key]}"
    for cuts in ((), ("c_into_s2",), ("v_into_agreement",)):
        assert sketch_scissors(cuts).readout in explorer.still.alt
