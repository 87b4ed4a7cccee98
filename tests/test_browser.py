"""The explorers in a real JupyterLab and a real browser, moved by the keyboard alone."""

import contextlib
import io
import os
import re
import shutil
import signal
import time
from pathlib import Path

import ipywidgets as widgets
import lab
import matplotlib.image
import nbformat
import numpy as np
import pytest
import svg as read
from moving import NAMES, copy_of, places, taken_apart, untouched, values_of

import capsedu

pytestmark = pytest.mark.browser

ROOT = Path(__file__).parents[1]
ARTEFACTS = Path(os.environ.get("CAPSEDU_ARTEFACTS") or ROOT / "test-artefacts")
BOOK, STORY = "explorers.ipynb", "03_routing_by_agreement.ipynb"
THEMES = ("JupyterLab Light", "JupyterLab Dark")
REPEAT = 30  # milliseconds between the repeats of a key that is held
LOOK = 20  # milliseconds between two looks at what is seen
MISSING = (
    "no browser is installed: on Debian, apt install chromium (on Ubuntu, install Google Chrome); "
    "any of " + ", ".join(lab.BROWSERS) + " will do"
)

# What a reader sees of the explorer in `cell`: the frame that is not hidden.
SEEN = """cell => {
  const shown = [...cell.querySelectorAll('.widget-html-content')].filter(
    frame => frame.offsetParent && frame.querySelector('svg'));
  if (shown.length !== 1) return null;
  const xml = new XMLSerializer().serializeToString(shown[0].querySelector('svg'));
  return {svg: xml, told: shown[0].querySelector('p').textContent};
}"""
# Note every picture that is seen from here on, by its readout.
WATCH = """cell => {
  const seen = SEEN, told = () => seen(cell)?.told;
  window.pictures = [told()];
  window.watching?.disconnect();
  window.watching = new MutationObserver(() => {
    const now = told();
    if (now && now !== window.pictures.at(-1)) window.pictures.push(now);
  });
  window.watching.observe(cell, {
    subtree: true, childList: true, attributes: true, characterData: true});
}""".replace("SEEN", SEEN)
# The contrast (WCAG) of an element's text with what lies behind it.
CONTRAST = """element => {
  const numbers = colour => colour.match(/[\\d.]+/g).map(Number);
  const light = colour => numbers(colour).slice(0, 3).map(x => x / 255)
    .map(x => x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4)
    .reduce((sum, x, k) => sum + x * [0.2126, 0.7152, 0.0722][k], 0);
  const colour = node => getComputedStyle(node).backgroundColor;
  let ground = element;
  while (ground.parentElement && numbers(colour(ground))[3] === 0) ground = ground.parentElement;
  const both = [light(getComputedStyle(element).color), light(colour(ground))].sort();
  return (both[1] + 0.05) / (both[0] + 0.05);
}"""
# What does not fit into its own box, so that a bar to scroll it shows or a part is cut off.
CUT = """cell => [...cell.querySelectorAll('.jp-OutputArea-output, .jp-OutputArea-output *')]
  .filter(e => e.offsetParent && getComputedStyle(e).overflowX !== 'visible'
    && !e.closest('svg') && e.scrollWidth > e.clientWidth + 1)
  .map(e => `${e.className}: ${e.scrollWidth} in ${e.clientWidth}`)"""


@pytest.fixture(scope="module")
def chromium():
    """A headless Chromium that can reach this machine alone."""
    path = lab.browser()
    if path is None:
        if os.environ.get("CI") == "true":
            pytest.fail(MISSING)
        pytest.skip(MISSING)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=lab.BROWSER_ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def address(chromium, tmp_path_factory):
    """A running JupyterLab: the notebooks of the series, and one of each explorer twice."""
    folder = tmp_path_factory.mktemp("lab")
    shutil.copytree(ROOT / "notebooks", folder / "notebooks")
    calls = [f"from capsedu.explorers import {name}\n\n{name}()" for name in NAMES]
    first = "import os\n\nos.getpid()"
    cells = [first, *(call for call in calls for _ in range(2))]
    lab.write_notebook(folder / "notebooks" / BOOK, cells)
    with lab.running_lab(folder) as address:
        yield address


