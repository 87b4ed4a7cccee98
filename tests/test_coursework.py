"""The exercises: what students are given, what nbgrader and pytest say to what they hand in."""

import copy
import csv
import inspect
import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import nbformat
import notebook_state as state
import pytest

import capsedu
from capsedu.exercises import check, tasks

SOURCES = {path.stem: path for path in state.exercise_paths()}
README = (state.EXERCISES / "README.md").read_text()
STUB = 'raise NotImplementedError("not written yet")'
LONGEST_CELL = 18


def part(cell, name):
    """What nbgrader is told of a cell, as `grade` or `solution`; None of a cell it leaves alone."""
    return cell.metadata.get("nbgrader", {}).get(name)


def released(name):
    return nbformat.read(state.EXERCISES / "release" / name / f"{name}.ipynb", as_version=4)


def without_markers(source):
    return "\n".join(line for line in source.split("\n") if "### " not in line)


@pytest.fixture(scope="module", params=SOURCES)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def source(name):
    return nbformat.read(SOURCES[name], as_version=4)


@pytest.fixture(scope="module")
def release(name):
    return released(name)


def test_there_is_one_for_each_notebook_of_the_mathematics():
    assert {name[:2] for name in SOURCES} >= {"01", "02", "03", "04", "05", "06"}


def test_every_task_is_set_once():
    text = "\n".join(path.read_text() for path in SOURCES.values())
    assert sorted(re.findall(r'check\(\\"(\w+)\\", ', text)) == sorted(tasks())


def test_the_lecturers_table_gives_tasks_and_minutes_as_the_exercises_do():
    rows = re.findall(r"^\| \[.*?\]\(release/(\w+)/.*?\) \| (.*?) \|.*\| (\d+) \|$", README, re.M)
    said = {name: (tuple(re.findall(r"`(\w+)`", named)), minutes) for name, named, minutes in rows}
    assert said == {
        name: (
            tuple(re.findall(r'check\(\\"(\w+)\\", ', path.read_text())),
            re.search(r"\*Time:\* (\d+) minutes", path.read_text())[1],
        )
        for name, path in SOURCES.items()
    }


def test_the_lecturers_page_gives_the_minutes_of_the_core_path():
    names, minutes = re.search(
        r"core path of the notebooks \((.*?)\) takes (\d+) minutes", README
    ).groups()
    read = [
        next(state.NOTEBOOKS.glob(f"{number}_*.ipynb")).read_text() for number in names.split(", ")
    ]
    assert sum(int(re.search(r"\*Time:\* (\d+) minutes", text)[1]) for text in read) == int(minutes)


def test_the_python_on_the_lecturers_page_runs(capsys):
    link, memory, sheet = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    exec(link, {})
    address = urlsplit(capsys.readouterr().out.strip())
    query = parse_qs(address.query)
    assert address.path == "/hub/user-redirect/git-pull"
    *_, folder, page = query["urlpath"][0].partition("notebooks/")
    assert (state.NOTEBOOKS / page).exists()
    assert query.keys() == {"repo", "branch", "urlpath"}
    exec(sheet, {})
    assert "dW unrolled" in capsys.readouterr().out
    compile(memory, "<README.md>", "exec")  # it reads what only Linux has


def test_it_says_what_it_teaches_needs_takes_and_gives(source):
    opening, guard = source.cells[0].source, source.cells[1].source
    assert opening.startswith("# Exercise ")
    for said in ("**After this exercise**", "*You need:*", "*Points:*", "../../../0"):
        assert said in opening
    assert 20 <= int(re.search(r"\*Time:\* (\d+) minutes", opening)[1]) <= 60
    assert "pip install" in guard and "import capsedu" in guard
    points = [part(cell, "points") for cell in source.cells if part(cell, "grade")]
    assert sum(points) == int(re.search(r"\*Points:\* (\d+)", opening)[1])
    text = "\n".join(cell.source for cell in source.cells if cell.cell_type == "markdown")
    assert [int(p) for p in re.findall(r"^## .*\((\d) points?\)$", text, re.M)] == points
    assert text.count("<details><summary>Hint") >= 2


