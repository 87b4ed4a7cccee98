"""The gradient-check sketch: curves, dots and words against sweeps whose make-up is known."""

import itertools
import re
from dataclasses import replace

import numpy as np
import pytest
import svg as read
from reference import complex_step_jacobian

from capsedu.explorers import check_explorer
from capsedu.numerical_derivatives import StepSweep, step_sweep
from capsedu.sketches.checking import dominant, sketch_check, verdict

EPS = np.finfo(float).eps
STEPS = 10.0 ** (-np.arange(49) / 3)
NAMES = ("forward", "central", "complex step")


def sweep_of(floor=0.0, steps=STEPS):
    """Errors made of a truncation, a rounding and a floor that are known."""
    return StepSweep(
        steps,
        forward=abs(floor + 0.3 * steps) + EPS / steps,
        central=abs(floor - 0.2 * steps**2) + EPS / steps,
        complex_step=np.maximum(abs(floor + 0.2 * steps**2), EPS),
    )


RIGHT, WRONG = sweep_of(), sweep_of(floor=0.1)


def errors_of(sweep):
    return dict(zip(NAMES, (sweep.forward, sweep.central, sweep.complex_step), strict=True))


def decades(shapes, at):
    """From pixels to (log10 h, log10 error), by the places of the ticks."""
    ends = [shape.points[0] for shape in shapes if shape.text in ("1", "1e-16")]
    lowest = max(y for _, y in ends)  # where the ticks of h are written
    x_0, x_1 = sorted(x for x, y in ends if y == lowest)
    y_0, y_1 = sorted(y for _, y in ends if y < lowest)
    return (np.asarray(at) - (x_0, y_0)) / (x_1 - x_0, y_1 - y_0) * -16


@pytest.mark.parametrize("k", [0, 12, 30, 48])
@pytest.mark.parametrize("sweep", [RIGHT, WRONG, sweep_of(floor=1e6)], ids=["V", "floor", "high"])
def test_curves_dots_and_line_stand_where_the_sweep_says(sweep, k):
    shapes = read.shapes(sketch_check(sweep, k).svg())
    curves = [s for s in shapes if s.tag == "polyline" and len(s.points) == 49]
    dots = [s for s in shapes if s.tag == "polygon"]
    wanted = errors_of(sweep)
    for curve, dot, (name, errors) in zip(curves, dots, wanted.items(), strict=True):
        x, y = decades(shapes, curve.points).T
        assert x == pytest.approx(np.log10(STEPS), abs=0.01)
        assert y == pytest.approx(np.log10(errors), abs=0.015)
        assert decades(shapes, dot.points[:-1].mean(axis=0)) == pytest.approx(
            np.log10([STEPS[k], errors[k]]), abs=0.02
        )
        assert dot.name == f"{name}: error {errors[k]:.1e}"
        assert dot.colour == curve.colour
    assert len({(c.colour, c.dash) for c in curves}) == len({c.dash for c in curves}) == 3
    (line,) = [s for s in shapes if s.name.startswith("step ")]
    assert decades(shapes, line.points)[:, 0] == pytest.approx([np.log10(STEPS[k])] * 2, abs=0.01)
    # Smaller steps lie to the right; nothing leaves the picture.
    assert (np.diff(curves[0].points[:, 0]) > 0).all()
    for shape in shapes:
        assert (shape.points >= 0).all() and (shape.points <= (760, 340)).all()


def test_what_dominates_is_what_the_error_is_made_of():
    for method, errors in (("forward", RIGHT.forward), ("central", RIGHT.central)):
        seen = []
        for k, h in enumerate(STEPS):
            truncation = 0.3 * h if method == "forward" else 0.2 * h**2
            said = dominant(RIGHT, method, k)
            seen.append(said.partition(":")[0])
            if seen[-1] == "near the bottom of the V":
                assert errors[k] < 5 * errors.min()
            else:
                assert seen[-1] == ("truncation" if truncation > EPS / h else "rounding")
                assert errors[k] > 1.5 * errors.min()
            if seen[-1] == "truncation":
                assert said.endswith("falls as h" if method == "forward" else "falls as h²")
        assert [name for name, _ in itertools.groupby(seen)] == [
            "truncation", "near the bottom of the V", "rounding"
        ]  # fmt: skip
    for k, h in enumerate(STEPS):
        said = dominant(RIGHT, "complex_step", k)
        assert said == ("truncation: falls as h²" if 0.2 * h**2 > 2e-14 else "rounding alone")


def test_a_wrong_gradient_stands_on_its_floor():
    for k, h in enumerate(STEPS):
        for method, truncation in (("forward", 0.3 * h), ("complex_step", 0.2 * h**2)):
            said = dominant(WRONG, method, k)
            if truncation > 0.2:
                assert said.startswith("truncation")
            elif truncation < 0.05 and h > 1e-14:
                assert said == "the floor: a smaller step is no help"
    passes, why = verdict(WRONG)
    assert not passes and "all three stop at 1.0e-01" in why and "another function" in why


