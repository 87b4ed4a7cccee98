"""Read back from an SVG what it shows: an arrow's tip, width and opacity, from its own markup."""

import xml.etree.ElementTree as ET
from typing import NamedTuple

import numpy as np

SPACE = "{http://www.w3.org/2000/svg}"
DRAWN = {"polyline", "polygon", "text"}
ALLOWED = {"svg", "title", "desc", "rect", *DRAWN}


class Shape(NamedTuple):
    tag: str
    name: str  # what a mouse that rests on it is told
    points: np.ndarray  # (K, 2); of a text the place where it is anchored
    colour: str
    width: float
    opacity: float
    dash: str
    text: str


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
        assert not {"id", "style", "class", "href"} & set(element.attrib), element.attrib
        assert not any(name.startswith("on") for name in element.attrib), element.attrib
    return tree


def shapes(svg):
    """Everything drawn, in its order; the white ground apart."""
    return [shape(each) for each in root(svg) if each.tag.removeprefix(SPACE) in DRAWN]


def shape(element):
    tag, given = element.tag.removeprefix(SPACE), element.attrib
    if tag == "text":
        points = np.array([[float(given["x"]), float(given["y"])]])
    else:
        points = np.array([point.split(",") for point in given["points"].split()], dtype=float)
    line = tag == "polyline"
    return Shape(
        tag=tag,
        name=element.findtext(f"{SPACE}title", ""),
        points=points,
        colour=given["stroke" if line else "fill"],
        width=float(given["stroke-width"]) if line else 0.0,
        opacity=float(given.get("opacity", 1)),
        dash=given.get("stroke-dasharray", ""),
        text=element.text or "" if tag == "text" else "",
    )


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
