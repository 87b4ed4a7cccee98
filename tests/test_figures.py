"""The figures of routing describe the numbers that they draw."""

import numpy as np
import pytest
from reference import loop_layer

import capsedu
from capsedu.figures import routing as figures


def test_entropy_is_a_share_of_the_largest():
    c = np.array([[0.25, 0.25, 0.25, 0.25], [0, 1, 0, 0], [0.5, 0.5, 0, 0]])
    np.testing.assert_allclose(figures.entropy(c), [1, 0, 0.5], atol=1e-15)
    assert figures.entropy(np.ones((3, 1))).tolist() == [0, 0, 0]


def test_the_alt_texts_of_routing_say_the_numbers():
    maps = np.array([np.full((2, 3), 0.1), [[0.0, 0.2, 0.4], [0.6, 0.8, 0.9]]])
    alt = figures.coupling_maps(np.zeros((28, 28)), maps, (1, 5), "digit 3").alt
    assert "2 × 3 patches" in alt and "digit 3" in alt
    assert "0.10 to 0.10 at iteration 1, 0.00 to 0.90 at iteration 5" in alt

    z = np.random.default_rng(1).normal(size=(4, 2, 2))
    b, _, _, v = loop_layer(z[..., None], np.ones((4, 1)), 30)[1][-1]
    alt = figures.long_run(capsedu.route(z, 30)).alt
    assert ", ".join(f"{gap:.0f}" for gap in b[:, 0] - b[:, 1]) in alt
    assert " and ".join(f"{length:.2f}" for length in np.linalg.norm(v, axis=1)) in alt
    with pytest.raises(ValueError, match="z: got shape"):
        figures.long_run(capsedu.route(z[:, :1], 3))
