"""Sweeps: every run once, kept as it finishes, carried on after whatever stopped it."""

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path

import mpmath
import numpy as np
import pytest

from capsedu import capsule_layer, capsule_layer_vjp
from capsedu.sweeps import T_95, finished_runs, paired_difference, run_all

SETTINGS = [{"seed": seed, "rule": rule} for seed in range(3) for rule in ("frozen", "unrolled")]


def square(setting):
    return {"square": setting["seed"] ** 2}


class Here(Executor):
    """Runs at once, in this process, and remembers what."""

    def __init__(self, fail_at=None):
        self.ran, self.fail_at = [], fail_at

    def submit(self, run, setting):
        future = Future()
        if len(self.ran) == self.fail_at:
            future.set_exception(RuntimeError("broken"))
        else:
            self.ran.append(setting)
            future.set_result(run(setting))
        return future


def test_results_come_in_the_order_of_the_settings(tmp_path):
    results = run_all(square, SETTINGS, tmp_path / "r.jsonl", ThreadPoolExecutor(2), progress=False)
    assert results == [setting | {"square": setting["seed"] ** 2} for setting in SETTINGS]
    lines = [json.loads(line) for line in (tmp_path / "r.jsonl").read_text().splitlines()]
    assert len(lines) == 6 and {*lines[0]} == {"setting", "result"}
    read = finished_runs(tmp_path / "r.jsonl")
    assert sorted(read, key=str) == sorted(results, key=str)


def test_by_default_in_processes_of_their_own(tmp_path):
    results = run_all(process, SETTINGS[:2], tmp_path / "r.jsonl", progress=False)
    assert os.getpid() not in {result["process"] for result in results}


def process(setting):
    return {"process": os.getpid()}


def test_what_is_in_the_file_is_not_run_again(tmp_path):
    path = tmp_path / "r.jsonl"
    run_all(square, SETTINGS[:4], path, Here(), progress=False)
    here = Here()
    results = run_all(square, reversed(SETTINGS), path, here, progress=False)
    assert here.ran == SETTINGS[:3:-1]
    assert [result["seed"] for result in results] == [2, 2, 1, 1, 0, 0]


def test_a_failing_run_stops_the_sweep_and_the_finished_ones_are_kept(tmp_path):
    path = tmp_path / "r.jsonl"
    with pytest.raises(RuntimeError, match="broken"):
        run_all(square, SETTINGS, path, Here(fail_at=5), progress=False)
    here = Here()
    run_all(square, SETTINGS, path, here, progress=False)
    assert SETTINGS[5] in here.ran and len(path.read_text().splitlines()) == 6


def test_what_was_under_way_when_another_run_failed_is_kept(tmp_path):
    path = tmp_path / "folder" / "r.jsonl"
    settings = [{"seed": -1}, {"seed": 0}, {"seed": 1}]
    with pytest.raises(ZeroDivisionError):
        run_all(slow_or_broken, settings, path, ThreadPoolExecutor(3), progress=False)
    assert len(path.read_text().splitlines()) == 2


def slow_or_broken(setting):
    time.sleep(0.2 + 0.2 * (1 + setting["seed"]))
    return {"inverse": 1 / (1 + setting["seed"])}


def test_a_fresh_result_is_as_it_will_be_read_again(tmp_path):
    results = [
        run_all(keyed, [{"seed": 0}], tmp_path / "r.jsonl", Here(), progress=False)
        for _ in range(2)
    ]
    assert results[0] == results[1] == [{"seed": 0, "by r": {"1": [0.5, 1]}}]


def keyed(setting):
    return {"by r": {1: (0.5, 1)}}


def test_half_a_line_is_cut_off_and_run_again(tmp_path):
    path = tmp_path / "r.jsonl"
    run_all(square, SETTINGS[:2], path, Here(), progress=False)
    whole = path.read_text()
    path.write_text(whole[:-9])
    here = Here()
    run_all(square, SETTINGS[:2], path, here, progress=False)
    assert len(here.ran) == 1 and path.read_text() == whole


@pytest.mark.parametrize("content", ["hello", "hello\n", '{"a": 1}\n', "[1]\n"])
def test_another_file_is_left_alone(tmp_path, content):
    path = tmp_path / "r.jsonl"
    path.write_text(content)
    with pytest.raises(ValueError, match="no results of a sweep"):
        run_all(square, SETTINGS, path, Here(), progress=False)
    assert path.read_text() == content


def test_equal_settings_are_refused(tmp_path):
    with pytest.raises(ValueError, match="some are equal"):
        run_all(square, [SETTINGS[0]] * 2, tmp_path / "r.jsonl", Here())


