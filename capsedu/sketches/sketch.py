"""A sketch: lines, areas, words and grey images, written as SVG in a millisecond, or as a PNG."""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from html import escape
from typing import Self

import numpy as np
from matplotlib.axes import Axes
from matplotlib.image import imsave
from matplotlib.patches import Polygon

from capsedu.figures.canvas import HALO, PIXELS_PER_INCH, Picture, drawing, picture
from capsedu.figures.palette import COLOURS

FONT = "DejaVu Sans, Verdana, sans-serif"
POINT = 72 / PIXELS_PER_INCH  # a pixel, in the points that matplotlib counts in
RECTANGLE = (0, 0), (1, 0), (1, 1), (0, 1), (0, 0)
GREY = {"cmap": "gray_r", "vmin": 0, "vmax": 1}  # 0 is paper, 1 is ink


@dataclass(frozen=True, eq=False)
class Path:
    """A line through points, or the area that they enclose.

    Attributes
    ----------
    points : ndarray, shape (K, 2)
        Pixels from the upper left corner.
    colour : str
    width : float
        Of the line, in pixels; an area has 0.
    dash : tuple of float
        Pixels on, pixels off, …; empty for a solid line.
    opacity : float
    name : str
        What it stands for: shown when the mouse rests on it.
    """

    points: np.ndarray
    colour: str
    width: float = 1.5
    dash: tuple[float, ...] = ()
    opacity: float = 1.0
    name: str = ""

    def lowered(self, by: float) -> Self:
        """Return the path so many pixels lower."""
        return replace(self, points=np.add(self.points, (0, by)))

    def svg(self) -> str:
        """Return the path as an SVG element."""
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in self.points.tolist())
        style = f' opacity="{self.opacity:.2f}"' if self.opacity < 1 else ""
        if self.dash:
            style += f' stroke-dasharray="{" ".join(map(str, self.dash))}"'
        title = f"<title>{escape(self.name)}</title>" if self.name else ""
        if self.width:
            style += f' fill="none" stroke="{self.colour}" stroke-width="{self.width:.1f}"'
            return f'<polyline points="{points}"{style}>{title}</polyline>'
        return f'<polygon points="{points}" fill="{self.colour}"{style}>{title}</polygon>'

    def draw(self, axes: Axes, order: int) -> None:
        """Draw the path in axes of pixels, above what has a smaller order."""
        style = {"color": self.colour, "alpha": self.opacity, "zorder": order}
        if self.width:
            dashes = (0, [x / self.width for x in self.dash]) if self.dash else "-"
            style |= {"linewidth": self.width * POINT, "linestyle": dashes}
            axes.plot(*self.points.T, solid_capstyle="butt", **style)
        else:
            axes.add_patch(Polygon(self.points, linewidth=0, **style))


@dataclass(frozen=True, eq=False)
class Words:
    """A line of text, its middle, start or end at a point.

    Attributes
    ----------
    at : tuple of float
        Pixels from the upper left corner; halfway up the letters.
    text : str
    anchor : "start", "middle" or "end"
    size : float
        Pixels.
    italic : bool
        For the names of quantities.
    colour : str
    """

    at: tuple[float, float]
    text: str
    anchor: str = "middle"
    size: float = 13
    italic: bool = False
    colour: str = "#000000"

    def lowered(self, by: float) -> Self:
        """Return the words so many pixels lower."""
        return replace(self, at=(self.at[0], self.at[1] + by))

    def svg(self) -> str:
        """Return the words as an SVG element, with a white edge that keeps them off the lines."""
        x, y = self.at
        slant = ' font-style="italic"' if self.italic else ""
        return (
            f'<text x="{x:.1f}" y="{y:.1f}" dy="0.35em" text-anchor="{self.anchor}" '
            f'font-size="{self.size:g}" fill="{self.colour}"{slant} paint-order="stroke" '
            f'stroke="white" stroke-width="3" stroke-linejoin="round">{escape(self.text)}</text>'
        )

    def draw(self, axes: Axes, order: int) -> None:
        """Write the words in axes of pixels, above what has a smaller order."""
        style = {
            "color": self.colour,
            "fontsize": self.size * POINT,
            "style": "italic" if self.italic else "normal",
            "ha": {"start": "left", "middle": "center", "end": "right"}[self.anchor],
            "va": "center_baseline",
            "path_effects": HALO,
        }
        axes.text(*self.at, self.text, parse_math=False, zorder=order, **style)


