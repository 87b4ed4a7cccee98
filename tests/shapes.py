"""Random layers of every shape the tests are to see, edges included; each is drawn from a seed."""

from typing import NamedTuple

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st

# Seeded, and no verdict depends on a clock.
seeded = settings(derandomize=True, deadline=None, max_examples=30, database=None)

RULES = ("unrolled", "frozen")
ITERATIONS = (1, 2, 3, 10)


class Layer(NamedTuple):
    W: np.ndarray
    u: np.ndarray
    dv: np.ndarray


def layer(I, J, m, n, batch=(), seed=0, scale=0.7):
    """A layer in float64 whose predictions have a length of the order of one."""
    rng = np.random.default_rng(seed)
    return Layer(
        W=rng.normal(scale=scale, size=(I, J, m, n)),
        u=rng.normal(size=(*batch, I, n)),
        dv=rng.normal(size=(*batch, J, m)),
    )


# One by one the edges that hypothesis might not combine.
EDGES = {
    "one of everything": layer(1, 1, 1, 1),
    "one input capsule": layer(1, 3, 2, 2, (2,)),
    "one output capsule": layer(3, 1, 2, 2, (2,)),
    "one output dimension": layer(3, 2, 1, 2, (2,)),
    "one input dimension": layer(3, 2, 2, 1, (2,)),
    "no batch axis": layer(3, 2, 3, 2),
    "batch of one": layer(3, 2, 3, 2, (1,)),
    "two batch axes": layer(2, 3, 2, 2, (2, 3)),
    "empty batch": layer(2, 3, 2, 2, (0,)),
    "two batch axes, one empty": layer(2, 3, 2, 2, (3, 0)),
}

layers = st.builds(
    layer,
    I=st.integers(1, 4),
    J=st.integers(1, 4),
    m=st.integers(1, 3),
    n=st.integers(1, 3),
    batch=st.sampled_from([(), (1,), (3,), (2, 2), (0,)]),
    seed=st.integers(0, 2**32 - 1),
    scale=st.sampled_from([0.1, 0.7, 1.0]),
)
