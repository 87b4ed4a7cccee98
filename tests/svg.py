"""Read back from an SVG what it shows: an arrow's tip, width and opacity, from its own markup."""

import base64
import io
import xml.etree.ElementTree as ET
from typing import NamedTuple

import matplotlib.image
import numpy as np

SPACE = "{http://www.w3.org/2000/svg}"
DRAWN = {"polyline", "polygon", "text", "image"}
PNG = "data:image/png;base64,"
GREY = 2 / 255  # to which an image is drawn: a step of the palette, and one of the PNG
SIZE = "width", "height"
ALLOWED = {"svg", "title", "desc", "rect", *DRAWN}


class Shape(NamedTuple):
    tag: str
    name: str  # what a mouse that rests on it is told
    points: np.ndarray  # (K, 2); of a text where it is anchored, of an image two corners
    colour: str
    width: float
    opacity: float
    dash: str
    text: str  # of an image its PNG, in letters


class Arrow(NamedTuple):
    tip: np.ndarray
    start: np.ndarray | None  # None where the arrow is a head alone
    colour: str
    width: float
    opacity: float
    dash: str


def root(svg):
    """The parsed SVG, whose elements are known ones and carry nothing that could reach outside."""
    tree = ET.fromstring(svg)
    assert tree.tag == f"{SPACE}svg"
    # How wide it may be on its page; nothing else is styled.
    assert tree.attrib.pop("style") == "max-width: 100%; height: auto"
    for element in tree.iter():
        assert element.tag.removeprefix(SPACE) in ALLOWED, element.tag
        assert not {"id", "style", "class"} & set(element.attrib), element.attrib
        if "href" in element.attrib:  # what is shown lies in the SVG itself
            assert (element.tag, element.get("href")[: len(PNG)]) == (f"{SPACE}image", PNG)
        assert not any(name.startswith("on") for name in element.attrib), element.attrib
    return tree


def shapes(svg):
    """Everything drawn, in its order; the white ground apart."""
    return [shape(each) for each in root(svg) if each.tag.removeprefix(SPACE) in DRAWN]


def shape(element):
    tag, given = element.tag.removeprefix(SPACE), element.attrib
    if tag == "text":
        points = np.array([[float(given["x"]), float(given["y"])]])
    elif tag == "image":
        corner, size = ([float(given[k]) for k in keys] for keys in (("x", "y"), SIZE))
        points = np.array([corner, np.add(corner, size)])
    else:
        points = np.array([point.split(",") for point in given["points"].split()], dtype=float)
    line = tag == "polyline"
    return Shape(
        tag=tag,
        name=element.findtext(f"{SPACE}title", ""),
        points=points,
        colour=given.get("stroke" if line else "fill", ""),
        width=float(given["stroke-width"]) if line else 0.0,
        opacity=float(given.get("opacity", 1)),
        dash=given.get("stroke-dasharray", ""),
        text={"text": element.text or "", "image": given.get("href", "")}.get(tag, ""),
    )


def grey(image):
    """The grey values of an image's PNG: 0 white, 1 black."""
    pixels = matplotlib.image.imread(io.BytesIO(base64.b64decode(image.text.removeprefix(PNG))))
    return 1 - pixels[..., :3].mean(axis=-1)


def arrows(svg, name):
    """The arrows whose hover text starts with `name`: their heads, with the shafts that lead there.

    A head is a triangle, its first corner the tip; its shaft has the same hover text.
    """
    drawn = [each for each in shapes(svg) if each.name.startswith(name)]
    found = []
    for head in drawn:
        if head.tag != "polygon" or len(head.points) != 3:
            continue
        shaft = [each for each in drawn if each.tag == "polyline" and each.name == head.name]
        start, width, dash = None, None, ""
        if shaft:
            start, width, dash = shaft[0].points[0], shaft[0].width, shaft[0].dash
        found.append(Arrow(head.points[0], start, head.colour, width, head.opacity, dash))
    return found


def circles(svg):
    """Centre and radius in pixels of every unit circle: dotted, closed, of many points."""
    found = []
    for ring in (each.points[:-1] for each in shapes(svg) if each.dash == "1 3"):
        centre = ring.mean(axis=0)
        found.append((centre, np.linalg.norm(ring - centre, axis=1).mean()))
    return found
