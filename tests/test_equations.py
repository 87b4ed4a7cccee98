"""An id means one equation: in the registry, in a docstring, in the notebook that derives it."""

import re

import nbformat
import notebook_state as state
import pytest

import capsedu
from capsedu.derivation import generate_layer
from capsedu.equations import EQUATIONS

ID = re.compile(r"`([a-z]+(?:-[a-z]+)*)`")
NAMED = re.compile(r"\*?[Ee]quations?\*?:? `[a-z-]+`(?:(?:,| and|, and) `[a-z-]+`)*")
IDS = {equation.id for equation in EQUATIONS}


def ids_in(text):
    """The ids that a text names after the word equation."""
    return {name for sentence in NAMED.findall(text) for name in ID.findall(sentence)}


def notes(function):
    """The Notes of a docstring, as one line."""
    return " ".join(function.__doc__.partition("Notes\n")[2].split())


def prose(notebook):
    path = state.NOTEBOOKS / f"{notebook}.ipynb"
    cells = nbformat.read(path, as_version=4).cells
    return "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")


def test_ids_are_unique():
    assert len(IDS) == len(EQUATIONS)


@pytest.mark.parametrize("equation", EQUATIONS, ids=lambda equation: equation.id)
def test_the_three_places_agree(equation):
    assert equation.id in ID.findall(notes(equation.resolve()))
    assert equation.id in ids_in(prose(equation.notebook))
    assert equation.statement


def test_no_docstring_names_an_equation_that_is_not_registered():
    for name in set(capsedu.__all__) - {"Routing"}:
        named = set(ID.findall(notes(getattr(capsedu, name))))
        assert named, f"{name} names no equation"
        assert named <= IDS, name


@pytest.mark.parametrize("rule", ["frozen", "unrolled"])
def test_no_generated_line_names_an_equation_that_is_not_registered(rule):
    named = set(re.findall(r"  # ([a-z-]+)$", generate_layer(3, rule).source, re.MULTILINE))
    assert {"prediction", "squash-vjp", "total-input-vjp"} <= named <= IDS


def test_no_notebook_names_an_equation_that_is_not_registered():
    for path in state.paths():
        assert ids_in(prose(path.stem)) <= IDS, path.stem


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("*Equation* `squash-vjp`: the formula", {"squash-vjp"}),
        (
            "Equations `total-input`, `agreement` and `routing`.",
            {"total-input", "agreement", "routing"},
        ),
        ("the function `squash`", set()),
    ],
)
def test_ids_are_read(text, named):
    assert ids_in(text) == named
