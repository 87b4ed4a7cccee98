"""The shell of an explorer: controls over one picture and its readout, and a still beside them."""

import functools
from collections.abc import Callable, Mapping
from html import escape

import ipywidgets as widgets

from capsedu.sketches.sketch import Sketch, stacked

KEPT = 256  # pictures that are not drawn a second time
LINES = 'style="max-width: 760px; margin: 0; line-height: 1.5"'  # as wide as a sketch may be


class Explorer(widgets.VBox):
    """Controls over the picture that a plain function draws from their values.

    What `draw` returned is kept, so it must be a function of its arguments alone; and a picture is
    one piece with its readout, so the two cannot disagree.

    Parameters
    ----------
    draw : callable
        The values of the controls, by name -> Sketch.
    controls : dict of str to ipywidgets control
        By the names of `draw`'s parameters, each with a description: its label.
    stills : dict of str to dict
        What the same cell shows where no kernel runs, by heading, one below the other: what `draw`
        makes of the controls' first values, but for these.
    beforehand : str, optional
        The name of a SelectionSlider whose every position is drawn beforehand. The browser itself
        ties it to the pictures: moving it asks no kernel. It gets a play button.
    below : dict of str to Sketch, optional
        By heading, what stands below the stills.
    """

    def __init__(
        self,
        draw: Callable[..., Sketch],
        controls: Mapping[str, widgets.ValueWidget],
        stills: Mapping[str, Mapping[str, object]],
        beforehand: str | None = None,
        below: Mapping[str, Sketch] | None = None,
    ):
        @functools.lru_cache(KEPT)
        def html(**values: object) -> str:
            sketch = draw(**values)
            return f'{sketch.svg()}<p role="status" {LINES}>{escape(sketch.readout)}</p>'

        self.draw, self.html, self.controls = draw, html, dict(controls)
        first = {name: control.value for name, control in controls.items()}
        drawn = {heading: draw(**first | values) for heading, values in stills.items()}
        self.still = stacked(drawn | (below or {})).picture()
        for control in controls.values():  # what the mouse is told on a label: "null" if nothing
            control.tooltip = control.tooltip or control.description
        if beforehand is None:
            self.frames = {None: widgets.HTML()}
            shown, row = self.frames[None], []
        else:
            shown, row = self._stack(beforehand)
        rest = [control for name, control in controls.items() if name != beforehand]
        for control in rest:
            control.observe(self._draw, "value")
        self.beforehand = beforehand
        self._draw()
        box = widgets.HBox([*row, *rest], layout=widgets.Layout(flex_flow="row wrap"))
        super().__init__([box, shown])

    def _stack(self, name: str) -> tuple[widgets.Stack, list[widgets.Widget]]:
        """Make a frame for each position of the slider, tied to it in the browser."""
        slider = self.controls[name]
        self.frames = {value: widgets.HTML() for value in slider.options}
        stack = widgets.Stack([*self.frames.values()], selected_index=slider.index)
        play = widgets.Play(value=slider.index, max=len(self.frames) - 1, interval=1000)
        play.tooltip = f"play: {slider.description}"
        self.links = (
            widgets.jslink((play, "value"), (slider, "index")),
            widgets.jslink((slider, "index"), (stack, "selected_index")),
        )
        return stack, [play, slider]

    def _draw(self, change: object = None) -> None:
        """Draw every frame from the values of the controls, the one that is seen first."""
        values = {name: control.value for name, control in self.controls.items()}
        seen = values.pop(self.beforehand, None)
        for position in sorted(self.frames, key=lambda position: position != seen):
            own = {} if self.beforehand is None else {self.beforehand: position}
            self.frames[position].value = self.html(**values, **own)

    def _repr_mimebundle_(self, **kwargs: object) -> tuple[dict, dict]:
        """Return the widget and the still together: a front end shows the one it can."""
        still, metadata = self.still._repr_mimebundle_()
        return super()._repr_mimebundle_(**kwargs) | still, metadata
