"""`make lab` and its kin, with a Python that installs nothing and writes down what it was asked."""

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PYTHON = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
MINOR = int(PYTHON.removeprefix(">=3."))
RUNNING = "{}.{}".format(*sys.version_info)

# `-m venv --clear DIR` lays a copy of the fake into DIR; `-c CODE` is run by the real Python, made
# to look like another one by a line of code that goes before.
FAKE = """#!/bin/sh
echo "$@" >> "{folder}/asked"
case "$1 $2" in
  "-c "*) exec "{python}" -c 'import sys; {disguise}; exec(sys.argv[1])' "$2" ;;
  "-m venv") rm -rf "$4"; mkdir -p "$4/bin"; cp "$0" "$4/bin/python" ;;
  "-m pip") test "$3" != install || test ! -e "{folder}/pip fails" ;;
esac
"""

pytestmark = pytest.mark.skipif(not shutil.which("make"), reason="needs make")


@pytest.fixture
def make(tmp_path):
    """Return make(*arguments, disguise) -> (process, what Python was asked), in a folder apart."""
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    fake, asked = tmp_path / "fakepython", tmp_path / "asked"
    outside = {key: os.environ[key] for key in ("PATH", "HOME") if key in os.environ}

    def run(*arguments, disguise="pass"):
        fake.write_text(FAKE.format(folder=tmp_path, python=sys.executable, disguise=disguise))
        fake.chmod(0o755)
        asked.write_text("")
        command = ["make", f"PYTHON={fake}", *arguments]
        process = subprocess.run(command, cwd=tmp_path, env=outside, capture_output=True, text=True)
        lines = asked.read_text().splitlines()
        return process, [
            line for line in lines if line.startswith("-m") and "--version" not in line
        ]

    return run


def test_lab_from_nothing_then_at_once(make):
    lab = "-m jupyterlab --notebook-dir=. --no-browser --port 8899 notebooks/00_start_here.ipynb"
    arguments = ("lab", "LAB_ARGS=--no-browser --port 8899")
    process, asked = make(*arguments)
    assert process.returncode == 0
    assert asked == ["-m venv --clear .venv", "-m pip install --editable .[lab]", lab]
    assert make(*arguments)[1] == [lab]


def test_every_test_after_the_quick_ones_installs_nothing(make):
    install = ["-m venv --clear .venv", "-m pip install --editable .[test]"]
    marked = (
        "not notebook and not browser and not style and not explorer and not nbgrader and not sweep"
    )
    quick = f"-m pytest --numprocesses auto -m {marked}"
    assert make("quick")[1] == [*install, quick]
    assert make("test")[1] == ["-m pytest"]


def test_a_changed_pyproject_is_installed_in_the_same_environment(make, tmp_path):
    make("quick")
    stamp = (tmp_path / ".venv/test.installed").stat().st_mtime
    os.utime(tmp_path / "pyproject.toml", (stamp + 1, stamp + 1))
    assert make("quick")[1][:-1] == ["-m pip install --editable .[test]"]


def test_an_install_that_broke_off_is_taken_up_again(make, tmp_path):
    (tmp_path / "pip fails").touch()
    process, asked = make("test")
    assert process.returncode == 2
    assert asked[-1] == "-m pip install --editable .[test]"
    (tmp_path / "pip fails").unlink()
    assert make("test")[1] == ["-m pip install --editable .[test]", "-m pytest"]


@pytest.mark.parametrize("remains", ["nothing", "no pip", "dangling"])
def test_an_environment_cut_short_is_made_again(make, tmp_path, remains):
    left = tmp_path / ".venv/bin/python"
    left.parent.mkdir(parents=True)
    if remains == "no pip":
        left.write_text("#!/bin/sh\nexit 1\n")
        left.chmod(0o755)
    if remains == "dangling":
        left.symlink_to(tmp_path / "a Python that was there once")
    assert make("test")[1][0] == "-m venv --clear .venv"


@pytest.mark.parametrize("target", ["lab", "test", "quick", "notebooks", "oldest"])
@pytest.mark.parametrize(
    ("disguise", "message"),
    [
        (
            f"sys.version_info = (3, {MINOR - 1}, 9)",
            f"capsedu needs Python 3.{MINOR} or newer, and {{fake}} is 3.{MINOR - 1}: "
            "try make PYTHON=python3.12",
        ),
        (
            'sys.modules["ensurepip"] = None',
            "{fake} can make no environment: "
            f"on Debian or Ubuntu, apt install python{RUNNING}-venv",
        ),
    ],
    ids=["too old", "cannot make environments"],
)
def test_a_python_that_will_not_do(make, tmp_path, target, disguise, message):
    process, asked = make(target, disguise=disguise)
    said, by_make = process.stderr.splitlines()
    assert said == message.format(fake=tmp_path / "fakepython")
    assert by_make.startswith("make: ***")
    assert process.returncode == 2
    assert asked == []
    assert not (tmp_path / ".venv").exists()


def test_the_oldest_python_will_do(make):
    process, _ = make("test", disguise=f"sys.version_info = (3, {MINOR}, 0)")
    assert process.returncode == 0