@pytest.fixture(scope="module")
def book(chromium, address):
    """The notebook of all explorers, with every cell run."""
    page = lab.Page(chromium, address, BOOK)
    page.run_all()
    yield page
    page.page.close()


class Hand:
    """One explorer in the browser, and its shadow here, which is moved in the same way."""

    def __init__(self, page, name, cell, shadow):
        self.page, self.name, self.shadow = page, name, shadow
        self.cell = page.locator(".jp-Notebook .jp-Cell").nth(cell)
        self.cell.scroll_into_view_if_needed()
        self.cell.locator("svg[role=img] >> visible=true").wait_for()

    def element(self, name):
        """What takes the keys of the control called `name`: found by its label."""
        label = re.escape(self.shadow.controls[name].description)
        named = self.cell.locator("label").filter(has_text=re.compile(rf"^\s*{label}\s*$"))
        return named.locator("xpath=..").locator(".noUi-handle, select, input[type=checkbox]")

    def press(self, name, key):
        """Press a key on a control, and move the shadow as the browser should move the control."""
        if isinstance(self.shadow.controls[name], widgets.Dropdown):
            self.choose(name, key)
        else:
            self.element(name).press(key)
            self.follow(name, key)

    def choose(self, name, key):
        """Open a list, move in it by a key, and choose.

        The browser closes an open list when anything on the page moves, as a picture that still
        arrives does, and the keys are lost: then a reader opens it again, and so do we.
        """
        self.follow(name, key)
        element, want = self.element(name), self.shadow.controls[name].index
        for _ in range(10):
            element.focus()
            for each in ("Space", key, "Enter"):
                self.page.keyboard.press(each)
            with contextlib.suppress(Exception):
                self.page.wait_for_function(
                    "([list, want]) => list.selectedIndex === want",
                    arg=[element.element_handle(), want],
                    timeout=3_000,
                )
                return
            self.page.keyboard.press("Escape")
        raise AssertionError(f"the list {name} does not move by {key}")

    def follow(self, name, key):
        """Move the shadow."""
        control = self.shadow.controls[name]
        trait, (least, now, greatest) = places(control)
        if key == "Space":
            place = not now
        elif key in ("Home", "End"):
            place = least if key == "Home" else greatest
        else:
            by = 1 if key in ("ArrowRight", "ArrowDown") else -1
            if isinstance(control, widgets.FloatLogSlider):
                place = control.base ** round(np.log10(now) + by * control.step, 9)
            else:
                place = round(now + by * (1 if trait == "index" else control.step), 9)
            place = min(greatest, max(least, place))
        setattr(control, trait, place)

    def seen(self):
        """What a reader sees: the SVG and the readout."""
        return self.cell.evaluate(SEEN)

    def until(self, look):
        """Look again until it is true, as a page may move while it is looked at; or give up."""
        end = time.monotonic() + lab.SECONDS
        while not (found := look()) and time.monotonic() < end:
            self.page.wait_for_timeout(LOOK)
        return found

    def wait(self):
        """Wait until what is seen is what the shadow draws, and return its readout.

        Readout and picture both: two pictures that differ may have the same numbers to read out.
        """
        svg, told = taken_apart(drawn(self.shadow))

        def shown():
            seen = self.seen()
            return seen and seen["told"] == told and same_shapes(seen["svg"], svg)

        assert self.until(shown), f"not the picture of {values_of(self.shadow)}: {self.seen()}"
        return told

    def disabled(self):
        """The names of the controls that the browser does not let move."""
        is_disabled = "e => (e.closest('.noUi-target') ?? e).hasAttribute('disabled')"
        return {name for name in self.shadow.controls if self.element(name).evaluate(is_disabled)}

    def keep(self, state):
        """Keep a screenshot."""
        ARTEFACTS.mkdir(parents=True, exist_ok=True)
        theme = self.page.evaluate("document.body.dataset.jpThemeName").split()[-1].lower()
        path = ARTEFACTS / f"{self.name}-{theme}-{state}.png"
        self.cell.locator(".jp-Cell-outputWrapper").screenshot(path=path)


def drawn(shadow):
    """The frame that is seen, drawn afresh for the values of the controls."""
    return untouched(shadow.name).html.__wrapped__(**values_of(shadow))


