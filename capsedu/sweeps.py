"""Many runs of one experiment, on every core or on a cluster: kept one by one, and compared."""

import contextlib
import json
import multiprocessing
import os
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Executor, Future, ProcessPoolExecutor, as_completed, wait
from pathlib import Path

import numpy as np
from tqdm import tqdm

# Student's t for a two-sided interval of 95 %, by the degrees of freedom.
T_95 = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}


def run_all(
    run: Callable[[dict], Mapping],
    settings: Iterable[Mapping],
    path: str | os.PathLike,
    executor: Executor | None = None,
    progress: bool = True,
) -> list[dict]:
    """[{**setting, **run(setting)} for setting in settings], those that the file holds not again.

    A run is written to the file as soon as it is finished. So a sweep that was killed, or that
    Ctrl-C or a failing run stopped, carries on when it is called again.

    Parameters
    ----------
    run : callable
        One setting -> what JSON can hold, by name: plain numbers, words, lists. It goes to another
        process: a function of a module, that takes its random numbers from a seed in its setting.
    settings : iterable of dict
        Numbers and words by name, what decides the outcome of a run.
    path : str or os.PathLike
        The results: a line of JSON for each finished run, its setting and what it gave.
    executor : Executor, optional
        Whatever has the interface of `concurrent.futures`, as Dask's `client.get_executor()` on a
        cluster. If not given, a process for each core.
    progress : bool
        Whether to show a progress bar; it disappears at the end.

    Returns
    -------
    list of dict
        In the order of the settings.

    Raises
    ------
    ValueError
        If the file is something else than the results of a sweep, or two settings are equal.
    Exception
        What a run raised; the finished ones are kept.
    """
    settings, path = [dict(setting) for setting in settings], Path(path)
    keys = [_key(setting) for setting in settings]
    if len(set(keys)) < len(keys):
        raise ValueError("settings: some are equal, want each once")
    path.parent.mkdir(parents=True, exist_ok=True)
    done = _read(path)
    missing = [setting for setting, key in zip(settings, keys, strict=True) if key not in done]
    with path.open("a", encoding="utf-8") as file, contextlib.ExitStack() as own:
        pool = executor or own.enter_context(
            ProcessPoolExecutor(mp_context=multiprocessing.get_context("spawn"))
        )
        waiting: dict[Future, dict] = {}

        def keep(finished: Future) -> None:
            setting = waiting.pop(finished)
            line = json.dumps({"setting": setting, "result": dict(finished.result())})
            print(line, file=file, flush=True)
            done[_key(setting)] = json.loads(line)["result"]  # as it will be read again

        try:
            waiting |= {pool.submit(run, setting): setting for setting in missing}
            bar = tqdm(total=len(missing), unit="run", leave=False, disable=not progress)
            with bar:
                for finished in as_completed([*waiting]):
                    keep(finished)
                    bar.update()
        finally:
            # What was under way when another run failed, or Ctrl-C came, is not lost.
            for future in waiting:
                future.cancel()
            for future in wait(waiting).done:
                if not future.cancelled() and future.exception() is None:
                    keep(future)
    return [setting | done[key] for setting, key in zip(settings, keys, strict=True)]


def finished_runs(path: str | os.PathLike) -> list[dict]:
    """[{**setting, **run(setting)}] of the runs that a file of `run_all` holds, as they finished.

    Raises
    ------
    OSError
        If the file can't be read.
    """
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    return [line["setting"] | line["result"] for line in map(json.loads, lines)]


def paired_difference(
    one: Iterable[Mapping], other: Iterable[Mapping], key: str
) -> tuple[float, float]:
    """d̄ ± t₉₅ s / √n, with d = one − other for each of n seeds, s their standard deviation.

    Parameters
    ----------
    one, other : iterable of dict
        Results with the same seeds, 2 to 10 of them, each once.
    key : str
        What is compared.

    Returns
    -------
    mean, half : float
        The interval from mean − half to mean + half holds the true difference with 95 %
        confidence, if the seeds' differences are normally distributed.

    Raises
    ------
    ValueError
        If the seeds differ.
    """
    one, other = ({result["seed"]: result[key] for result in results} for results in (one, other))
    if one.keys() != other.keys():
        raise ValueError(f"seeds: got {sorted(one)} and {sorted(other)}, want the same")
    d = np.array([one[seed] - other[seed] for seed in one])
    return float(d.mean()), float(T_95[len(d) - 1] * d.std(ddof=1) / np.sqrt(len(d)))


def _key(setting: Mapping) -> str:
    return json.dumps(setting, sort_keys=True)


def _read(path: Path) -> dict[str, dict]:
    """Return what the file holds, by setting; cut off a last line that a kill left unfinished."""
    if not path.exists():
        return {}
    whole, newline, rest = path.read_bytes().rpartition(b"\n")
    try:
        lines = [json.loads(line) for line in whole.decode().splitlines()]
        done = {_key(line["setting"]): line["result"] for line in lines}
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: no results of a sweep ({error}), want another file") from error
    if rest:
        if not lines and not rest.startswith(b'{"setting"'):
            raise ValueError(f"{path}: no results of a sweep, want another file")
        os.truncate(path, len(whole) + len(newline))
    return done
