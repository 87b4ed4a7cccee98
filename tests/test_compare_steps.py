"""benchmarks/compare_steps.py and what it measures with: that neither time nor check deceives."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def measuring(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module("measuring")


@pytest.fixture
def compare_steps(monkeypatch, measuring):
    pytest.importorskip("torch", reason="PyTorch is in the extra bench alone")
    script = importlib.import_module("compare_steps")
    monkeypatch.setattr(script, "CONTESTANTS", {**script.CONTESTANTS})
    return script


def test_turns_are_taken(measuring):
    order = []
    calls = {name: lambda name=name: order.append(name) for name in "ab"}
    times = measuring.in_turns(calls, 3, "test")
    assert order == [*"ababab"]
    assert {key: len(seconds) for key, seconds in times.items()} == {"a": 3, "b": 3}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux alone tells the peak")
def test_the_peak_is_seen_though_the_memory_is_given_back(measuring):
    code = (
        f"import sys; sys.path.insert(0, {str(BENCHMARKS)!r})\n"
        "import numpy as np, measuring\n"
        "def call():\n"
        "    np.ones(4_000_000)\n"
        "    return 'result'\n"
        "np.ones(8_000_000)\n"  # what was before doesn't count
        "print(*measuring.peak_megabytes(call))"
    )
    peak, result = measuring.in_fresh_process(["-c", code]).split()
    assert 31 < float(peak) < 36  # 32 MB of numbers; the kernel counts to some pages
    assert result == "result"


def test_all_contestants_give_the_same(compare_steps, capsys):
    compare_steps.check(batch=6)
    printed = capsys.readouterr().out
    assert "the same loss and gradients" in printed and "learn alike" in printed


def other_rule(script):
    def make(parameters, rule):
        return script.Ours(parameters, {"frozen": "unrolled", "unrolled": "frozen"}[rule])

    return make


def longer_gradient(script):
    class Longer(script.Ours):
        def loss_and_gradients(self, x, labels):
            loss, gradients = super().loss_and_gradients(x, labels)
            return loss, {name: g * np.float32(1.0001) for name, g in gradients.items()}

    return Longer


def other_rate(script):
    def make(parameters, rule):
        ours = script.Ours(parameters, rule)
        ours.optimiser.learning_rate *= 1.01
        return ours

    return make


def other_reconstruction(script):
    def make(parameters, rule):
        theirs = script.Theirs(script.einsum, parameters, rule)
        theirs.network.reconstruction *= 1.001
        return theirs

    return make


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (other_rule, r"wrong, unrolled: \w+ is off by"),
        (longer_gradient, r"wrong, unrolled: \w+ is off by 1\.0e-04 of its largest entry"),
        (other_reconstruction, "wrong, unrolled: loss is off by"),
        (other_rate, "wrong, unrolled: after some steps the loss is off by"),
    ],
)
def test_a_contestant_that_computes_something_else_is_found(compare_steps, wrong, message):
    compare_steps.CONTESTANTS["wrong"] = wrong(compare_steps)
    with pytest.raises(SystemExit, match=message):
        compare_steps.check(batch=6)


def test_the_table_by_hand(compare_steps, monkeypatch, capsys):
    milliseconds = {"PyTorch, einsum": [40, 30, 80], "PyTorch, products": [20, 15, 16]}

    def in_turns(calls, repeats, what):
        return {key: np.array(milliseconds.get(key[0], [20, 10, 20])) / 1e3 for key in calls}

    monkeypatch.setattr(compare_steps, "in_turns", in_turns)
    monkeypatch.setattr(compare_steps, "megabytes", lambda name, rule, batch: 7.0)
    compare_steps.table(batch=2, repeats=3)
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "PyTorch, einsum 40.0 ( 30.0) 7 MB 40.0 ( 30.0) 7 MB" in lines
    assert "capsedu 20.0 ( 10.0) 7 MB 20.0 ( 10.0) 7 MB" in lines
    assert "PyTorch, einsum 3.00 (3.00) times 3.00 (3.00) times" in lines
    assert "PyTorch, products 1.00 (1.50) times 1.00 (1.50) times" in lines
