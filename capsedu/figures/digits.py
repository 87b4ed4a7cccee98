"""Figures of a trained network: digits in rows, and what its entries do."""

from collections.abc import Mapping, Sequence

import numpy as np

from capsedu.figures.canvas import HALO, Picture, drawing, picture
from capsedu.figures.palette import COLOURS


def image_rows(
    rows: Mapping[str, np.ndarray], captions: Mapping[str, Sequence[str]] | None = None
) -> Picture:
    """Rows of grey images, 0 paper to 1 ink, under their names, with words above single images.

    Parameters
    ----------
    rows : dict of str to ndarray, shape (K, height, width)
        As many images in each row.
    captions : dict of str to sequence of str, length K, optional
        For the rows that have some, by their names.
    """
    captions = captions or {}
    columns = len(next(iter(rows.values())))
    heights = [1.15 if name in captions else 0.9 for name in rows]
    told = []
    with drawing(min(9, 1.3 + 0.85 * columns), 0.95 * sum(heights)) as figure:
        grid = figure.subplots(
            len(rows), columns, squeeze=False, gridspec_kw={"height_ratios": heights}
        )
        for (name, images), line in zip(rows.items(), grid, strict=True):
            above = captions.get(name, [""] * columns)
            for axes, image, words in zip(line, images, above, strict=True):
                axes.imshow(image, cmap="gray_r", vmin=0, vmax=1)
                axes.set(xticks=[], yticks=[])
                axes.set_title(words, fontsize=9, pad=3)
                axes.spines[:].set_visible(True)
            line[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=10)
            told.append(f"{name}: {', '.join(above)}" if name in captions else name)
        alt = f"Images in rows of {columns}, from the top: {'; '.join(told)}."
        return picture(figure, alt)


def effects_of_entries(ink: np.ndarray, slant: np.ndarray, moved: float) -> Picture:
    """What each entry of v does to the decoded digit: a number in the plane of two measures.

    Parameters
    ----------
    ink, slant : ndarray, shape (m,)
        By which the ink changes, in percent, and the slant, in degrees, when the entry is moved.
    moved : float
        How far.
    """
    points = np.stack([ink, slant], axis=-1)
    with drawing(6.4, 4.2) as figure:
        axes = figure.subplots()
        axes.axhline(0, color=COLOURS["muted"], linewidth=0.8)
        axes.axvline(0, color=COLOURS["muted"], linewidth=0.8)
        axes.plot(*points.T, "o", color=COLOURS["v"], markersize=5)
        for k, point in enumerate(points, start=1):
            style = {"xytext": (4, 3), "textcoords": "offset points", "path_effects": HALO}
            axes.annotate(str(k), point, fontsize=10, **style)
        axes.set(xlabel=f"change of ink, %, entry moved by {moved:+g}", ylabel="change of slant, °")
        told = ", ".join(
            f"{k}: {round(x)} % and {round(y)}°" for k, (x, y) in enumerate(points, start=1)
        )
        alt = f"Change of ink and of slant when an entry of v is moved by {moved:+g}. Entry {told}."
        return picture(figure, alt)
