"""Squash: vectors and their lengths, a circle, and one s with its v, J, two gains and an ε."""

import math

import numpy as np

from capsedu.arguments import check_shape
from capsedu.figures.palette import COLOURS
from capsedu.sketches.plane import CIRCLE, Plane, ticks
from capsedu.sketches.sketch import Sketch
from capsedu.squashing import gains, length_and_direction, squash

WIDTH, HEIGHT = 760, 290  # pixels of the sketch
LENGTHS = np.geomspace(1e-5, 1e3, 97)  # the least and the largest ‖s‖ that can be shown
REACH = 1.15  # a longer s is drawn as long as this: it would leave the plane
WINDOW = 1.3  # the planes show so much beyond the unit circle, or beyond the dotted one
ACROSS, ALONG = (), (6, 4)  # the lines of what happens across s, and along it
DESCRIPTION = (
    "Left, the total input s and its squashed v in the plane, with the unit circle. Middle, the "
    "image of the unit circle under the Jacobian at s: an ellipse whose half axes are the two "
    "gains, across s and along it (dashed), beside a dotted circle whose radius is told; in grey "
    "the ellipse of the textbook form with an epsilon under the root. Right, the two gains over "
    "the length of s, both axes logarithmic, with dots at the present length; in grey those with "
    "epsilon, which stay level where the exact ones go to 0."
)


def sketch_vectors(s: np.ndarray) -> Sketch:
    """Total inputs s and outputs v = squash(s) in the plane, and ‖v‖ = ‖s‖²/(1+‖s‖²).

    Parameters
    ----------
    s : ndarray, shape (K, 2)

    Raises
    ------
    ValueError
        If `s` has another shape.
    """
    check_shape("s", s, batch=(), K=None, m=2)
    v = squash(s)
    t, length = (np.linalg.norm(x, axis=-1) for x in (s, v))
    description = (
        "Left, vectors s in the plane and their squashed v: each v points where its s points and "
        "ends inside the unit circle. Right, the length of v over that of s, a curve that rises "
        "from 0 towards 1, flat at both ends."
    )
    told = ", ".join(f"{a:.2f} becomes {b:.2f}" for a, b in zip(t, length, strict=True))
    sketch = Sketch(WIDTH, 310, "Squash", description, f"The lengths: {told}.")
    plane = Plane.around(s, sketch, (4, 30, 360, 276))
    plane.title("s (thin), v (thick), the unit circle")
    plane.unit_circle()
    for tips, quantity, width in ((s, "s", 1.5), (v, "v", 4)):
        for tip in tips:
            plane.arrow(tip, COLOURS[quantity], width, quantity)
    reach = max(1, t.max()) + 0.1
    plot = Plane(sketch, 420, 34, 320, 230, (0, reach), (0, 1.05))
    plot.axes("length of s", "length of v", ticks(reach), {0: "0", 0.5: "½", 1: "1"})
    plot.path([(0, 1), (reach, 1)], COLOURS["muted"], width=1, dash=(1, 3))
    grid = np.linspace(0, reach, 200)
    plot.path(np.stack([grid, grid**2 / (1 + grid**2)], axis=-1), COLOURS["v"], width=3)
    for at in zip(t, length, strict=True):
        plot.dot(at, COLOURS["v"])
    return sketch


def sketch_circle(s: np.ndarray, radius: float) -> Sketch:
    """A circle round s, with its diameters across s and along it, and what squash makes of them.

    Parameters
    ----------
    s : ndarray, shape (2,)
        The middle: both entries larger than the radius.
    radius : float

    Raises
    ------
    ValueError
        If `s` has another shape.
    """
    check_shape("s", s, batch=(), m=2)
    e = s / np.linalg.norm(s)
    steps = radius * np.linspace(1, -1, 51)[:, None]
    across, along = s + steps * [-e[1], e[0]], s + steps * e
    circle = s + radius * CIRCLE
    long, thick = (np.linalg.norm(squash(x[-1]) - squash(x[0])) for x in (across, along))
    description = (
        "Left, a circle round s, with one diameter across s and one along it (dashed). Right, what "
        "squash makes of it: a thin needle that lies across v, inside the unit circle."
    )
    told = (
        f"The circle round s = ({s[0]:g}, {s[1]:g}) has radius {radius:g}; "
        f"the needle is {long:.2f} long and {thick:.3f} thick."
    )
    sketch = Sketch(WIDTH, 390, "A circle squashed", description, told)
    reach = circle.max() + 0.3
    left = Plane(sketch, 40, 30, 330, 330, (0, reach), (0, reach))
    right = Plane(sketch, 420, 30, 330, 330, (0, 1.02), (0, 1.02))
    left.title("s: a circle")
    right.title("v = squash(s): a needle")
    right.path(CIRCLE[:26], COLOURS["muted"], width=1, dash=(1, 3))
    for plane, map_, quantity in ((left, np.array, "s"), (right, squash, "v")):
        plane.axes("", "", ticks(plane.x[1]), ticks(plane.x[1]))
        plane.path(map_(circle), COLOURS[quantity], width=0, opacity=0.3)
        plane.path(map_(across), COLOURS[quantity], width=3, dash=ACROSS)
        plane.arrow(map_(s), COLOURS[quantity], 2, quantity)
        plane.path(map_(along), "#000000", width=2.5, dash=ALONG)
    return sketch


