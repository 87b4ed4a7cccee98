"""Bring the notebooks into the state in which they are committed: `make notebooks`.

Each is executed from a clean kernel that reaches no network, and stripped of whatever would differ
from run to run or break the page of a code-hosting site: widgets (a still picture stands in the
same output), progress bars, timings, versions, random cell ids. From an exercise with its solutions
come the picture that its students are to reach, and, by nbgrader, the notebook they are given.
"""

import base64
import difflib
import html
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
EXERCISES = NOTEBOOKS / "exercises"
PICTURE = "to_reach.png"
WIDGET = "application/vnd.jupyter.widget-view+json"
NUMBER = re.compile(r"(?<![\w.])[-−]?\d+(?:\.\d*)?(?:e[-+]?\d+)?")


def paths() -> list[Path]:
    """Every notebook of the series, in reading order."""
    return sorted(NOTEBOOKS.glob("*.ipynb"))


def exercise_paths() -> list[Path]:
    """Every exercise with its solutions: what the students' notebooks are generated from."""
    return sorted(EXERCISES.glob("source/*/*.ipynb"))


def execute(path: Path) -> nbformat.NotebookNode:
    """Run the notebook in a new kernel, without a network, and return it in its committed state."""
    notebook = nbformat.read(path, as_version=4)
    # Whatever asks for a host outside meets a proxy that nobody answers.
    nowhere = dict.fromkeys(("http_proxy", "https_proxy"), "http://127.0.0.1:9")
    # What one cell prints is one output, whenever the kernel happens to flush.
    client = NotebookClient(notebook, timeout=300, kernel_name="python3", coalesce_streams=True)
    one_thread = {"OMP_NUM_THREADS": "1"}  # two wait for one another where other work is running
    client.execute(cwd=str(path.parent), env={**os.environ, **nowhere, **one_thread})
    return committed_state(notebook, path.stem)


def committed_state(notebook: nbformat.NotebookNode, stem: str) -> nbformat.NotebookNode:
    """Return `notebook` with nothing in it that a run changes without changing what is shown."""
    notebook.metadata = nbformat.from_dict(
        {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        }
    )
    number = stem.split("_")[0]
    for position, cell in enumerate(notebook.cells):
        cell.id = f"{number}-{position:03d}"
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = [_still(output) for output in cell.outputs if _stays(output)]
    return notebook


def _stays(output: nbformat.NotebookNode) -> bool:
    """Whether an output belongs to the page: all but the trace of a progress bar."""
    return not (output.output_type == "stream" and output.name == "stderr" and "\r" in output.text)


def _still(output: nbformat.NotebookNode) -> nbformat.NotebookNode:
    output.get("data", {}).pop(WIDGET, None)
    return output


def picture_to_reach(notebook: nbformat.NotebookNode) -> tuple[bytes, str]:
    """Return the last picture that an exercise draws: its PNG, and the tag that shows it."""
    *_, last = [
        output
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if "image/png" in output.get("data", {})
    ]
    about = last.metadata["image/png"]
    tag = f'<img src="{PICTURE}" width="{about["width"]}" alt="{html.escape(about["alt"])}">'
    return base64.b64decode(last.data["image/png"]), tag


def show_picture_to_reach(notebook: nbformat.NotebookNode, folder: Path) -> None:
    """Write that picture beside the exercise, whose text shows it to those who have not run it."""
    png, tag = picture_to_reach(notebook)
    (folder / PICTURE).write_bytes(png)
    for cell in notebook.cells:
        cell.source = re.sub(f'^<img src="{PICTURE}".*>$', lambda _: tag, cell.source, flags=re.M)


def release(course: Path) -> None:
    """Let nbgrader make the students' notebooks, without solutions, in course/release."""
    command = [sys.executable, "-m", "nbgrader", "generate_assignment", "*", "--no-db", "--force"]
    subprocess.run(command, cwd=course, check=True, capture_output=True)


def shown(output: nbformat.NotebookNode) -> str:
    """Return what a reader sees of an output, as text: a picture by its alt text."""
    if output.output_type == "stream":
        return output.text
    if output.output_type == "error":
        return f"{output.ename}: {output.evalue}"
    if "image/png" in output.data:
        return f"picture: {output.metadata.get('image/png', {}).get('alt', '(no alt text)')}"
    if "text/latex" in output.data:
        return output.data["text/latex"]
    return output.data.get("text/html", output.data.get("text/plain", ""))


def differences(committed: nbformat.NotebookNode, executed: nbformat.NotebookNode) -> list[str]:
    """Say where the outputs of two runs differ: text exactly, numbers beyond 4 digits."""
    found = []
    for before, after in zip(committed.cells, executed.cells, strict=True):
        if before.cell_type != "code":
            continue
        old, new = ("\n".join(map(shown, cell.outputs)) for cell in (before, after))
        if not _same(old, new):
            diff = difflib.unified_diff(old.splitlines(), new.splitlines(), "committed", "executed",
                                        lineterm="", n=0)  # fmt: skip
            found.append(f"cell {before.id}:\n" + "\n".join(diff))
    return found


def _same(old: str, new: str) -> bool:
    numbers = [[float(n.replace("−", "-")) for n in NUMBER.findall(text)] for text in (old, new)]
    return NUMBER.sub("#", old) == NUMBER.sub("#", new) and all(
        abs(a - b) <= 1e-4 * abs(a) for a, b in zip(*numbers, strict=True)
    )


def main() -> None:
    """Execute the notebooks named on the command line, or all, and write them back."""
    from tqdm import tqdm

    from capsedu.figures.routing import what_routing_ascends
    from capsedu.sketches.four_integers import same_output_two_tangents

    chosen = [Path(name).resolve() for name in sys.argv[1:]] or [*paths(), *exercise_paths()]
    exercises = exercise_paths()
    for path in tqdm(chosen, unit="notebook"):
        notebook = execute(path)
        if path in exercises:
            show_picture_to_reach(notebook, path.parent)
        nbformat.write(notebook, path)
    if set(chosen) & set(exercises):
        release(EXERCISES)
    for figure in (same_output_two_tangents, what_routing_ascends):
        figure().save(NOTEBOOKS / f"{figure.__name__}.png")


if __name__ == "__main__":
    main()
