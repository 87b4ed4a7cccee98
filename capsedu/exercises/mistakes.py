"""The catalogue: what can be wrong, in words; a hint, a stronger one, and the equation to read.

It stands in mistakes.txt, four lines for each mistake. First its id, which stays as it is, the
equation, and the ways in which `Variation` can make it: = is the id itself, /how stands for id/how;
a symptom has none. Then what is wrong; a hint that does not give the answer away; a stronger one.
"""

from dataclasses import dataclass
from importlib import resources

from capsedu.equations import EQUATIONS, Equation


@dataclass(frozen=True)
class Mistake:
    """One entry of the catalogue.

    Attributes
    ----------
    id : str
    equation : Equation or None
        To read; it names its notebook. None: that of the task.
    what : str
        What is wrong.
    hints : tuple of str
        Two, the stronger one last.
    ways : tuple of str
        How `Variation` can make it: the id, or id/how. A symptom, as raises, is not made there.
    """

    id: str
    equation: Equation | None
    what: str
    hints: tuple[str, str]
    ways: tuple[str, ...]


def read(text: str) -> dict[str, Mistake]:
    """Return the catalogue that is written in `text`, by id."""
    equations = {equation.id: equation for equation in EQUATIONS} | {"-": None}
    catalogue = {}
    for entry in text.strip().split("\n\n"):
        head, what, *hints = entry.split("\n")
        id, equation, *how = head.split()
        ways = tuple(id + way.removeprefix("=") for way in how)
        catalogue[id] = Mistake(id, equations[equation], what, tuple(hints), ways)
    return catalogue


MISTAKES = read(resources.files(__package__).joinpath("mistakes.txt").read_text("utf-8"))