def same_shapes(one, other):
    """Whether two SVGs draw the same."""
    return listed(one) == listed(other)


def listed(svg):
    return [shape._replace(points=shape.points.tolist()) for shape in read.shapes(svg)]


def keys(control):
    """Keys that move a control to its ends and between."""
    if isinstance(control, widgets.Checkbox):
        return ["Space"]
    if isinstance(control, widgets.Dropdown):
        others = len(control.options) - 1
        return ["ArrowDown"] * others + ["ArrowUp"] * others
    return ["ArrowRight", "ArrowRight", "ArrowLeft", "End", "ArrowLeft", "Home", "ArrowRight"]


@pytest.fixture(scope="module")
def hands(book):
    """Two copies of each explorer, of which the second is never moved."""
    return {
        name: (
            Hand(book.page, name, 1 + 2 * k, copy_of(name)),
            Hand(book.page, name, 2 + 2 * k, untouched(name)),
        )
        for k, name in enumerate(NAMES)
    }


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("name", NAMES)
def test_each_control_moves_picture_and_readout_as_it_should(book, hands, name, theme):
    book.set_theme(theme)
    hand, other = hands[name]
    undisturbed = other.seen()
    hand.keep("first")
    for moved, control in hand.shadow.controls.items():
        told = {hand.wait()}
        for key in keys(control):
            hand.press(moved, key)
            told.add(hand.wait())
            now_disabled = {n for n, c in hand.shadow.controls.items() if c.disabled}
            assert hand.until(lambda now=now_disabled: hand.disabled() == now)
            if now_disabled or key in ("End", "Space"):
                hand.keep(moved)
            for blocked in now_disabled:  # its keys do nothing
                hand.element(blocked).press("End", timeout=5_000)
                hand.wait()
        assert len(told) > 1, f"{moved} changes nothing"
    other.wait()
    assert other.seen() == undisturbed


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("name", NAMES)
def test_words_are_readable_and_pictures_white_in_both_themes(book, hands, name, theme):
    book.set_theme(theme)
    hand = hands[name][0]
    hand.cell.scroll_into_view_if_needed()
    words = hand.cell.locator("p, label").locator("visible=true")
    assert words.count() > len(hand.shadow.controls)
    for word in words.all():
        assert hand.until(lambda w=word: w.evaluate(CONTRAST) >= 4.5), word.text_content()
    picture = hand.cell.locator("svg[role=img] >> visible=true")

    def is_white():  # unless the page moved between where the picture is and the photograph
        pixels = matplotlib.image.imread(io.BytesIO(picture.screenshot()))[..., :3]
        return (pixels > 0.99).all(axis=-1).mean() > 0.5

    assert hand.until(is_white)
    assert picture.locator("rect").evaluate("e => getComputedStyle(e).fill") == "rgb(255, 255, 255)"
    assert hand.until(lambda: hand.cell.evaluate(CUT) == []), hand.cell.evaluate(CUT)


def continuous(shadow):
    """The slider that is drawn beforehand, if any, and the first that asks the kernel, if any."""
    sliders = [n for n, c in shadow.controls.items() if hasattr(c, "readout") and not c.disabled]
    asks = [name for name in sliders if name != shadow.beforehand]
    return shadow.beforehand, next(iter(asks), None)


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="needs a system that stops processes")
def test_a_slider_that_was_drawn_beforehand_asks_no_kernel(book, hands):
    """It moves while the kernel is stopped."""
    said = book.page.locator(".jp-Cell").first.locator(".jp-OutputArea-output")
    kernel = int(said.text_content())
    os.kill(kernel, signal.SIGSTOP)
    try:
        for hand, _ in hands.values():
            slider = hand.shadow.beforehand
            if slider is not None:
                for key in ("End", "ArrowLeft", "Home", "ArrowRight"):
                    hand.press(slider, key)
                    hand.wait()
    finally:
        os.kill(kernel, signal.SIGCONT)


