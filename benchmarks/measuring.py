"""What the benchmarks measure with: times taken in turns, and peak memory."""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

import numpy as np
from tqdm import tqdm

THREADS = int(os.environ.get("OMP_NUM_THREADS", "0"))  # NumPy's BLAS and PyTorch both take it

# Threads that wait for work go round in a loop for a while, and would take a core from the next
# call: NumPy's some 25 ms, PyTorch's less.
PAUSE = 0.05 if THREADS > 1 else 0.0


def parsed(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Read the command line of a benchmark with --batch and --repeats."""
    options = parser.parse_args()
    if min(options.batch, options.repeats) < 1:
        parser.error("--batch and --repeats: want at least 1")
    if THREADS < 1:
        parser.error("set OMP_NUM_THREADS, the number of threads of NumPy's BLAS and of PyTorch")
    return options


def seconds(call: Callable) -> float:
    time.sleep(PAUSE)
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def in_turns(calls: dict, repeats: int, what: str) -> dict:
    """Time every call once, then every call again: {key: seconds of each turn}."""
    turns = [
        {key: seconds(call) for key, call in tqdm(calls.items(), desc=what, leave=False)}
        for what in [f"{what}, turn {k + 1} of {repeats}" for k in range(repeats)]
    ]
    return {key: np.array([turn[key] for turn in turns]) for key in calls}


def in_fresh_process(arguments: Sequence[str]) -> str:
    """What `python ARGUMENTS` prints, with an allocator that gives all large arrays back.

    Memory is taken there: in a warm process, room that was given back to it would hide a peak.
    """
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "0"}
    command = [sys.executable, *arguments]
    return subprocess.run(
        command, env=environment, check=True, capture_output=True, text=True
    ).stdout


def peak_megabytes(call: Callable) -> tuple[float, object]:
    """Peak memory of this process during a call, beyond what it held before; and the result.

    NaN where it can't be told: Linux alone has it.
    """
    try:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")  # the peak starts anew
        before, result, peak = _status("VmRSS"), call(), _status("VmHWM")
    except OSError:
        return np.nan, call()
    return peak - before, result


def _status(field: str) -> float:
    with open("/proc/self/status") as file:
        return next(float(line.split()[1]) for line in file if line.startswith(field)) * 1024 / 1e6
