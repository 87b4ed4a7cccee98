"""The network that comes with the package: what its docstring says, and how it is made."""

import re

import numpy as np

from capsedu import trained_network
from capsedu.capsule_network import CapsuleNetwork
from capsedu.checkpoints import save
from capsedu.data import load_digits_sample
from capsedu.trained_network import FILE, load_trained_network, write_trained_network
from capsedu.training import Training


def test_it_recognises_what_its_docstring_says():
    *_, x, y = load_digits_sample()
    said = re.search(r"recognises (\d+) of 1000", load_trained_network.__doc__)[1]
    assert (load_trained_network().classify(x) == y).sum() == int(said)


def test_its_size_and_shapes():
    network = load_trained_network()
    assert FILE.stat().st_size < 2e6
    assert network.parameters["W"].shape == (144, 10, 16, 8)
    assert (network.iterations, network.rule) == (3, "unrolled")
    assert {x.dtype for x in network.parameters.values()} == {np.dtype(np.float32)}


def test_it_is_made_of_a_checkpoint(tmp_path, monkeypatch):
    x, y, *_ = load_digits_sample()
    network = CapsuleNetwork.start(x[:8], channels=2, types=1, hidden=(4, 4))
    checkpoint, path = tmp_path / "checkpoint.npz", tmp_path / "network.npz"
    save(Training(network, (x[:8], y[:8]), (x[:8], y[:8])), checkpoint)
    write_trained_network(checkpoint, path)
    monkeypatch.setattr(trained_network, "FILE", path)
    for name, kept in load_trained_network().parameters.items():
        np.testing.assert_allclose(kept, network.parameters[name], rtol=1e-3, atol=1e-7)