@pytest.mark.parametrize("name", NAMES)
def test_a_held_key_neither_lags_nor_skips_to_the_end(hands, name):
    hand = hands[name][0]
    for slider in filter(None, continuous(hand.shadow)):
        hand.press(slider, "Home")
        expected = [hand.wait()]
        control = hand.shadow.controls[slider]
        times = min(15, len(getattr(control, "options", range(16))) - 1)
        for _ in range(times):
            hand.follow(slider, "ArrowRight")
            expected.append(taken_apart(drawn(hand.shadow))[1])
        hand.cell.evaluate(WATCH)
        hand.element(slider).focus()
        for _ in range(times):
            hand.page.keyboard.down("ArrowRight")
            hand.page.wait_for_timeout(REPEAT)
        hand.page.keyboard.up("ArrowRight")
        at_release = hand.page.evaluate("window.pictures.length")
        hand.wait()
        pictures = hand.page.evaluate("window.pictures")
        assert pictures[-1] == expected[-1]
        if slider == hand.shadow.beforehand:
            assert pictures == distinct(expected)  # every one
            continue
        # In order, one on the way at least, and no queue of old ones when the key is let go.
        places = [expected.index(told) for told in pictures]
        assert places == sorted(places)
        assert len(set(pictures) - {expected[0], expected[-1]}) >= 1
        assert len(pictures) - at_release <= 3


def distinct(told):
    """Without what is the same as the one before."""
    return [now for before, now in zip([None, *told], told, strict=False) if now != before]


def test_play_moves_on_by_itself_and_stops(hands):
    hand = hands["routing_explorer"][0]
    hand.press("iteration", "Home")
    hand.wait()
    play, stop = (hand.cell.locator(".widget-play button").nth(k) for k in range(2))
    play.press("Space")
    assert hand.until(
        lambda: re.match("Iteration [2-9] of 10", (hand.seen() or {}).get("told", ""))
    )
    play.press("Space")
    held = hand.seen()["told"]
    hand.page.wait_for_timeout(1500)
    assert hand.seen()["told"] == held
    stop.press("Space")
    hand.press("iteration", "Home")
    assert hand.wait().startswith("Iteration 1 of 10.")


def test_notebook_03_shows_the_widget_where_the_still_was(chromium, address):
    story = lab.Page(chromium, address, STORY)
    cell = story.page.locator(".jp-Notebook .jp-Cell").filter(has_text="routing_explorer(z)").first
    cell.scroll_into_view_if_needed()
    still = cell.locator("img")
    still.wait_for()
    story.run_all()
    cell.scroll_into_view_if_needed()
    cell.locator("svg[role=img] >> visible=true").wait_for()
    assert still.count() == 0
    z = z_of_the_notebook()
    cell.locator(".noUi-handle").press("Home")
    for k, step in enumerate(capsedu.route(z, 10).steps, start=1):
        story.page.wait_for_function(
            f"([cell, start]) => ({SEEN})(cell)?.told.startsWith(start)",
            arg=[cell.element_handle(), f"Iteration {k} of 10."],
        )
        numbers = [float(n) for n in re.findall(r"-?\d+\.\d+", cell.evaluate(SEEN)["told"])]
        want = np.concatenate([np.linalg.norm([step.s, step.v], axis=-1).ravel(),
                               step.b.ravel(), step.c.ravel()])  # fmt: skip
        np.testing.assert_allclose(numbers[:-1], want, rtol=0, atol=0.005 + 1e-12)
        cell.locator(".noUi-handle").press("ArrowRight")
    ARTEFACTS.mkdir(parents=True, exist_ok=True)
    story.page.screenshot(path=ARTEFACTS / "notebook-03.png")
    assert_quiet(story)
    story.page.close()


def z_of_the_notebook():
    """Run the cell that defines z."""
    cells = nbformat.read(ROOT / "notebooks" / STORY, as_version=4).cells
    names = {"np": np}
    exec(next(cell.source for cell in cells if cell.source.startswith("z = np.array(")), names)
    return names["z"]


def assert_quiet(page):
    """Nothing was requested from another host, and nothing went wrong."""
    assert page.asked == []
    assert page.errors == []
    text = page.page.locator(".jp-Notebook").inner_text().lower()
    for wrong in ("model not found", "error displaying widget", "traceback", "error:"):
        assert wrong not in text
    assert page.page.locator(".jp-RenderedText[data-mime-type*=stderr]").count() == 0


def test_nothing_was_asked_from_elsewhere_and_nothing_went_wrong(book):
    assert_quiet(book)