def epsilon_gains(t: np.ndarray, epsilon: float) -> tuple[np.ndarray, np.ndarray]:
    """τ/(1+τ²) and (2t² + ε (1+τ²)) / (τ (1+τ²)²),  τ = ‖s‖_ε = √(t²+ε): gains with ε, t = ‖s‖.

    Of the textbook form v_ε = ‖s‖_ε²/(1+‖s‖_ε²) s/‖s‖_ε, across s and along it; ‖v_ε‖ is t times
    the first. Its Jacobian is g 1 + h s sᵀ with squash's g and h at τ for t, so the second is
    g + h t², brought to one denominator, where nothing cancels.
    """
    tau = np.sqrt(t * t + epsilon)
    above = 1 + tau * tau
    return tau / above, (2 * t * t + epsilon * above) / (tau * above**2)


def sketch_squash(length: float, degrees: float, epsilon: float = 1e-7) -> Sketch:
    """Draw s and v, J's image of the unit circle and the gains, exact and with ε under the root.

    Parameters
    ----------
    length : float
        ‖s‖, from 1e-5 to 1e3.
    degrees : float
        The direction of s, counted from the x axis.
    epsilon : float
        ε > 0 of the textbook form.

    Raises
    ------
    ValueError
        If the length or ε lies outside.
    """
    if not LENGTHS[0] <= length <= LENGTHS[-1]:
        raise ValueError(f"length: got {length}, want a number from 1e-5 to 1e3")
    if not 0 < epsilon < math.inf:
        raise ValueError(f"epsilon: got {epsilon}, want a positive number")
    s = length * np.array([math.cos(math.radians(degrees)), math.sin(math.radians(degrees))])
    t, e, x = length_and_direction(s)
    exact, textbook = np.ravel(gains(t, x)), np.ravel(epsilon_gains(t, epsilon))
    v_length = np.linalg.norm(squash(s))
    true, off = np.array([v_length, *exact]), np.array([length * textbook[0], *textbook])
    told = readout(length, degrees, true, epsilon, off)
    sketch = Sketch(WIDTH, HEIGHT, "Squash", DESCRIPTION, told)
    _draw_vectors(sketch, s, length, v_length)
    _draw_images(sketch, e, exact, textbook)
    _draw_gains(sketch, length, exact, textbook, epsilon)
    return sketch


def readout(
    length: float, degrees: float, true: np.ndarray, epsilon: float, off: np.ndarray
) -> str:
    """Return in words ‖s‖, its direction, and (‖v‖, gain across s, along s), true and with ε."""
    ratio = true[1:].max() / true[1:].min()
    easier, harder = ("Turning", "lengthening") if true[1] > true[2] else ("Lengthening", "turning")
    compared = f"{easier} is {_number(ratio)} times as easy as {harder}."
    if ratio < 1.005:
        compared = "Turning and lengthening are equally easy."
    exact = [_number(x) for x in true]
    wrong = [f"{_number(y)} ({_off(y / x)})" for x, y in zip(true, off, strict=True)]
    return (
        f"Length of s: {_number(length)}, direction {degrees:g}°. Length of v: {exact[0]}. "
        f"Gain across s: {exact[1]}, along s: {exact[2]}. {compared} With ε = {epsilon:g}: "
        f"length of v {wrong[0]}, gain across s {wrong[1]}, along s {wrong[2]}."
    )


def _off(ratio: float) -> str:
    """Return in words how far a number is from what it should be, given their ratio."""
    if ratio >= 2:
        return f"{_number(ratio)} times too large"
    percent = 100 * (ratio - 1)
    return f"{percent:+.2g} %" if abs(percent) >= 0.01 else "right to 0.01 %"


def _number(x: float) -> str:
    """Return three digits, and of what is larger, all before the point."""
    return f"{x:,.0f}" if x >= 999.5 else f"{x:.3g}"


