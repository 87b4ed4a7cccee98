"""The notebooks say what they compute: re-executed, compared, their prose held to the numbers."""

import copy
import re

import nbformat
import notebook_state as state
import pytest

PATHS = {path.stem: path for path in state.paths()}
DECIMAL = re.compile(r"(?<![\w.])\d*\.\d+(?![\w.]*\d)")
LINK = re.compile(r"\]\(([^)#\s]+\.ipynb)\)")
LONGEST_CELL = 18


def prose(notebook):
    return [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]


def computed(notebook):
    """All that the code cells say or show: what a claim in the text may rest on."""
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return "\n".join([c.source + "\n" + "\n".join(map(state.shown, c.outputs)) for c in code])


def unsupported(notebook):
    """The decimals of the prose that no code cell computes or asserts, to the digits written."""
    known = [abs(float(n)) for n in re.findall(r"\d*\.?\d+(?:e[-+]?\d+)?", computed(notebook))]
    text = re.sub(r"https?://\S+|arXiv:\S+|<!--.*?-->", "", "\n".join(prose(notebook)))
    return [
        claim
        for claim in DECIMAL.findall(text)
        if not any(abs(float(claim) - n) <= 0.501 * 10 ** -len(claim.split(".")[1]) for n in known)
    ]


@pytest.fixture(scope="module", params=PATHS)
def notebook(request):
    return nbformat.read(PATHS[request.param], as_version=4)


@pytest.fixture(scope="module")
def start_here():
    return nbformat.read(PATHS["00_start_here"], as_version=4)


def test_the_series_is_whole():
    assert next(iter(PATHS)) == "00_start_here"
    assert {"01", "02", "03", "04", "05", "06"} <= {name.split("_")[0] for name in PATHS}


def minutes_in_table(text):
    """{"02": 16, …} of a table of notebooks; the bold ones are the core path."""
    rows = re.findall(r"^\| (.*?(\d\d) · .*)\| (\d+) \|$", text, re.MULTILINE)
    return {number: int(m) for _, number, m in rows}, sum(int(m) for r, _, m in rows if "**" in r)


def test_the_tables_give_each_notebook_the_minutes_that_it_gives_itself(start_here):
    said = {
        name[:2]: int(re.search(r"\*Time:\* (\d+) minutes", opening)[1])
        for name, path in PATHS.items()
        for opening in [nbformat.read(path, as_version=4).cells[0].source]
    }
    readme = (state.NOTEBOOKS.parent / "README.md").read_text()
    for text in (readme, "\n".join(prose(start_here))):
        table, core = minutes_in_table(text)
        assert table == said
        assert re.search(rf"core path[,:] {core} minutes", text)


def test_it_opens_with_outcome_needs_time_and_navigation(notebook):
    opening, guard = notebook.cells[0].source, notebook.cells[1].source
    assert opening.startswith("# ")
    for part in ("**After this notebook**", "*You need:*", "*Time:*", "minutes", ".ipynb)"):
        assert part in opening
    assert "pip install" in guard and "import capsedu" in guard


def test_it_closes_with_summary_exercises_references_and_navigation(notebook):
    text = "\n".join(prose(notebook))
    for part in ("## Summary", "xercise", "References"):
        assert part in text
    assert LINK.search(prose(notebook)[-1])


def test_its_links_lead_somewhere(notebook):
    for target in LINK.findall("\n".join(prose(notebook))):
        assert (state.NOTEBOOKS / target).exists(), target


def test_its_cells_are_short(notebook):
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert len(cell.source.splitlines()) <= LONGEST_CELL, cell.source


def test_every_decimal_of_its_prose_is_computed(notebook):
    assert unsupported(notebook) == []


def test_its_outputs_are_fit_for_a_page_without_a_kernel(notebook):
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            assert output.output_type != "error"
            assert output.get("name") != "stderr", output.text
            assert state.WIDGET not in output.get("data", {})
            if "image/png" in output.get("data", {}):
                alt = output.metadata.get("image/png", {}).get("alt", "")
                assert len(alt) > 40, f"a picture in cell {cell.id} wants alt text"
            for path in re.findall(r"/(?:home|root|work|tmp|usr)/\w*", str(output)):
                pytest.fail(f"cell {cell.id} shows a path of one machine: {path}")


def test_it_is_in_the_committed_state(notebook, request):
    name = request.node.callspec.params["notebook"]
    assert notebook == state.committed_state(copy.deepcopy(notebook), name), (
        "run `make notebooks` before committing"
    )
    counts = [c.execution_count for c in notebook.cells if c.cell_type == "code"]
    assert counts == list(range(1, len(counts) + 1)), "run `make notebooks` before committing"


@pytest.mark.notebook
def test_it_runs_from_a_clean_kernel_and_shows_the_same(notebook, request):
    name = request.node.callspec.params["notebook"]
    assert state.differences(notebook, state.execute(PATHS[name])) == []


# The checks above, on notebooks that are wrong.


def code_cell_with(notebook, text):
    return next(
        c
        for c in notebook.cells
        if c.cell_type == "code" and any(text in state.shown(o) for o in c.outputs)
    )


def test_a_changed_number_is_noticed(start_here):
    other = copy.deepcopy(start_here)
    output = code_cell_with(other, "0.3063").outputs[0]
    output.text = output.text.replace("0.3063", "0.3065")
    assert len(state.differences(start_here, other)) == 1


def test_a_rounding_difference_is_not(start_here):
    other = copy.deepcopy(start_here)
    output = code_cell_with(other, "1.2449").outputs[0]
    output.text = output.text.replace("1.2449", "1.24491")
    assert state.differences(start_here, other) == []


def test_changed_words_are_noticed(start_here):
    other = copy.deepcopy(start_here)
    output = code_cell_with(other, "frozen").outputs[0]
    output.text = output.text.replace("frozen", "thawed")
    assert state.differences(start_here, other)


@pytest.mark.parametrize("damage", ["picture", "alt"])
def test_a_lost_picture_or_description_is_noticed(start_here, damage):
    other = copy.deepcopy(start_here)
    cell = code_cell_with(other, "picture:")
    if damage == "picture":
        cell.outputs = []
    else:
        cell.outputs[0].metadata["image/png"]["alt"] = "another description"
    assert state.differences(start_here, other)


@pytest.mark.parametrize(("wrong", "right"), [("0.1185", "0.1175"), (".6083", ".6078")])
def test_a_number_in_the_prose_that_no_cell_computes_is_noticed(start_here, wrong, right):
    other = copy.deepcopy(start_here)
    for cell in other.cells:
        if cell.cell_type == "markdown":
            cell.source = cell.source.replace(right, wrong)
    assert unsupported(other) == [wrong] * len(unsupported(other)) != []


def test_a_widget_or_a_timing_is_noticed(start_here):
    other = copy.deepcopy(start_here)
    other.cells[1].metadata["execution"] = {"iopub.execute_input": "2026-01-01T00:00:00Z"}
    code_cell_with(other, "picture:").outputs[0].data[state.WIDGET] = {"model_id": "1"}
    other.metadata["widgets"] = {"state": {}}
    assert state.committed_state(copy.deepcopy(other), "00_start_here") == start_here
    assert other != start_here
