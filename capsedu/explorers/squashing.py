"""The squash explorer: the length and the direction of s, and the ε of the textbook form."""

import ipywidgets as widgets

from capsedu.explorers.shell import Explorer
from capsedu.sketches.squashing import sketch_squash


def squash_explorer() -> Explorer:
    """Squash under sliders: `sketch_squash(length, degrees, epsilon)`.

    Returns
    -------
    Explorer
        Without a kernel: s of length 0.0001, 0.1 and 5, one below the other.
    """
    controls = {
        "length": widgets.FloatLogSlider(
            value=1, min=-5, max=3, step=0.1, readout=False, description="length of s"
        ),
        "degrees": widgets.IntSlider(
            value=35, min=-180, max=180, step=5, readout=False, description="direction"
        ),
        "epsilon": widgets.Dropdown(
            options=[1e-12, 1e-9, 1e-7, 1e-5, 1e-3], value=1e-7, description="ε"
        ),
    }
    stills = {f"s of length {length:g}": {"length": length} for length in (1e-4, 0.1, 5.0)}
    return Explorer(sketch_squash, controls, stills)
