"""The layer that comes with the package: what its docstring says, and that it can be made again."""

import re

import numpy as np
import pytest

import capsedu
from capsedu import trained_layer
from capsedu.data import load_digits_sample
from capsedu.networks import CapsuleClassifier
from capsedu.trained_layer import load_trained_layer, write_trained_layer


def recognised(iterations):
    """The share of the sample's test images whose longest output is theirs."""
    *_, x, y = load_digits_sample()
    basis, W = load_trained_layer()
    v = capsedu.capsule_layer(W, basis.encode(x), iterations).v
    return np.mean(np.linalg.norm(v, axis=-1).argmax(axis=-1) == y)


def test_it_recognises_what_its_docstring_says():
    said = re.search(r"recognises (\d+) of 100", load_trained_layer.__doc__)[1]
    assert round(100 * recognised(iterations=3)) == int(said)


def test_its_shapes_are_those_of_the_docstring():
    basis, W = load_trained_layer()
    assert (W.shape, W.dtype) == ((64, 10, 8, 8), np.float32)
    assert basis.encode(np.zeros((28, 28))).shape == (64, 8)


@pytest.mark.sweep
def test_it_can_be_made_again(tmp_path, monkeypatch):
    path, asked = tmp_path / "layer.npz", {}

    def classifier(parameters, **given):
        asked.update(given)
        return CapsuleClassifier(parameters, **given)

    monkeypatch.setattr(trained_layer, "CapsuleClassifier", classifier)
    accuracy = write_trained_layer(path, epochs=1)
    assert asked == {"iterations": 3, "rule": "unrolled"}
    assert [file.name for file in tmp_path.iterdir()] == ["layer.npz"]
    ours, W = load_trained_layer()
    monkeypatch.setattr(trained_layer, "FILE", path)
    made, first = load_trained_layer()
    assert (first.shape, first.dtype) == (W.shape, W.dtype)
    assert not np.array_equal(first, W)
    for name in ("mean", "axes", "deviations"):
        np.testing.assert_allclose(abs(getattr(made, name)), abs(getattr(ours, name)), atol=1e-8)
    assert recognised(iterations=3) == pytest.approx(accuracy)
    assert accuracy > 0.5