@dataclass(frozen=True, eq=False)
class Image:
    """Grey values as squares.

    Attributes
    ----------
    grey : ndarray, shape (rows, columns)
        0, white, to 1, black.
    at : tuple of float
        Its upper left corner.
    size : tuple of float
        Width and height.
    name : str
        What it shows: shown when the mouse rests on it.
    """

    grey: np.ndarray
    at: tuple[float, float]
    size: tuple[float, float]
    name: str = ""

    def lowered(self, by: float) -> Self:
        """Return the image so many pixels lower."""
        return replace(self, at=(self.at[0], self.at[1] + by))

    def svg(self) -> str:
        """Return the image as an SVG element that holds it as a PNG, a pixel a square."""
        png = io.BytesIO()
        imsave(png, self.grey, format="png", metadata={"Software": None}, **GREY)
        (x, y), (width, height) = self.at, self.size
        return (
            f'<image x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" '
            'preserveAspectRatio="none" image-rendering="pixelated" '
            f'href="data:image/png;base64,{base64.b64encode(png.getvalue()).decode()}">'
            f"<title>{escape(self.name)}</title></image>"
        )

    def draw(self, axes: Axes, order: int) -> None:
        """Draw the image in axes of pixels, above what has a smaller order."""
        (x, y), (width, height) = self.at, self.size
        style = {"aspect": "auto", "interpolation": "nearest", "zorder": order, **GREY}
        axes.imshow(self.grey, extent=(x, x + width, y + height, y), **style)


def corners(left: float, top: float, width: float, height: float) -> np.ndarray:
    """Return the corners of a rectangle as a closed line, shape (5, 2)."""
    return np.add((left, top), np.multiply(RECTANGLE, (width, height)))


@dataclass(eq=False)
class Sketch:
    """What is drawn, what it is called, what it shows, and its numbers in words.

    Attributes
    ----------
    width, height : float
        Pixels.
    title, description : str
        What is drawn, in a phrase and in sentences, whatever the parameters.
    readout : str
        The numbers of this very picture, in words: what a reader gets who cannot see it.
    shapes : list of Path, Words and Image
        In the order in which they are drawn.
    """

    width: float
    height: float
    title: str
    description: str
    readout: str = ""
    shapes: list[Path | Words | Image] = field(default_factory=list)

    def path(self, points: np.ndarray, colour: str, **style: object) -> None:
        """Draw a `Path`."""
        self.shapes.append(Path(np.asarray(points), colour, **style))

    def words(self, at: Sequence[float], text: str, **style: object) -> None:
        """Write `Words`."""
        self.shapes.append(Words(tuple(at), text, **style))

    def image(
        self, grey: np.ndarray, at: Sequence[float], size: Sequence[float], name: str
    ) -> None:
        """Draw an `Image` in a thin frame."""
        self.shapes.append(Image(grey, tuple(at), tuple(size), name))
        self.path(corners(*at, *size), COLOURS["muted"], width=1)

    def svg(self) -> str:
        """Return the sketch as an SVG element that needs nothing outside itself, and has no ids.

        White lies behind it, so that its colours are the same in a light and in a dark page.
        """
        size = f'width="{self.width:g}" height="{self.height:g}"'
        narrow = 'style="max-width: 100%; height: auto"'  # where the page is
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" role="img" {size} {narrow} '
            f'viewBox="0 0 {self.width:g} {self.height:g}" font-family="{FONT}">'
            f"<title>{escape(self.title)}</title><desc>{escape(self.description)}</desc>"
            f'<rect {size} rx="6" fill="white"/>'
            f"{''.join(shape.svg() for shape in self.shapes)}</svg>"
        )

    def picture(self) -> Picture:
        """Return the same shapes as a PNG, for wherever an SVG is not shown."""
        with drawing(self.width / PIXELS_PER_INCH, self.height / PIXELS_PER_INCH) as figure:
            figure.set_layout_engine("none")  # the shapes are where they are
            axes = figure.add_axes((0, 0, 1, 1), xlim=(0, self.width), ylim=(self.height, 0))
            axes.set_axis_off()
            for order, shape in enumerate(self.shapes):
                shape.draw(axes, order)
            return picture(figure, f"{self.description} {self.readout}")


def stacked(sketches: Mapping[str, Sketch]) -> Sketch:
    """Return sketches one below the other, each under its heading, as one: a story in a still."""
    head = 26  # pixels for a heading
    first = next(iter(sketches.values()))
    height = sum(head + sketch.height for sketch in sketches.values())
    told = " ".join(sketch.readout for sketch in sketches.values())
    story = Sketch(first.width, height, first.title, first.description, told)
    top = 0.0
    for heading, sketch in sketches.items():
        story.words((12, top + head / 2), heading, anchor="start", size=15)
        top += head
        story.shapes += [shape.lowered(top) for shape in sketch.shapes]
        top += sketch.height
    return story
