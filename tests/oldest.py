"""Print the oldest versions that pyproject.toml promises, as arguments for pip: numpy==1.26 …"""

import re
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path

PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"


def oldest(requirements: Iterable[str]) -> list[str]:
    """Turn each lower bound into a pin, "numpy>=1.26" → "numpy==1.26"; capsedu itself has none."""
    pins = []
    for requirement in requirements:
        bound = re.fullmatch(r"([\w.-]+)>=([\w.]+)", requirement)
        if bound:
            pins.append(bound.expand(r"\1==\2"))
        elif not requirement.startswith("capsedu["):
            raise ValueError(f"pyproject.toml: got {requirement!r}, want name>=version")
    return pins


def main() -> None:
    """Print the pins, on the oldest Python that is promised and on no other."""
    project = tomllib.loads(PYPROJECT.read_text())["project"]
    python = project["requires-python"].removeprefix(">=")
    running = "{}.{}".format(*sys.version_info)
    if running != python:
        sys.exit(
            f"The oldest versions go with Python {python}, and this is {running}: "
            f"try make oldest PYTHON=python{python}"
        )
    extras = project["optional-dependencies"]
    names = ("cluster", "course", "lab", "test")
    promised = [*project["dependencies"], *(line for name in names for line in extras[name])]
    print(*oldest(promised))


if __name__ == "__main__":
    main()