def test_one_step_that_happens_to_be_right_is_not_taken_for_the_best():
    lucky = RIGHT.forward.copy()
    lucky[40] = 1e-15
    sweep = replace(RIGHT, forward=lucky)
    for k in (20, 39, 40, 41):
        assert dominant(sweep, "forward", k) == dominant(RIGHT, "forward", k)


@pytest.mark.parametrize("k", [0, 24, 48])
@pytest.mark.parametrize(("sweep", "word"), [(RIGHT, "Passes"), (WRONG, "Fails")])
def test_readout_and_words_say_the_same_numbers(sweep, word, k):
    sketch = sketch_check(sweep, k, "my gradient")
    told = re.match(
        r"My gradient. Step h = (\S+)\. Errors: forward (\S+) \((.*)\); central (\S+) \((.*)\); "
        r"complex step (\S+) \((.*)\)\. (Passes|Fails): ",
        sketch.readout,
    )
    errors = [each[k] for each in errors_of(sweep).values()]
    assert [float(x) for x in told.group(1, 2, 4, 6)] == pytest.approx(
        [STEPS[k], *errors], rel=0.051
    )
    assert told[8] == word
    texts = [shape.text for shape in read.shapes(sketch.svg()) if shape.text]
    assert f"h = {told[1]}" in texts
    for name, number, why in zip(NAMES, told.group(2, 4, 6), told.group(3, 5, 7), strict=True):
        at = texts.index(f"{name}: {number}")
        assert texts[at + 1] == why
    assert f"{word}:" in texts


@pytest.mark.parametrize(("share", "passes"), [(0, True), (1e-12, True), (1e-6, False), (2, False)])
def test_the_verdict_on_gradients_that_are_right_and_wrong(share, passes):
    x = np.array([0.3, -1.2, 0.7])

    def function(x):
        return np.exp(x) * np.sin(x.sum())

    def vjp(x, dy):
        return (1 + share) * dy @ complex_step_jacobian(function, x)

    sweep = step_sweep(function, vjp, {"x": x})
    assert verdict(sweep)[0] is passes
    # n against (1 + share) n: the error is share/(1 + share), whatever the function.
    if not passes:
        assert sketch_check(sweep, 48).readout.count(f"{share / (1 + share):.1e}") >= 2


def test_the_three_gradients_of_the_explorer_are_judged_rightly():
    explorer = check_explorer()
    names = explorer.controls["gradient"].options
    judged = {}
    for name in names:
        explorer.controls["gradient"].value = name
        assert len({frame.value for frame in explorer.frames.values()}) == 49
        assert all(f"{name[1:]}. Step" in frame.value for frame in explorer.frames.values())
        judged[name] = {
            re.search(r"\. (Passes|Fails):", f.value)[1] for f in explorer.frames.values()
        }
    assert judged == {
        "frozen, couplings held": {"Passes"},
        "frozen, couplings free": {"Fails"},
        "unrolled, couplings free": {"Passes"},
    }
    assert all(name.capitalize() in explorer.still.alt for name in names)


def test_a_lecturer_hands_in_sweeps():
    steps = 10.0 ** -np.arange(3.0, 13.0)
    explorer = check_explorer({"mine": sweep_of(steps=steps), "other": sweep_of(0.1, steps)})
    assert list(explorer.frames) == list(range(10))
    assert explorer.controls["step"].value == 1  # 1e-4
    explorer.controls["gradient"].value = "other"
    for k, frame in explorer.frames.items():
        assert sketch_check(sweep_of(0.1, steps), k, "other").svg() in frame.value


NOT_A_NUMBER = replace(RIGHT, central=np.where(STEPS < 1, RIGHT.central, np.nan))


@pytest.mark.parametrize(
    ("sweeps", "words"),
    [
        ({}, ["sweeps", "none", "at least one"]),
        ({"a": RIGHT, "b": sweep_of(steps=STEPS[:30])}, ["sweeps", "different", "same"]),
        ({"mine": NOT_A_NUMBER}, ["mine", "NaN"]),
        ({"mine": sweep_of(steps=STEPS[:12])}, ["mine", "last step", "0.000215", "1e-06"]),
        ({"mine": sweep_of(steps=STEPS[::-1])}, ["mine", "smaller"]),
        ({"mine": sweep_of(steps=np.array([1.0, 1e-9]))}, ["mine", "3 or more"]),
    ],
)
def test_what_cannot_be_drawn_is_refused_in_words(sweeps, words):
    with pytest.raises(ValueError) as error:
        check_explorer(sweeps)
    assert all(word in str(error.value) for word in words), error.value


@pytest.mark.parametrize("k", [-1, 49])
def test_there_is_no_step_beyond_those_of_the_sweep(k):
    with pytest.raises(ValueError, match=f"k: got {k}, want a number from 0 to 48"):
        sketch_check(RIGHT, k)
