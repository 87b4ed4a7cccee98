"""The house of four floors: who may import whom, how large it is, and that imports are quiet."""

import ast
import graphlib
import inspect
import io
import json
import re
import subprocess
import sys
import tokenize
from pathlib import Path

import pytest

import capsedu

PACKAGE = Path(capsedu.__file__).parent

# A room is a module or a folder of modules in capsedu/; "__init__" is capsedu itself.
FLOORS = {
    1: {
        *("__init__", "arguments", "squashing", "predictions", "routing"),
        *("layer", "fast_layer", "losses"),
    },
    2: {
        *("derivation", "equations", "verification"),
        *("numerical_derivatives", "reference_derivatives", "gradient_check", "gradient_report"),
    },
    3: {
        *("data", "figures", "sketches", "patches", "exercises"),
        *(
            "networks",
            "convolution",
            "capsule_network",
            "training",
            "checkpoints",
            "trained_layer",
            "trained_network",
            "sweeps",
        ),
    },
    4: {"command_line", "explorers"},
}
# What each floor may import beside the standard library and what the floors below it may.
PACKAGES = {
    1: {"numpy"},
    2: {"sympy", "mpmath"},
    3: {"matplotlib", "tqdm", "pooch"},
    4: {"ipywidgets", "IPython"},
}
# On this floor and those below it, at most: cut before adding. The design says about 3,000 in all.
# More than that are the explorers with their sketches (1,400) and the exercises (1,250).
CODE_LINES = {1: 500, 2: 1900, 4: 6120}


def read_modules(package: Path) -> dict[str, str]:
    """Return {dotted name: source} of every module in a package."""
    sources = {}
    for path in sorted(package.rglob("*.py")):
        parts = [package.name, *path.relative_to(package).with_suffix("").parts]
        sources[".".join(parts).removesuffix(".__init__")] = path.read_text()
    return sources


def room(module: str) -> str:
    """Return "routing" for capsedu.routing, "data" for capsedu.data.original."""
    return [*module.split("."), "__init__"][1]


def imported(source: str) -> list[str]:
    """Return the dotted name of everything a module imports, at its top or in a function."""
    names = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        if isinstance(node, ast.ImportFrom):
            origin = "." * node.level + (node.module or "")
            names += [f"{origin}.{alias.name}" for alias in node.names]
    return names


def house_faults(sources: dict[str, str]) -> list[str]:
    """Say what stands on no floor, imports from above or from outside, or imports in a circle."""
    floor_of = {name: floor for floor, rooms in FLOORS.items() for name in rooms}
    homeless = sorted({room(module) for module in sources} - floor_of.keys())
    if homeless:
        return [
            f"{name}: on no floor, add it to FLOORS in tests/test_house.py" for name in homeless
        ]
    faults = []
    within = {}
    for module, source in sources.items():
        floor = floor_of[room(module)]
        allowed = set(sys.stdlib_module_names).union(*(PACKAGES[n] for n in range(1, floor + 1)))
        within[module] = set()
        for name in imported(source):
            if name.split(".")[0] == "capsedu":
                target = name if name in sources else name.rpartition(".")[0]
                within[module].add(target)
                if floor_of[room(target)] > floor:
                    faults.append(f"{module} (floor {floor}) imports {target} from above")
            elif name.split(".")[0] not in allowed:
                faults.append(f"{module} (floor {floor}) imports {name} from outside")
    try:
        graphlib.TopologicalSorter(within).prepare()
    except graphlib.CycleError as error:
        faults.append("a circle: " + " imports ".join(reversed(error.args[1])))
    return faults


def test_rooms_import_from_below():
    assert house_faults(read_modules(PACKAGE)) == []