def test_its_links_lead_somewhere(name, source):
    text = "\n".join(cell.source for cell in source.cells if cell.cell_type == "markdown")
    for target in re.findall(r"\]\(([^)#\s]+)\)", text):
        for folder in ("source", "release"):
            assert (state.EXERCISES / folder / name / target).exists(), target


def test_its_picture_is_the_one_that_the_solutions_draw(name, source):
    png, tag = state.picture_to_reach(source)
    for folder in ("source", "release"):
        assert (state.EXERCISES / folder / name / state.PICTURE).read_bytes() == png
    assert any(tag in cell.source for cell in source.cells)
    assert len(tag) > 100  # most of it describes the picture


def test_its_cells_are_short(source):
    for cell in source.cells:
        if cell.cell_type == "code":
            assert len(without_markers(cell.source).splitlines()) <= LONGEST_CELL, cell.source


def unfair_points(notebook):
    """Test cells that do not end in a plain number between 0 and their points, or say too much.

    nbgrader reads a result that is no number, as np.float64(0.0), as full points, and gives none
    where anything is on stderr.
    """
    unfair = []
    for cell in notebook.cells:
        if part(cell, "grade"):
            results = [output for output in cell.outputs if output.output_type == "execute_result"]
            number = results and re.fullmatch(r"\d+\.\d+", results[-1].data["text/plain"])
            stderr = [output for output in cell.outputs if output.get("name") == "stderr"]
            if not number or stderr or not 0 <= float(number[0]) <= part(cell, "points"):
                unfair.append(part(cell, "grade_id"))
    return unfair


def test_its_solutions_get_all_points(source):
    assert unfair_points(source) == []
    for cell in source.cells:
        if part(cell, "grade"):
            assert cell.outputs[-1].data["text/plain"] == f"{part(cell, 'points')}.0"


@pytest.mark.parametrize("result", ["np.float64(3.0)", "True", "Report", "99.0", None])
def test_points_that_nbgrader_would_misread_are_found(result):
    notebook = nbformat.read(SOURCES["01_squash_and_back"], as_version=4)
    cell = next(cell for cell in notebook.cells if part(cell, "grade"))
    if result is None:
        cell.outputs = []
    else:
        cell.outputs[-1].data["text/plain"] = result
    assert unfair_points(notebook) == [part(cell, "grade_id")]


def test_it_is_in_the_committed_state(name, source):
    assert source == state.committed_state(copy.deepcopy(source), name), "run `make notebooks`"


@pytest.mark.notebook
def test_its_solutions_run_from_a_clean_kernel_and_show_the_same(name, source):
    assert state.differences(source, state.execute(SOURCES[name])) == []


def test_no_solution_is_given_away(source, release):
    """Every solution is a stub that says so, and stands in no other cell of what is released."""
    before, after = ("\n".join(cell.source for cell in nb.cells) for nb in (source, release))
    solutions = re.findall(r"### BEGIN SOLUTION\n(.*?)### END SOLUTION", before, re.DOTALL)
    assert after.count(STUB) == len(solutions) >= 3
    for solution in solutions:
        assert solution.strip() not in after
    assert all(not cell.outputs for cell in release.cells if cell.cell_type == "code")


def test_the_package_holds_no_solutions():
    include = (state.NOTEBOOKS.parent / "pyproject.toml").read_text()
    assert 'include = ["capsedu*"]' in include
    assert state.NOTEBOOKS.parent / "capsedu" not in state.EXERCISES.parents


def in_a_course(folder):
    """Lay the exercises into a folder of its own, as a lecturer finds them in a clone."""
    kept = shutil.ignore_patterns("submitted", "autograded", "feedback", "gradebook.db", "*.csv")
    return Path(shutil.copytree(state.EXERCISES, folder, ignore=kept))


