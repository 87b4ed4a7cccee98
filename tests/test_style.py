"""Lint and format, over the whole repository, notebooks included."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
COMMANDS = [["check", "--output-format=concise"], ["format", "--check"]]

pytestmark = pytest.mark.style


def ruff(*arguments) -> subprocess.CompletedProcess:
    """Run ruff with the repository's settings and nothing remembered."""
    command = [sys.executable, "-m", "ruff", *arguments, "--no-cache"]
    command += ["--config", str(ROOT / "pyproject.toml")]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_the_repository_is_in_style(command):
    process = ruff(*command, ".")
    assert process.returncode == 0, process.stdout + process.stderr


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
@pytest.mark.parametrize("name", ["wrong.py", "wrong.ipynb"])
def test_what_is_out_of_style_is_found(tmp_path, command, name):
    code = "import os, sys\nx = [1,2]"
    cell = {"cell_type": "code", "source": code, "metadata": {}, "outputs": [], "id": "a"}
    notebook = {
        "cells": [{**cell, "execution_count": None}],
        "metadata": {"language_info": {"name": "python"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    wrong = tmp_path / name
    wrong.write_text(json.dumps(notebook) if name.endswith("ipynb") else code)
    assert ruff(*command, str(wrong)).returncode == 1


def test_ruff_sees_the_notebooks_and_the_scripts():
    seen = {
        Path(line).relative_to(ROOT)
        for line in ruff("check", "--show-files").stdout.split("\n")
        if line
    }
    parts = {path.parts[0] for path in seen}
    assert {"capsedu", "tests"} <= parts
    assert {path.relative_to(ROOT) for path in (ROOT / "notebooks").rglob("*.ipynb")} <= seen
