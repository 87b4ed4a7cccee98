"""Print the oldest versions that pyproject.toml promises, as arguments for pip: numpy==1.26 …"""

import re
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path

PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"


def oldest(requirements: Iterable[str]) -> list[str]:
    """Turn each lower bound into a pin, "numpy>=1.26" → "numpy==1.26"; capsedu itself has none."""
    others = [text for text in requirements if not text.startswith("capsedu")]
    return [re.fullmatch(r"([\w-]+)>=([\w.]+)", text).expand(r"\1==\2") for text in others]


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
    print(*oldest([*project["dependencies"], *extras["lab"], *extras["test"]]))


if __name__ == "__main__":
    main()
