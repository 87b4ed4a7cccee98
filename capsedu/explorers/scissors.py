"""The scissors explorer: cut edges of the four-integer example, and see which gradient is left."""

import ipywidgets as widgets

from capsedu.explorers.shell import Explorer
from capsedu.sketches.scissors import CUTS, sketch_scissors
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
    stills = {
        "Nothing is cut": {},
        "The couplings are cut": {"c_into_s2": True},
        "v¹ is cut in the agreement": {"v_into_agreement": True},
    }
    return Explorer(draw, controls, stills)