@pytest.mark.nbgrader
def test_what_is_released_is_generated_from_the_sources(tmp_path):
    course = in_a_course(tmp_path / "course")
    shutil.rmtree(course / "release")
    state.release(course)
    made, kept = course / "release", state.EXERCISES / "release"
    files = [path.relative_to(made) for path in sorted(made.rglob("*")) if path.is_file()]
    assert files == [path.relative_to(kept) for path in sorted(kept.rglob("*")) if path.is_file()]
    for file in files:
        assert (made / file).read_bytes() == (kept / file).read_bytes(), f"{file}: make notebooks"


# The whole cycle, with submissions of every kind to one exercise.

ASSIGNMENT = "01_squash_and_back"
FORGETS_THE_LENGTH = '''def squash_vjp(s, dv):
    """The norm is treated as a constant."""
    t = np.sqrt((s * s).sum(axis=-1, keepdims=True))
    return t / (1 + t**2) * dv
'''
ENDLESS = '''def squash_vjp(s, dv):
    """Never returns."""
    while True:
        pass
'''
NOISY = '''import sys, warnings

def squash(s):
    """Right, with a lot of noise."""
    print("here")
    print("there", file=sys.stderr)
    warnings.warn("look out")
    t = np.sqrt((s * s).sum(axis=-1, keepdims=True))
    return t * t / (1 + t**2) * np.nan_to_num(s / t)
'''
ENDLESS_CELL = "while True:\n    pass"
# By student: what is changed in the right submission, by the id of the cell; and its points.
SUBMISSIONS = {
    "right": ({"squash": NOISY}, 10),
    "wrong": ({"squash_vjp": FORGETS_THE_LENGTH, "by_hand": "v_first = [0.5, -3.0]"}, 6),
    "crashing": ({"squash": "def squash(s)", "squash_check": "2.0", "squash_jacobian": "1 / 0"}, 5),
    "endless": ({"squash_jacobian": ENDLESS_CELL, "squash_vjp": ENDLESS}, 4),
    "blank": (None, 0),
}


def submission(changes):
    """Return the released notebook, filled in; left as it is where `changes` is None."""
    notebook = released(ASSIGNMENT)
    solutions = nbformat.read(SOURCES[ASSIGNMENT], as_version=4)
    for cell, solution in zip(notebook.cells, solutions.cells, strict=True):
        if changes is not None and part(cell, "solution"):
            cell.source = without_markers(solution.source)
        if changes and part(cell, "grade_id") in changes:
            cell.source = changes[part(cell, "grade_id")]
        if cell.source.startswith("from capsedu.exercises import hand_example"):
            cell.source = cell.source.replace("seed = 1", "seed = 0")
    return notebook


@pytest.fixture(scope="module")
def graded(tmp_path_factory):
    """Return a course where every submission got points and feedback, by the README's commands."""
    folder = tmp_path_factory.mktemp("nbgrader")
    course = in_a_course(folder / "course")
    home = {"JUPYTER_CONFIG_DIR": "config", "JUPYTER_DATA_DIR": "data", "HOME": "home"}
    environment = os.environ | {name: str(folder / place) for name, place in home.items()}
    # nbgrader calls a program of its own environment, alembic, by its bare name.
    environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])

    def nbgrader(command, *arguments):
        (line,) = re.findall(rf"^nbgrader {command} ([^#\n]*)", README, re.M)
        command = [sys.executable, "-m", "nbgrader", command, *line.split(), *arguments]
        process = subprocess.run(
            command, cwd=course, env=environment, capture_output=True, text=True
        )
        assert process.returncode == 0, process.stderr

    nbgrader("generate_assignment")
    for student, (changes, _) in SUBMISSIONS.items():
        place = course / "submitted" / student / ASSIGNMENT
        place.mkdir(parents=True)
        nbformat.write(submission(changes), place / f"{ASSIGNMENT}.ipynb")
    nbgrader("autograde", "--Execute.timeout=15")
    nbgrader("generate_feedback")
    nbgrader("export")
    return course


