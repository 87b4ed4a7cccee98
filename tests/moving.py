"""Move an explorer's controls as the browser does, and say what should then be there."""

import functools
import re
import xml.etree.ElementTree as ET

import ipywidgets as widgets
import svg as read

import capsedu.explorers

NAMES = capsedu.explorers.__all__


def copy_of(name):
    """A new explorer, with its `name`."""
    explorer = getattr(capsedu.explorers, name)()
    explorer.name = name
    return explorer


# A copy that nobody moves: what it draws depends on what it is told alone.
untouched = functools.cache(copy_of)


def places(control):
    """The trait by which the browser moves a control, and least, first and greatest place of it."""
    if hasattr(control, "options"):
        return "index", [0, control.index, len(control.options) - 1]
    if isinstance(control, widgets.Checkbox | widgets.ToggleButton):
        return "value", [False, control.value, True]
    if isinstance(control, widgets.FloatLogSlider):
        return "value", [control.base**control.min, control.value, control.base**control.max]
    return "value", [control.min, control.value, control.max]


def random_place(control, share):
    """A place between least and greatest, where the slider can stand."""
    trait, (least, _, greatest) = places(control)
    if isinstance(control, widgets.FloatLogSlider):
        exponent = control.min + share * (control.max - control.min)
        return control.base ** min(control.max, _round(exponent, control.step))
    if trait == "index" or isinstance(least, bool | int):
        return type(least)(least + min(share, 0.999999) * (greatest - least + 1))
    return min(greatest, _round(least + share * (greatest - least), control.step))


def _round(x, step):
    return x if step is None else step * round(x / step)


def move(explorer, name, place):
    """Let the browser say where a control stands; a control that is disabled cannot be moved."""
    control = explorer.controls[name]
    if not control.disabled:
        control.set_state({places(control)[0]: place})


def values_of(explorer):
    return {name: control.value for name, control in explorer.controls.items()}


def drawn_afresh(explorer):
    """{position: what each frame should hold}, drawn without a cache by a copy nobody moved."""
    values = values_of(explorer)
    draw = untouched(explorer.name).html.__wrapped__
    values.pop(explorer.beforehand, None)
    if explorer.beforehand is None:
        return {None: draw(**values)}
    return {at: draw(**values, **{explorer.beforehand: at}) for at in explorer.frames}


def seen(explorer):
    """The position whose frame is seen."""
    return values_of(explorer).get(explorer.beforehand)


def taken_apart(html):
    """The SVG and the readout of a frame; both have to be there, in markup that is well formed."""
    svg, told = ET.fromstring(f"<div>{html}</div>")
    assert (told.tag, told.get("role")) == ("p", "status")
    assert told.text.strip()
    assert not re.search(r"\bnan\b|\binf\b|None", told.text), told.text
    drawn = html[: html.index("<p ")]
    tree = read.root(drawn)
    assert svg.tag == tree.tag
    assert tree.findtext(f"{read.SPACE}title")
    assert tree.findtext(f"{read.SPACE}desc")
    assert float(tree.get("width")) <= 760
    assert "nan" not in drawn
    return drawn, told.text
