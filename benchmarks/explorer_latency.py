"""How long from a key to the new picture: the explorers in JupyterLab, beside the plain way.

The plain way is `ipywidgets.interact` with a new matplotlib figure each time, painted from the very
same sketch and shown inline.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from ipywidgets import ValueWidget
from playwright.sync_api import Page, sync_playwright
from tqdm import trange

import capsedu.explorers

# Its own JupyterLab and its browser are those of the browser tests.
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import lab

# The slider that is drawn beforehand, and the first control that asks the kernel.
CONTROLS = [
    ("routing_explorer", "iteration"),
    ("routing_explorer", "alike"),
    ("squash_explorer", "length"),
    ("gradients_explorer", "r"),
    ("gradients_explorer", "scale"),
    ("check_explorer", "step"),
    ("check_explorer", "gradient"),
    ("scissors_explorer", "v_into_agreement"),
    ("dimensions_explorer", "amount"),
    ("dimensions_explorer", "dimension"),
]

COPIES = {name: getattr(capsedu.explorers, name)() for name, _ in CONTROLS}

# Nothing that was drawn is kept, so that every step is one to a picture that is new.
FIRST_CELL = """
%matplotlib inline
from unittest import mock

from IPython.display import display
from ipywidgets import interact

import capsedu.explorers
import capsedu.explorers.shell

capsedu.explorers.shell.KEPT = 0


def plainly(explorer, name):
    control = explorer.controls[name]
    if name != explorer.beforehand:
        control.unobserve(explorer._draw, "value")
    values = {other: c.value for other, c in explorer.controls.items()}

    def show(**changed):
        # What paints the sketch gives the figure itself, and no PNG.
        with mock.patch("capsedu.sketches.sketch.picture", lambda figure, alt: figure):
            figure = explorer.draw(**values | changed).picture()
        display(figure)

    interact(show, **{name: control})
"""

# One step of a control in a cell, from the key to the frame that paints the new picture.
STEP = """async ([cell, key]) => {
  // What is posted in a frame's callback comes when the frame has been painted.
  const painted = () => new Promise(resolve => requestAnimationFrame(() => {
    const channel = new MessageChannel();
    channel.port1.onmessage = resolve;
    channel.port2.postMessage(null);
  }));
  const frames = async n => { for (; n > 0; n--) await new Promise(requestAnimationFrame); };
  const image = () => [...cell.querySelectorAll('.jp-OutputArea-output img')].at(-1);
  const shown = () => {
    if (image()) return image().src;
    return [...cell.querySelectorAll('svg[role=img]')].find(
      svg => svg.parentElement.offsetParent)?.outerHTML;
  };
  cell.scrollIntoView({block: 'center'});
  await frames(2);
  const before = shown();
  const changed = new Promise((resolve, reject) => {
    const observer = new MutationObserver(() => {
      if (shown() && shown() !== before) { observer.disconnect(); resolve(); }
    });
    observer.observe(cell, {
      subtree: true, childList: true, attributes: true, characterData: true});
    setTimeout(() => reject(new Error('nothing changed')), 20000);
  });
  const [slider, select, box] = ['.noUi-handle', 'select', 'input[type=checkbox]'].map(
    kind => cell.querySelector('.to-be-moved ' + kind));
  const start = performance.now();
  if (slider) {
    slider.dispatchEvent(new KeyboardEvent('keydown', {key, bubbles: true, cancelable: true}));
  } else if (select) {
    select.selectedIndex += key === 'ArrowRight' ? 1 : -1;
    select.dispatchEvent(new Event('change', {bubbles: true}));
  } else {
    box.click();
  }
  await changed;
  if (image()) await image().decode();
  await painted();
  return performance.now() - start;
}"""
# Mark the control that has this label.
MARK = """([cell, label]) => {
  const named = [...cell.querySelectorAll('label')].find(l => l.textContent.trim() === label);
  named.parentElement.classList.add('to-be-moved');
}"""


def cells() -> list[str]:
    """Return the notebook: a cell for each control of an explorer, and one for the plain way."""
    written = [FIRST_CELL]
    for explorer, name in CONTROLS:
        written.append(f"capsedu.explorers.{explorer}()")
        written.append(f"plainly(capsedu.explorers.{explorer}(), {name!r})")
    return written


def measure(page: Page, steps: int) -> np.ndarray:
    """Return milliseconds, shape (controls, 2, steps): the explorer, and the plain way."""
    places, walks = [], []
    for k, (explorer, name) in enumerate(CONTROLS):
        control = COPIES[explorer].controls[name]
        for way in range(2):
            cell = page.locator(".jp-Notebook .jp-Cell").nth(1 + 2 * k + way)
            cell.locator("svg[role=img], .jp-OutputArea-output img").first.wait_for()
            places.append(cell.element_handle())
            page.evaluate(MARK, [places[-1], control.description])
        walks.append(walk(control))
    milliseconds = np.zeros((len(CONTROLS), 2, steps))
    for step in trange(steps, unit="round", leave=False):
        for k in range(len(CONTROLS)):
            key = next(walks[k])
            for way in range(2):
                page.wait_for_timeout(200)  # until what was asked for before has been done
                milliseconds[k, way, step] = page.evaluate(STEP, [places[2 * k + way], key])
    return milliseconds


def walk(control: ValueWidget) -> Iterator[str]:
    """Yield the keys that move a control up to its end, down to its start, and so on."""
    if hasattr(control, "options"):
        here, last = control.index, len(control.options) - 1
    elif hasattr(control, "step"):
        value = np.log10(control.value) if hasattr(control, "base") else control.value
        here, last = (round((x - control.min) / control.step) for x in (value, control.max))
    else:  # a box to be ticked
        here, last = 0, 1
    key = "ArrowRight"
    while True:
        if here in (0, last):
            key = "ArrowRight" if here == 0 else "ArrowLeft"
        here += 1 if key == "ArrowRight" else -1
        yield key


def table(milliseconds: np.ndarray) -> str:
    """Return medians, 90th percentiles and ratios in markdown."""
    lines = [
        "| explorer | control | asks the kernel | median, ms | 90 %, ms | plain way, ms | ratio |",
        "|---|---|---|---|---|---|---|",
    ]
    for (explorer, name), (ours, plain) in zip(CONTROLS, milliseconds, strict=True):
        made = COPIES[explorer]
        median, others = np.median(ours), np.median(plain)
        asks = "no" if name == made.beforehand else "yes"
        lines.append(
            f"| {explorer} | {made.controls[name].description} | {asks} | {median:.0f} "
            f"| {np.percentile(ours, 90):.0f} | {others:.0f} | {others / median:.1f} |"
        )
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=20, help="default: %(default)s")
    options = parser.parse_args(arguments)
    if lab.browser() is None:
        sys.exit(f"needs one of {', '.join(lab.BROWSERS)}: on Debian, apt install chromium")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        notebooks = Path(folder, "notebooks")
        notebooks.mkdir()
        lab.write_notebook(notebooks / "latency.ipynb", cells())
        with lab.running_lab(Path(folder)) as address:
            chromium = playwright.chromium.launch(
                executable_path=lab.browser(), args=lab.BROWSER_ARGUMENTS
            )
            page = lab.Page(chromium, address, "latency.ipynb")
            page.run_all()
            milliseconds = measure(page.page, options.steps)
            chromium.close()
    print(f"{options.steps} steps of each, {os.cpu_count()} processors\n")
    print(table(milliseconds))


if __name__ == "__main__":
    main()
