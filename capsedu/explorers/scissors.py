"""The scissors explorer: cut edges of the four-integer example, and see which gradient is left."""

import ipywidgets as widgets

from capsedu.explorers.shell import Explorer
from capsedu.sketches.scissors import CUTS, sketch_scissors, sketch_story
from capsedu.sketches.sketch import Sketch


def scissors_explorer() -> Explorer:
    """Five checkboxes, one for each edge: `sketch_scissors(cuts)` of those that are ticked.

    Returns
    -------
    Explorer
        Without a kernel: nothing cut, the couplings cut, and v¹ cut in the agreement, one below
        the other.
    """

    def draw(**is_cut: bool) -> Sketch:
        return sketch_scissors([cut for cut in CUTS if is_cut[cut]])

    controls = {
        cut: widgets.Checkbox(
            description=f"cut {label}",
            indent=False,
            layout=widgets.Layout(width="auto", margin="0 14px 0 0"),
        )
        for cut, label in CUTS.items()
    }
    return Explorer(draw, controls, sketch_story())