@pytest.mark.nbgrader
def test_every_submission_gets_the_points_it_deserves(graded):
    with (graded / "grades.csv").open() as file:
        points = {row["student_id"]: float(row["score"]) for row in csv.DictReader(file)}
    assert points == {student: points for student, (_, points) in SUBMISSIONS.items()}


def feedback(graded, student):
    page = graded / "feedback" / student / ASSIGNMENT / f"{ASSIGNMENT}.html"
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", page.read_text()))


@pytest.mark.nbgrader
@pytest.mark.parametrize(
    ("student", "said"),
    [
        ("right", "squash: PASSED"),
        ("wrong", "squash-jacobian-norm-constant"),
        ("wrong", "1 of 2 right"),
        ("crashing", "SyntaxError"),
        ("crashing", "ZeroDivisionError"),
        ("endless", "never-returns"),
        ("endless", "CellTimeoutError"),
        ("blank", "not written yet"),
    ],
)
def test_the_feedback_says_why(graded, student, said):
    assert said in feedback(graded, student)


# The road without a server.


@pytest.fixture
def handed_out(tmp_path):
    """Return run(solutions, *arguments) -> process: pytest, on a copy of the folder."""
    folder = tmp_path / "with_pytest"
    shutil.copytree(state.EXERCISES / "with_pytest", folder)

    def run(solutions, *arguments):
        with (folder / "solutions.py").open("a") as file:
            file.write(solutions)
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments]
        return subprocess.run(command, cwd=folder, capture_output=True, text=True)

    return run


def test_one_task_alone_is_checked_and_its_mistake_is_named(handed_out):
    process = handed_out("\n\n" + FORGETS_THE_LENGTH, "-m", "task_squash_vjp")
    assert process.returncode == 1
    assert "squash-jacobian-norm-constant" in process.stdout
    assert f"1 failed, {len(tasks()) - 1} deselected" in process.stdout
    assert "Traceback" not in process.stdout


def test_the_solutions_pass_there_too(handed_out):
    solutions = {}
    for path in SOURCES.values():
        for cell in nbformat.read(path, as_version=4).cells:
            if part(cell, "solution") and "def " in cell.source:
                solutions[part(cell, "grade_id")] = without_markers(cell.source)
    code = "\n\n".join(solutions.values())
    for task in ("route_vjp_frozen", "route_vjp_unrolled"):  # each is called route_vjp where it is
        code += f"\n\n{solutions[task]}\n\n{task} = route_vjp\n"
    code += f"\n\n{solutions['route_vjp_unrolled']}"
    process = handed_out("\n\n" + code)
    assert process.returncode == 0, process.stdout
    assert f"{len(tasks())} passed" in process.stdout


def test_a_stub_there_fails_clearly(handed_out):
    process = handed_out("", "-m", "task_softmax or task_route")
    assert process.returncode == 1
    assert process.stdout.count("not written yet") >= 2


def test_the_stubs_have_the_parameters_of_the_library():
    stubs = runpy.run_path(str(state.EXERCISES / "with_pytest" / "solutions.py"))
    assert {name for name, f in stubs.items() if inspect.isfunction(f)} == set(tasks())
    for task in tasks():
        shipped = getattr(capsedu, re.sub("_(frozen|unrolled)$", "", task))
        wanted = list(inspect.signature(shipped).parameters)
        got = list(inspect.signature(stubs[task]).parameters)
        assert got == (wanted if wanted[-1] != "rule" or "rule" in got else wanted[:-1])
        with pytest.raises(NotImplementedError, match="not written yet"):
            stubs[task](*got)
        assert not check(task, stubs[task]).passed
