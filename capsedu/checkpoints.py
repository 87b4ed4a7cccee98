"""Checkpoints: a training in a file, so that a killed one carries on as if nothing had happened."""

import copy
import json
import os
import zipfile
import zlib
from dataclasses import asdict, fields, replace
from pathlib import Path

import numpy as np

from capsedu.data.original import whole_file
from capsedu.training import Adam, Epoch, State, Training

MOMENTS = ("m", "v")
PARAMETER = "parameter "  # before its name, in the file


def save(training: Training, path: str | os.PathLike) -> None:
    """Write parameters, optimiser, generator and history, whole or not at all.

    A kill at any moment leaves the file as it was or as it is to be.
    """
    state = training.state
    arrays = {PARAMETER + name: array for name, array in state.model.parameters.items()}
    for name, moments in state.optimiser.moments.items():
        arrays |= {f"{x} {name}": moment for x, moment in zip(MOMENTS, moments, strict=True)}
    told = {
        "settings": _settings(training),
        "optimiser": asdict(replace(state.optimiser, moments={})),
        "generator": state.generator.bit_generator.state,
        "history": state.history,
    }
    with whole_file(Path(path)) as part, part.open("wb") as file:
        np.savez(file, state=json.dumps(told, default=_plain), **arrays)


def resume(training: Training, path: str | os.PathLike) -> None:
    """Set `training`, made as the one that was saved, to where that one stood.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is no checkpoint, or of a training with other settings or another model; `training`
        stays as it was.
    """
    model = training.model
    try:
        with Path(path).open("rb") as file, np.load(file) as stored:
            arrays, told = dict(stored), json.loads(str(stored["state"]))
        parameters = {
            name.removeprefix(PARAMETER): array
            for name, array in arrays.items()
            if name.startswith(PARAMETER)
        }
        settings = told["settings"]
        moments = {
            name: tuple(arrays[f"{x} {name}"] for x in MOMENTS)
            for name in parameters
            if f"m {name}" in arrays
        }
        optimiser = Adam(**told["optimiser"] | {"moments": moments})
        generator = copy.deepcopy(training.state.generator)
        generator.bit_generator.state = told["generator"]
        history = [Epoch(*line) for line in told["history"]]
    except FileNotFoundError:
        raise
    except (KeyError, TypeError, ValueError, EOFError, OSError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path}: no checkpoint of a training ({error})") from error
    shapes = [{n: list(x.shape) for n, x in p.items()} for p in (parameters, model.parameters)]
    for got, want in (shapes, (settings, _settings(training))):
        differ = {name for name in got | want if got.get(name) != want.get(name)}
        if differ:
            pairs = (f"{n}: {got.get(n)}, here {want.get(n)}" for n in sorted(differ))
            raise ValueError(f"{path}: comes from another training ({'; '.join(pairs)})")
    training.state = State(replace(model, parameters=parameters), optimiser, generator, history)


def _plain(x: np.generic | np.ndarray) -> object:
    """Return what JSON knows in the place of a number or an array of NumPy's."""
    return x.tolist()


def _settings(training: Training) -> dict:
    """Return what two trainings must share for one to carry on the other, parameters apart."""
    model = training.model
    return {
        "batch size": training.batch_size,
        "learning rate": float(training.begun.learning_rate),
        "decay": training.decay,
        "random numbers": zlib.crc32(repr(training.begun.generator).encode()),
        "training labels": zlib.crc32(training.train[1].tobytes()),
        **{x.name: getattr(model, x.name) for x in fields(model) if x.name != "parameters"},
    }
