"""The frame: the README runs, the two lists of packages agree, and nothing names a machine."""

import copy
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from oldest import oldest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
ENVIRONMENT = yaml.safe_load((ROOT / "environment.yml").read_text())
README = (ROOT / "README.md").read_text()


def test_the_python_in_the_readme_runs(capsys):
    blocks = re.findall(r"```python\n(.*?)```(?:\s*```text\n(.*?)```)?", README, re.DOTALL)
    assert blocks, "README.md: no python block"
    names = {"__name__": "readme"}
    for code, printed in blocks:
        exec(compile(code, "<README.md>", "exec"), names)
        got = capsys.readouterr().out
        if printed:
            assert got == printed, code


def test_the_commands_in_the_readme_exist():
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    commands = re.findall(r"\bmake ([a-z]+)\b", "\n".join(re.findall(r"`+[^`]+`+", README)))
    assert {"lab", "test"} <= set(commands) <= set(targets)
    assert (ROOT / ".ci/run").read_text().rstrip().endswith("\nmake test")


def parity_faults(environment: dict, project: dict) -> list[str]:
    """Say where environment.yml differs from the core and the lab extra of pyproject.toml."""

    def versions(requirements: list[str]) -> dict[str, str]:
        return dict(re.fullmatch(r"([\w.-]+)(.*)", text).groups() for text in requirements)

    *packages, pip, from_pip = environment["dependencies"]
    requirements = project["dependencies"] + project["optional-dependencies"]["lab"]
    wanted = {"python": project["requires-python"], **versions(requirements)}
    got = versions(packages)
    faults = [
        f"{name}: environment.yml has {got.get(name)}, pyproject.toml {wanted.get(name)}"
        for name in sorted(wanted.keys() | got.keys())
        if wanted.get(name) != got.get(name)
    ]
    if environment["name"] != project["name"]:
        faults.append(f"name: environment.yml has {environment['name']}")
    if environment["channels"] != ["conda-forge"]:
        faults.append(f"channels: environment.yml has {environment['channels']}")
    if [pip, from_pip] != ["pip", {"pip": ["-e ."]}]:
        faults.append(f"pip: environment.yml ends in {pip}, {from_pip}, want pip, pip: -e .")
    return faults


def test_conda_and_pip_install_the_same():
    assert parity_faults(ENVIRONMENT, PROJECT) == []


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("name: capsedu", "name: capsules", "name"),
        ("conda-forge", "defaults", "channels"),
        ("numpy>=", "numpy==", "numpy"),
        ("sympy>=1", "sympy>=2", "sympy"),
        ("python>=3", "python>=4", "python"),
        ("  - tqdm>=", "  - pooch>=", "tqdm"),
        ("  - pip\n", "  - scipy>=1.0\n  - pip\n", "scipy"),
        ("  - pip\n", "  - scipy\n  - pip\n", "scipy"),
        ("-e .", "capsedu", "pip"),
        ("      - -e .", "      - -e .\n      - tqdm", "pip"),
    ],
)
def test_lists_that_disagree_are_found(old, new, named):
    text = (ROOT / "environment.yml").read_text()
    assert old in text
    faults = parity_faults(yaml.safe_load(text.replace(old, new, 1)), PROJECT)
    assert faults
    assert faults[0].startswith(f"{named}:")


def test_a_requirement_that_only_pip_has_is_found():
    project = copy.deepcopy(PROJECT)
    project["optional-dependencies"]["lab"].append("scipy>=1.0")
    assert [fault.partition(":")[0] for fault in parity_faults(ENVIRONMENT, project)] == ["scipy"]


def test_the_oldest_versions_are_the_lower_bounds():
    assert oldest(["numpy>=1.26", "capsedu[lab]", "typing-extensions>=4.0.1"]) == [
        "numpy==1.26",
        "typing-extensions==4.0.1",
    ]


@pytest.mark.parametrize("requirement", ["numpy", "numpy==1.26", "numpy>=1.26,<2", "numpy~=1.26"])
def test_anything_but_a_lower_bound_is_refused(requirement):
    with pytest.raises(ValueError, match=f"got '{re.escape(requirement)}', want name>=version"):
        oldest([requirement])


def test_every_requirement_is_a_lower_bound():
    for requirements in [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]:
        assert oldest(requirements)


def test_the_citation_is_of_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    for key in ("version", "license"):
        assert citation[key] == PROJECT[key]


# Folders of one machine, and hosts of package registries; a URL's own path is no folder.
PLACES = re.compile(
    r"(?<![\w.])/(?:root|home|work|tmp|opt|mnt|srv|Users|usr/l\w+)/"
    r"|\b[A-Za-z]:\\+Users\b"
    r"|\b(?:pypi|pythonhosted|anaconda|npmjs|debian|ubuntu)\.(?:org|com)\b"
)


def test_nothing_committed_names_a_machine():
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if listing.returncode:
        pytest.skip("not in a clone: nothing is committed")
    found = []
    for name in listing.stdout.split("\0"):
        path = ROOT / name
        if path.is_file():
            text = path.read_bytes().decode("utf-8", errors="replace")
            found += [f"{name}: {place}" for place in PLACES.findall(text)]
    assert found == []


@pytest.mark.parametrize(
    "text",
    [
        "see ~root~.cache",
        "~home~ada~capsedu",
        '"~tmp~ipykernel_1~2.py"',
        "file:~~~opt~wheels",
        "~usr~lib~python3",
        "C:\\" + "Users\\ada",
        "https:~~files.pythonhosted·org",
        "https:~~pypi·org~simple",
        "conda.anaconda·org",
    ],
)
def test_a_named_machine_is_found(text):
    # Written so that this file, which is committed too, names none.
    assert PLACES.search(text.replace("~", "/").replace("·", "."))


@pytest.mark.parametrize(
    "text",
    [
        "https://example.org/home/",
        "home/ and work/",
        "../shared/tmp/",
        "a/b/root/c",
        "/usr/bin/env",
    ],
)
def test_an_innocent_text_is_left_alone(text):
    assert not PLACES.search(text)
