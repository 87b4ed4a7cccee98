"""The experiment: its third gradient, its pairs of digits, its tables and its figures."""

import collections
import importlib.util
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from reference import assert_close

import capsedu
import capsedu.data
from capsedu import sweeps
from capsedu.figures.experiment import what_the_rules_reach
from capsedu.networks import CapsuleClassifier
from capsedu.routing import Iteration

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "which_gradient.py"
README = (SCRIPT.parent / "README.md").read_text()


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("which_gradient", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules["which_gradient"] = module
    spec.loader.exec_module(module)
    return module


def test_the_third_gradient_has_the_frozen_direction_and_the_exact_length(script):
    rng = np.random.default_rng(0)
    W, u = rng.normal(size=(5, 3, 2, 4)), rng.normal(size=(6, 5, 4))
    labels = np.arange(6) % 3
    losses, (third, frozen, exact) = zip(
        *(
            kind({"W": W}, 3, rule).loss_and_gradients(u, labels)
            for kind, rule in (
                (script.ExactLength, "frozen"),
                (CapsuleClassifier, "frozen"),
                (CapsuleClassifier, "unrolled"),
            )
        ),
        strict=True,
    )
    assert losses[0] == losses[1]
    third, frozen, exact = third["W"], frozen["W"], exact["W"]
    assert np.linalg.norm(third) == pytest.approx(np.linalg.norm(exact), rel=1e-12)
    assert_close(third / np.linalg.norm(third), frozen / np.linalg.norm(frozen), 1e-12)
    assert np.linalg.norm(third - exact) > 0.1 * np.linalg.norm(exact)


def test_pairs_of_digits_lie_over_one_another(script):
    images = np.zeros((6, 28, 28))
    images[np.arange(6), 10 + np.arange(6), 14] = 1
    labels = np.array([0, 0, 1, 2, 3, 4])
    pairs, pair_labels = script.overlapping(images, labels)
    assert len(pairs) == len(pair_labels) > 0
    assert (pair_labels[:, 0] != pair_labels[:, 1]).all()
    for pair, both in zip(pairs, pair_labels, strict=True):
        rows, columns = np.nonzero(pair)
        assert sorted(columns) == [12, 16]
        found = {
            labels[int(row) - 10 + shift]
            for row, shift in zip(rows, np.where(columns == 12, 2, -2), strict=True)
        }
        assert found == set(both.tolist())


def test_an_example_counts_when_all_its_labels_are_the_longest(script):
    v = np.array([[0.9, 0.1, 0.8], [0.2, 0.9, 0.1], [0.5, 0.6, 0.7]])[:, :, None]
    step = Iteration(None, None, None, v)
    assert script.recognised(step, np.array([[0], [1], [1]])) == pytest.approx(2 / 3)
    assert script.recognised(step, np.array([[2, 0], [0, 1], [0, 1]])) == pytest.approx(2 / 3)


def test_the_faster_one_sets_the_time(script):
    """Four epochs in 8 s, and in 3 s: at the end of the 3 s, the slower has finished one."""
    slow, fast = (
        [
            {"accuracy": 0.9, "accuracy by epoch": [0.1, 0.2, 0.3, 0.4], "processor seconds": s}
            for s in (seconds - 1, seconds + 1)
        ]
        for seconds in (8, 3)
    )
    slow_then, fast_then = script.in_the_same_seconds(slow, fast)
    assert [run["accuracy"] for run in slow_then] == [0.1, 0.1]
    assert [run["accuracy"] for run in fast_then] == [0.4, 0.4]
    assert slow[0]["accuracy"] == 0.9
    assert [run["accuracy"] for run in script.after(3, slow)] == [0.3, 0.3]


def test_the_rate_is_chosen_by_the_mean_over_the_seeds(script, monkeypatch):
    gained = {0.0025: (0.9, 0.9), 0.005: (0.95, 0.8), 0.01: (0.91, 0.92), 0.02: (0.99, 0.2)}
    asked = []

    def results(run, settings, path, executor):
        asked.extend(settings)
        return [s | {"accuracy": gained[s["rate"]][s["seed"]]} for s in settings]

    monkeypatch.setattr(script, "run_all", results)
    chosen = script.choose_rates("layer", Path("unused"))
    assert set(chosen.values()) == {0.01} and len(chosen) == 1 + 3 * 3
    assert {setting["judge"] for setting in asked} == {"validation"}


@pytest.mark.parametrize("rule", ["unrolled", "frozen, exact length"])
def test_a_run_tells_what_the_tables_need_and_the_seed_decides_it(script, monkeypatch, rule):
    monkeypatch.setitem(script.EPOCHS, "layer", 1)
    x_train, y_train, x_test, y_test = capsedu.data.load_digits_sample()
    few = x_train[:200], y_train[:200], x_test[:50], y_test[:50]
    monkeypatch.setattr(script, "load_digits_sample", lambda: few)
    setting = {"model": "layer", "rule": rule, "iterations": 3, "rate": 0.005, "judge": "test"}
    one, same, other = (script.run(setting | {"seed": seed}) for seed in (0, 0, 1))
    for result in (one, same, other):
        assert result.pop("processor seconds") >= 0
    assert one == same and one != other
    assert one["accuracy at r"][3] == one["accuracy"] == one["accuracy by epoch"][-1]
    assert set(one["entropy at r"]) == set(one["untrained entropy at r"]) == set(script.TESTED)


@pytest.mark.sweep
def test_one_run_of_the_committed_results_comes_out_again(script):
    """On another machine sums round otherwise, and a digit or two may change sides."""
    lines = [json.loads(line) for line in script.RESULTS.read_text().splitlines()]
    setting, want = next(
        (line["setting"], line["result"])
        for line in lines
        if line["setting"]["judge"] == "test"
        and (line["setting"]["model"], line["setting"]["rule"]) == ("layer", "unrolled")
        and (line["setting"]["iterations"], line["setting"]["seed"]) == (3, 0)
    )
    got = script.run(setting)
    assert got["accuracy"] == pytest.approx(want["accuracy"], abs=0.005)
    assert got["loss"] == pytest.approx(want["loss"], rel=0.02)
    assert got["entropy at r"][3] == pytest.approx(want["entropy at r"]["3"], abs=1e-3)
    other = next(line["result"] for line in lines if line["setting"]["iterations"] == 1)
    assert other["loss"] != pytest.approx(want["loss"], rel=0.02)


@pytest.fixture
def no_runs(script, monkeypatch):
    """The committed results are whole: nothing is left to run."""

    def run_all(run, settings, path, executor):
        done = {sweeps._key(setting) for setting in settings}
        results[path].extend(done)
        assert done <= sweeps._read(path).keys(), "run `python benchmarks/which_gradient.py`"
        return sweeps.run_all(run, settings, path, progress=False)

    results = collections.defaultdict(list)
    monkeypatch.setattr(script, "run_all", run_all)
    return results


@pytest.mark.parametrize("model", ["layer", "network"])
def test_the_committed_tables_are_what_the_results_say(script, no_runs, capsys, model):
    script.main([model])
    tables = capsys.readouterr().out.strip()
    assert tables.count("\n\n") >= 7  # four tables, each below its title
    assert tables in README
    somewhere = re.search(r"\d\.\d\d ± ", tables)[0]
    assert tables.replace(somewhere, "9" + somewhere, 1) not in README


def test_the_committed_file_holds_what_the_command_writes(script, no_runs, capsys):
    script.main(["layer", "network"])
    assert sorted(no_runs[script.RESULTS]) == sorted(sweeps._read(script.RESULTS))


def test_the_committed_figure_is_what_the_results_say(script, no_runs, tmp_path):
    path = tmp_path / "which_gradient.jsonl"
    path.write_bytes(script.RESULTS.read_bytes())
    script.main(["--figure", "--results", str(path)])
    assert path.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    committed = script.RESULTS.with_suffix(".png").read_bytes()
    assert committed.startswith(b"\x89PNG") and len(committed) < 200_000
    runs = [run for run in sweeps.finished_runs(path) if run["judge"] == "test"]
    alt = what_the_rules_reach([run for run in runs if run["model"] == "layer"]).alt
    assert f"![{alt}](which_gradient.png)" in README


def made_up(rule, r, seed, accuracy, seconds):
    return {
        "rule": rule,
        "iterations": r,
        "seed": seed,
        "accuracy": accuracy,
        "accuracy by epoch": [accuracy - 0.1, accuracy],
        "processor seconds": seconds,
        "entropy at r": {"1": 1.0, "3": 0.25 if rule == "frozen" else 0.5},
        "untrained entropy at r": {"1": 1.0, "3": 0.75},
    }


def test_the_figure_tells_its_numbers():
    runs = [
        made_up(rule, r, seed, gained + 0.01 * seed * (rule == "unrolled"), seconds)
        for seed in (0, 1)
        for rule, r, gained, seconds in (
            ("frozen", 1, 0.80, 1),
            ("unrolled", 3, 0.90, 4),
            ("frozen", 3, 0.88, 3),
            ("frozen, exact length", 3, 0.91, 5),
        )
    ]
    alt = what_the_rules_reach(runs).alt
    # Differences of 2 and 3 percent: mean 2.5, deviation 1/√2, over √2 seeds, times 12.706.
    assert "unrolled minus frozen: +2.50 ± 6.35 at r = 3;" in alt
    assert "unrolled minus frozen, exact length: -0.50 ± 6.35 at r = 3;" in alt
    assert "unrolled minus no routing: +10.50 ± 6.35 at r = 3." in alt
    assert "unrolled: 90.5 % after 4.0 s; frozen: 88.0 % after 3.0 s; no routing: 80.0 %" in alt


def test_a_cluster_makes_the_runs(script, tmp_path):
    distributed = pytest.importorskip("distributed")
    settings = [{"seed": seed} for seed in range(4)]
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None
    ) as cluster:
        executor = script.cluster(cluster.scheduler_address)
        results = sweeps.run_all(who, settings, tmp_path / "r.jsonl", executor, progress=False)
        executor._client.close()
    assert [result["seed"] for result in results] == [0, 1, 2, 3]
    assert all("inproc" in result["worker"] for result in results)


def who(setting):
    from distributed import get_worker

    return {"worker": get_worker().address}


def test_without_dask_the_option_says_what_to_do(script, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(SystemExit, match="--scheduler wants Dask: pip install"):
        script.main(["--scheduler", "tcp://nowhere:8786"])