def slow(setting):
    time.sleep(0.3)
    return {"slept": setting["seed"]}


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_stopped_sweep_carries_on(tmp_path, how):
    path = tmp_path / "r.jsonl"
    code = (
        "import test_sweeps, capsedu.sweeps as s\n"
        "if __name__ == '__main__':\n"
        f"    s.run_all(test_sweeps.slow, [dict(seed=k) for k in range(200)], {str(path)!r})\n"
    )
    script = tmp_path / "script.py"
    script.write_text(code)
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}
    run = subprocess.Popen(
        [sys.executable, script],
        env=environment,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + 60
    while not (path.exists() and path.read_text().count("\n") > 2) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(run.pid, how)
    run.wait(30)
    finished = path.read_text().count("\n")
    assert 2 < finished < 200
    here = Here()
    run_all(quick, [{"seed": k} for k in range(finished + 2)], path, here, progress=False)
    assert len(here.ran) <= 5


def quick(setting):
    return {"slept": setting["seed"]}


def test_the_paired_difference_by_hand():
    one = [{"seed": seed, "accuracy": x} for seed, x in ((2, 0.93), (0, 0.91), (1, 0.92))]
    other = [{"seed": seed, "accuracy": 0.9} for seed in range(3)]
    # Differences 0.01, 0.02 and 0.03: mean 0.02, deviation 0.01; t = 4.303 with 2 freedoms.
    mean, half = paired_difference(one, other, "accuracy")
    assert mean == pytest.approx(0.02)
    assert half == pytest.approx(4.303 * 0.01 / 3**0.5)
    with pytest.raises(ValueError, match=r"seeds: got \[0, 1, 2\] and \[0, 1\], want the same"):
        paired_difference(one, other[:2], "accuracy")


def test_students_t():
    def beyond(t, freedom):
        return mpmath.betainc(freedom / 2, 0.5, 0, freedom / (freedom + t * t), regularized=True)

    for freedom, t in T_95.items():  # to three decimals
        assert beyond(t + 0.0005, freedom) < 0.05 < beyond(t - 0.0005, freedom)


# A cluster: Dask's, of two processes on this machine


@pytest.fixture(scope="module")
def cluster():
    """Dask's executor, as a user gets it; nothing listens beyond this machine."""
    from distributed import Client, LocalCluster

    local = LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",  # any free port: another cluster may hold the usual one
    )
    with local, Client(local) as client:
        yield client.get_executor(pure=False)


def gradient(setting):
    rng = np.random.default_rng(setting["seed"])
    W, u, dv = (rng.normal(size=shape) for shape in ((4, 3, 2, 2), (5, 4, 2), (5, 3, 2)))
    dW, _ = capsule_layer_vjp(W, u, capsule_layer(W, u), dv, setting["rule"])
    return {"dW": dW.tolist(), "process": os.getpid()}


def test_a_cluster_gives_what_processes_give(cluster, tmp_path):
    on_cluster, here = (
        run_all(gradient, SETTINGS, tmp_path / name, executor, progress=False)
        for name, executor in (("cluster.jsonl", cluster), ("processes.jsonl", None))
    )
    processes = [{run.pop("process") for run in runs} for runs in (on_cluster, here)]
    assert processes[0].isdisjoint(processes[1] | {os.getpid()})
    assert on_cluster == here
    assert on_cluster[0]["dW"] != on_cluster[1]["dW"]


def test_a_failing_run_stops_the_cluster_and_the_sweep_carries_on(cluster, tmp_path):
    path = tmp_path / "r.jsonl"
    settings = [{"seed": seed, "results": str(path)} for seed in range(6)]
    with pytest.raises(RuntimeError, match="broken"):
        run_all(broken_after_two, settings, path, cluster, progress=False)
    finished = [json.loads(line)["setting"] for line in path.read_text().splitlines()]
    assert len(finished) >= 2 and settings[0] not in finished
    here = Here()
    run_all(square, settings, path, here, progress=False)
    assert here.ran == [setting for setting in settings if setting not in finished]
    results = run_all(square, settings, path, cluster, progress=False)
    assert [result["square"] for result in results] == [0, 1, 4, 9, 16, 25]


def broken_after_two(setting):
    """Fails for seed 0, once two others are in the file."""
    deadline = time.monotonic() + 30
    while setting["seed"] == 0 and time.monotonic() < deadline:
        if Path(setting["results"]).read_text().count("\n") >= 2:
            raise RuntimeError("broken")
        time.sleep(0.01)
    return square(setting)