def _draw_vectors(sketch: Sketch, s: np.ndarray, length: float, v_length: float) -> None:
    plane = Plane(sketch, 4, 30, 216, 216, (-WINDOW, WINDOW), (-WINDOW, WINDOW))
    plane.title("s and its squashed v")
    plane.unit_circle()
    cut = length > REACH
    name = f"total input s, length {_number(length)}"
    tip = s * min(1, REACH / length)
    plane.arrow(tip, COLOURS["s"], 2, name, "s", dash=(2, 2) if cut else ())
    name, v = f"output v, length {_number(v_length)}", squash(s)
    plane.arrow(v, COLOURS["v"], 4, name)
    if v_length > 0.2:
        beside = 0.12 * np.array([-s[1], s[0]]) / length
        plane.words(0.6 * v + beside, "v", italic=True, size=12)
    elif v_length < 0.05:
        plane.dot((0, 0), COLOURS["v"], name, radius=3)
    told = f"s: length {_number(length)}{', drawn shorter' if cut else ''}"
    sketch.words((112, 261), told, size=12)
    sketch.words((112, 278), f"v: length {_number(v_length)}", size=12)


def _draw_images(sketch: Sketch, e: np.ndarray, exact: np.ndarray, textbook: np.ndarray) -> None:
    radius = _round_above(max(*exact, *textbook))
    window = -WINDOW * radius, WINDOW * radius
    plane = Plane(sketch, 240, 30, 216, 216, window, window)
    plane.title("image of the unit circle under J")
    plane.path(radius * CIRCLE, COLOURS["muted"], width=1, dash=(1, 3))
    axes = np.array([[-e[1], e[0]], e])  # across s, along it
    plane.path([(0, 0), 1.1 * radius * e], COLOURS["s"], width=1, name="the direction of s")
    beside, image = (CIRCLE @ (gain[:, None] * axes) for gain in (textbook, exact))
    plane.path(
        beside, COLOURS["muted"], width=5, opacity=0.5, name="the unit circle's image with ε"
    )
    plane.path(image, COLOURS["v"], width=0, opacity=0.25)
    plane.path(image, COLOURS["v"], width=2, name="the unit circle's image, exact")
    for gain, axis, dash in zip(exact, axes, (ACROSS, ALONG), strict=True):
        plane.path([-gain * axis, gain * axis], COLOURS["v"], width=1.5, dash=dash)
    sketch.words((348, 261), f"{1 / radius:,.0f} × the scale of the left", size=12)
    sketch.words((348, 278), f"dotted ruler: radius {radius:g}; grey: with ε", size=12)


def _round_above(x: float) -> float:
    """Return the least of 1, 2, 5, 10, 20, …, 0.5, 0.2, … that is not below x."""
    power = 10.0 ** math.floor(math.log10(x))
    return next(m * power for m in (1, 2, 5, 10) if m * power >= x)


def _draw_gains(
    sketch: Sketch, length: float, exact: np.ndarray, textbook: np.ndarray, epsilon: float
) -> None:
    plot = Plane(sketch, 520, 34, 224, 204, (-5, 3), (-9, 1))
    x_ticks = {-5: "1e-5", -3: "1e-3", -1: "0.1", 1: "10", 3: "1000"}
    y_ticks = {-9: "1e-9", -6: "1e-6", -3: "1e-3", 0: "1"}
    plot.axes("length of s", "gains, in grey with ε", x_ticks, y_ticks)
    t, _, x = length_and_direction(LENGTHS[:, None])
    here = math.log10(length)
    plot.path([(here, -9), (here, 1)], COLOURS["muted"], width=1, name=f"length {_number(length)}")
    styles = {"colour": COLOURS["muted"], "width": 5, "opacity": 0.5}, {"colour": COLOURS["v"]}
    drawn = (epsilon_gains(t, epsilon), textbook), (gains(t, x), exact)
    for (curves, at), style in zip(drawn, styles, strict=True):
        for gain, dot, dash in zip(curves, at, (ACROSS, ALONG), strict=True):
            plot.path(np.log10(np.hstack([t, gain])), dash=dash, **({"width": 2} | style))
            name = f"{'across' if dash == ACROSS else 'along'} s: {dot:.3g}"
            plot.dot((here, math.log10(dot)), style["colour"], name, radius=4)
    plot.words((2.9, 0.3), "across s:", anchor="end", size=11)
    plot.words((2.9, -0.4), "turning", anchor="end", size=11)
    plot.words((1.2, -6), "along s:", anchor="end", size=11)
    plot.words((1.2, -6.7), "lengthening", anchor="end", size=11)
