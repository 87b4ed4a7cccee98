"""A picture that carries its own description: what a figure function returns."""

import base64
import contextlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from capsedu.figures.palette import COLOURS

PIXELS_PER_INCH = 100
SHARPNESS = 2  # pixels drawn for each pixel shown, for screens with fine ones

HALO = [withStroke(linewidth=2.5, foreground="white")]  # keeps words off the lines

STYLE = {
    "font.size": 11,
    "axes.titlesize": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": COLOURS["muted"],
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
    "lines.linewidth": 2,
}


@dataclass(frozen=True)
class Picture:
    """A PNG and, in words, what it shows: shown at the end of a cell, with its alt text.

    Attributes
    ----------
    png : bytes
    alt : str
        What a reader who cannot see the picture needs to know of it.
    width : int
        Pixels it takes on the page.
    """

    png: bytes
    alt: str
    width: int

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> tuple:
        data = {"image/png": base64.b64encode(self.png).decode(), "text/plain": self.alt}
        return data, {"image/png": {"alt": self.alt, "width": self.width}}

    def save(self, path: str | Path) -> None:
        """Write the PNG to `path`."""
        Path(path).write_bytes(self.png)


@contextlib.contextmanager
def drawing(width: float, height: float) -> Iterator[Figure]:
    """Give a figure of `width` × `height` inches in the house style, without global state."""
    with mpl.rc_context(STYLE):
        yield Figure(figsize=(width, height))


def picture(figure: Figure, alt: str) -> Picture:
    """Return `figure` as a Picture described by `alt`."""
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=PIXELS_PER_INCH * SHARPNESS, metadata={"Software": None})
    return Picture(png.getvalue(), alt, round(figure.get_figwidth() * PIXELS_PER_INCH))
