"""Explorers: a picture under the hand in a live notebook, a still picture everywhere else.

`from capsedu.explorers import routing_explorer`, in a notebook, and give it your own arrays.
"""

from capsedu.explorers.checking import check_explorer
from capsedu.explorers.dimensions import dimensions_explorer
from capsedu.explorers.routing import routing_explorer
from capsedu.explorers.scissors import scissors_explorer
from capsedu.explorers.squashing import squash_explorer
from capsedu.explorers.two_gradients import gradients_explorer

__all__ = [
    "check_explorer",
    "dimensions_explorer",
    "gradients_explorer",
    "routing_explorer",
    "scissors_explorer",
    "squash_explorer",
]