@pytest.mark.parametrize(
    ("module", "source", "fault"),
    [
        ("attic", "", "attic: on no floor"),
        ("losses", "import scipy.special", "imports scipy.special from outside"),
        ("losses", "def f():\n    from tqdm import tqdm", "imports tqdm.tqdm from outside"),
        ("losses", "from capsedu.data import original", "imports capsedu.data.original from above"),
        ("losses", "from capsedu import figures", "imports capsedu.figures from above"),
        ("losses", "import capsedu.figures", "imports capsedu.figures from above"),
        ("losses", "from capsedu import margin_loss", "a circle: capsedu imports capsedu.losses"),
        ("losses", "import capsedu.losses", "a circle: capsedu.losses imports capsedu.losses"),
        ("data", "import tests.reference", "imports tests.reference from outside"),
        ("data", "from .original import read_folder", "imports .original.read_folder from outside"),
    ],
)
def test_a_room_that_reaches_too_far_is_found(module, source, fault):
    sources = {
        "capsedu": "from capsedu.losses import margin_loss",
        "capsedu.losses": "import numpy as np",
        "capsedu.data": "",
        "capsedu.data.original": "import pooch",
        "capsedu.figures": "from capsedu.data import original\nfrom capsedu import margin_loss",
    }
    assert house_faults(sources) == []
    found = house_faults({**sources, f"capsedu.{module}": source})
    assert any(fault in line for line in found), found


def test_no_module_has_the_name_of_a_public_function():
    sources = read_modules(PACKAGE)
    functions = {
        node.name
        for source in sources.values()
        for node in ast.parse(source).body
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")
    }
    assert functions.issuperset(set(capsedu.__all__) - {"Routing"})
    assert functions & {module.rpartition(".")[2] for module in sources} == set()


# Run with -c; says in JSON what `import capsedu` brings beyond numpy, and the seconds of both.
FRESH_IMPORT = """
import json, sys, time
start = time.perf_counter()
import numpy
with_numpy, middle = set(sys.modules), time.perf_counter()
import capsedu
end = time.perf_counter()
json.dump([sorted(set(sys.modules) - with_numpy), end - middle, middle - start], sys.stdout)
"""


def test_import_capsedu_brings_floor_1_and_numpy_alone():
    process = subprocess.run(
        [sys.executable, "-c", FRESH_IMPORT], capture_output=True, text=True, check=True
    )
    brought, seconds, numpy_seconds = json.loads(process.stdout)
    print(f"import capsedu: {seconds:.3f} s beyond numpy's {numpy_seconds:.3f} s")
    rooms = {room(name) for name in brought if name.split(".")[0] == "capsedu"}
    others = {name for name in brought if name.split(".")[0] != "capsedu"}
    assert rooms == FLOORS[1]
    assert {name.split(".")[0] for name in others} <= sys.stdlib_module_names
    assert len(others) < 20  # a little of the standard library: dataclasses and the like


# Run with -c MODULES IMPORTS; prints whatever else than importing happens while the modules are
# imported. What they import from outside comes first, so that its doings are not theirs.
WATCHED_IMPORT = """
import importlib, json, os, sys, warnings
import numpy
modules, outside = map(json.loads, sys.argv[1:])
for statement in outside:
    exec(statement)

WATCHED = ("os.", "shutil.", "socket.", "subprocess.", "tempfile.", "urllib.")
HARMLESS = ("os.listdir", "os.scandir", "os.walk")

def watch(event, arguments):
    writes = event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR)
    if writes or (event.startswith(WATCHED) and event not in HARMLESS):
        print(event, *arguments)

def settings():
    matplotlib = sys.modules.get("matplotlib")
    return repr([
        sorted(os.environ.items()), sys.path, warnings.filters, matplotlib and matplotlib.rcParams,
        numpy.geterr(), numpy.get_printoptions(), numpy.random.get_state(),
    ])

before = settings()
sys.addaudithook(watch)
for name in modules:
    importlib.import_module(name)
if settings() != before:
    print("settings changed")
"""


