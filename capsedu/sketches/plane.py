"""A plane in a sketch: a box of pixels that shows a window of the numbers, with arrows and axes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
from matplotlib.ticker import MaxNLocator

from capsedu.figures.palette import COLOURS
from capsedu.sketches.sketch import Sketch

ANGLES = np.linspace(0, 2 * np.pi, 101)
CIRCLE = np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=-1)


def along(ends: np.ndarray, starts: np.ndarray | float = 0) -> np.ndarray:
    """Return points along the lines from the `starts`, or the origin, to the `ends`."""
    return np.linspace(starts, ends, 20).reshape(-1, 2)


def ticks(reach: float) -> dict[float, str]:
    """Return a few round numbers from 0 to `reach`, as they are written."""
    every = MaxNLocator(6, steps=[1, 2, 5, 10]).tick_values(0, reach)
    return {float(text): text for text in (f"{x:g}" for x in every if 0 <= x <= reach)}


@dataclass(frozen=True, eq=False)
class Plane:
    """Where the numbers x and y lie in the sketch.

    Attributes
    ----------
    sketch : Sketch
        What is drawn in.
    left, top, width, height : float
        The box, in pixels.
    x, y : tuple of float
        What stands at the left and right, at the lower and upper edge of the box.
    """

    sketch: Sketch
    left: float
    top: float
    width: float
    height: float
    x: tuple[float, float] = (-1.1, 1.1)
    y: tuple[float, float] = (-1.1, 1.1)

    @classmethod
    def around(
        cls, points: np.ndarray, sketch: Sketch, box: tuple[float, float, float, float]
    ) -> Self:
        """Return a plane that holds the unit circle and the points, shape (K, 2), to one scale.

        The `box` is its left, top, width and height.
        """
        *corner, width, height = box
        low, high = np.minimum(points.min(axis=0), -1), np.maximum(points.max(axis=0), 1)
        # A margin for the names of what points at the edge; a pixel is as long in x as in y.
        half = 0.5 * (1.16 * (high - low) / (width, height)).max() * np.array([width, height])
        x, y = np.stack([(low + high) / 2 - half, (low + high) / 2 + half], axis=-1)
        return cls(sketch, *corner, width, height, tuple(x), tuple(y))

    def pixels(self, points: np.ndarray) -> np.ndarray:
        """Return where the points, shape (…, 2), lie in the sketch."""
        low, high = np.array([self.x, self.y]).T
        share = (np.asarray(points) - low) / (high - low) * (1, -1) + (0, 1)
        return (self.left, self.top) + share * (self.width, self.height)

    def path(self, points: np.ndarray, colour: str, **style: object) -> None:
        """Draw a line through the points; `style` as in `Path`."""
        self.sketch.path(self.pixels(points), colour, **style)

    def words(self, at: np.ndarray, text: str, **style: object) -> None:
        """Write at a point; `style` as in `Words`."""
        self.sketch.words(self.pixels(at), text, **style)

    def title(self, text: str) -> None:
        """Write above the box."""
        self.sketch.words((self.left + self.width / 2, self.top - 16), text)

    def dot(self, at: np.ndarray, colour: str, name: str = "", radius: float = 5) -> None:
        """Draw a disc of so many pixels round a point."""
        disc = self.pixels(at) + radius * CIRCLE[::5]
        self.sketch.path(disc, colour, width=0, name=name)

    def arrow(
        self,
        tip: np.ndarray,
        colour: str,
        width: float = 2,
        name: str = "",
        label: str = "",
        start: np.ndarray = (0, 0),
        **style: object,
    ) -> None:
        """Draw an arrow to the tip, and write the label beyond it.

        An arrow shorter than its own head is a head alone, as small as it is short; one of a few
        pixels has no label.
        """
        a, b = self.pixels([start, tip])
        length = np.linalg.norm(b - a)
        if length > 0:
            along = (b - a) / length
            across = np.array([-along[1], along[0]])
            head = min(5 + 2 * width, length)
            neck = b - head * along
            wing = 0.4 * head * across
            style |= {"name": name}
            if length > head:
                self.sketch.path([a, neck], colour, width=width, **style)
            style.pop("dash", None)
            self.sketch.path([b, neck + wing, neck - wing], colour, width=0, **style)
            if label and length > 9:
                self.sketch.words(b + 9 * along, label, italic=not label.isdigit(), size=12)

    def names(self, tips: Mapping[str, np.ndarray], taken: np.ndarray, near: float = 10) -> None:
        """Write the name of each arrow from the origin near its tip, where there is most room.

        That is farthest from the points `taken`, shape (K, 2), and from the names written before:
        `near` pixels from the tip; in a crowd, up to twice as far. An arrow of a few pixels has no
        name.
        """
        taken = self.pixels(taken)
        for name, tip in tips.items():
            start, end = self.pixels([(0, 0), tip])
            if np.linalg.norm(end - start) > 9:
                for distance in (near, 1.5 * near, 2 * near):
                    around = end + distance * CIRCLE[::4]
                    clear = np.hypot(*(around[:, None] - taken).T).min(axis=0)
                    if clear.max() > 0.8 * near:
                        break
                place = around[clear.argmax()]
                self.sketch.words(place, name, italic=not name.isdigit(), size=12)
                taken = np.vstack([taken, place + 0.5 * near * CIRCLE[::10]])

    def unit_circle(self) -> None:
        """Draw the unit circle, dotted."""
        self.path(CIRCLE, COLOURS["muted"], width=1, dash=(1, 3))

    def axes(
        self, x_name: str, y_name: str, x_ticks: Mapping[float, str], y_ticks: Mapping[float, str]
    ) -> None:
        """Draw the left and the lower edge as axes, with names and ticks."""
        (left, right), (low, high) = self.x, self.y
        self.path([(left, high), (left, low), (right, low)], COLOURS["muted"], width=1)
        for x, text in x_ticks.items():
            at = self.pixels((x, low))
            self.sketch.path([at, np.add(at, (0, 4))], COLOURS["muted"], width=1)
            self.sketch.words(np.add(at, (0, 13)), text, size=11)
        for y, text in y_ticks.items():
            at = self.pixels((left, y))
            self.sketch.path([at, np.subtract(at, (4, 0))], COLOURS["muted"], width=1)
            self.sketch.words(np.subtract(at, (7, 0)), text, anchor="end", size=11)
        below, above = self.pixels([((left + right) / 2, low), (left, high)])
        for at, text, anchor in (
            (np.add(below, (0, 30)), x_name, "middle"),
            (np.subtract(above, (0, 14)), y_name, "start"),
        ):
            if text:
                self.sketch.words(at, text, anchor=anchor, size=12)