def import_doings(sources: dict[str, str], folder: Path) -> str:
    """Import modules in a fresh process with `folder` as its own; return what it says it did."""
    outside = {
        ast.unparse(node)
        for source in sources.values()
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Import | ast.ImportFrom) and "capsedu" not in ast.unparse(node)
    }
    arguments = [json.dumps(sorted(sources)), json.dumps(sorted(outside))]
    process = subprocess.run(
        [sys.executable, "-B", "-c", WATCHED_IMPORT, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    return process.stdout + process.stderr


def test_importing_does_nothing_else(tmp_path):
    assert import_doings(read_modules(PACKAGE), tmp_path) == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("source", "doing"),
    [
        ("print('hello')", "hello"),
        ("import sys; sys.stderr.write('hello')", "hello"),
        ("open('left.txt', 'w')", "open left.txt"),
        ("import os; os.mkdir('left')", "os.mkdir left"),
        ("import socket; socket.socket()", "socket.__new__"),
        ("import subprocess, sys; subprocess.run([sys.executable, '-V'])", "subprocess.Popen"),
        ("import numpy; numpy.random.seed(0)", "settings changed"),
        ("import numpy; numpy.seterr(all='ignore')", "settings changed"),
        ("import os; os.environ['A'] = 'b'", "putenv"),
        ("import warnings; warnings.simplefilter('ignore')", "settings changed"),
        ("1 / 0", "ZeroDivisionError"),
    ],
)
def test_an_import_that_does_more_is_found(tmp_path, source, doing):
    (tmp_path / "loud.py").write_text(source)
    assert doing in import_doings({"loud": source}, tmp_path)


def code_lines(source: str) -> int:
    """Count the lines that hold code: no docstrings, no comments, no blank lines."""
    layout = {
        *(tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT),
        *(tokenize.ENCODING, tokenize.ENDMARKER),
    }
    lines = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in layout:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(source)):
        documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
        if isinstance(node, documented) and ast.get_docstring(node) is not None:
            lines -= set(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    return len(lines)


SEVEN_LINES = '''"""Two lines
of docstring."""

import os  # 1

# a comment
def f(  # 2
    a,  # 3
):  # 4

    """Docstring."""
    text = """5
# 6"""
    return a + text  # 7
'''


def test_code_lines_are_counted():
    assert code_lines(SEVEN_LINES) == 7
    assert code_lines("") == 0


@pytest.mark.parametrize(("floor", "most"), CODE_LINES.items())
def test_the_house_is_small(floor, most):
    rooms = set().union(*(FLOORS[n] for n in range(1, floor + 1)))
    sources = read_modules(PACKAGE)
    lines = {name: code_lines(source) for name, source in sources.items() if room(name) in rooms}
    print(f"floors 1 to {floor}: {sum(lines.values())} lines of code")
    assert 0 < sum(lines.values()) <= most, lines


def docstring_faults(function) -> list[str]:
    """Say what a public function lacks: a section, a parameter's entry, a type hint."""
    doc = inspect.getdoc(function) or ""
    parameters = inspect.signature(function).parameters
    sections = re.findall(r"^(\w+)\n-+$", doc, re.MULTILINE)
    wanted = ["Parameters", "Returns", "Raises", "Notes"]
    faults = [] if sections == wanted else [f"sections: got {sections}, want {wanted}"]
    entries = doc.partition("\nParameters\n")[2].partition("\n\n")[0]
    named = re.findall(r"^(\w+(?:, \w+)*) : ", entries, re.MULTILINE)
    if ", ".join(named) != ", ".join(parameters):
        faults.append(f"parameters: got {named}, want {list(parameters)}")
    if function.__annotations__.keys() != {*parameters, "return"}:
        faults.append(f"type hints: got {list(function.__annotations__)}")
    return faults


PUBLIC = [name for name in capsedu.__all__ if inspect.isfunction(getattr(capsedu, name))]


@pytest.mark.parametrize("name", PUBLIC)
def test_public_functions_are_documented(name):
    assert docstring_faults(getattr(capsedu, name)) == []


def test_a_lacking_docstring_is_found():
    def good(a: float, b: float, c: float) -> float:
        """Add.

        Parameters
        ----------
        a, b : float
            These.
        c : float
            This.

        Returns
        -------
        float

        Raises
        ------
        Nothing

        Notes
        -----
        None.
        """

    def bad(a, b: float):
        """Add.

        Parameters
        ----------
        b : float
            This.
        """

    assert docstring_faults(good) == []
    assert [fault.partition(":")[0] for fault in docstring_faults(bad)] == [
        "sections",
        "parameters",
        "type hints",
    ]
