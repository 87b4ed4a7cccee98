"""Make the sample of MNIST that comes with the package from the four original files.

`python -m capsedu.data.make_sample PATH_TO_MNIST`
"""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from capsedu.data import SAMPLE
from capsedu.data.original import read_folder, whole_file

SEED = 0
TRAIN_SIZE = 5000
TEST_SIZE = 1000


def class_sizes(labels: np.ndarray, size: int) -> np.ndarray:
    """size · N_k / N for each class k, rounded so that the sum is `size` (largest remainders).

    Parameters
    ----------
    labels : ndarray of int, shape (N,)
        The classes to keep in proportion.
    size : int
        How many to draw, at most N.

    Returns
    -------
    ndarray of int
        How many to draw of class 0, 1, …: each within one of its exact share.
    """
    sizes, remainders = np.divmod(size * np.bincount(labels), labels.size)
    most = np.argsort(-remainders, kind="stable")  # a tie goes to the smaller digit
    sizes[most[: size - sizes.sum()]] += 1
    return sizes


def draw(labels: np.ndarray, size: int, random: np.random.BitGenerator) -> np.ndarray:
    """Return the indices of a stratified draw without replacement, in random order."""
    # Sorting raw bits: theirs is the stream that NumPy promises to keep from version to version.
    order = np.argsort(random.random_raw(labels.size), kind="stable")
    drawn = np.zeros(labels.size, bool)
    for digit, count in enumerate(class_sizes(labels, size)):
        drawn[np.flatnonzero(labels[order] == digit)[:count]] = True
    return order[drawn]


def write_sample(mnist: str | os.PathLike, output: str | os.PathLike) -> None:
    """Draw the sample from the original files in the folder `mnist` and write it, whole or not."""
    x_train, y_train, x_test, y_test = read_folder(mnist)
    random = np.random.PCG64(SEED)
    train = draw(y_train, TRAIN_SIZE, random)
    test = draw(y_test, TEST_SIZE, random)
    with whole_file(Path(output)) as part, part.open("wb") as file:
        np.savez_compressed(
            file,
            x_train=x_train[train],
            y_train=y_train[train],
            x_test=x_test[test],
            y_test=y_test[test],
        )


def main(arguments: Sequence[str] | None = None) -> None:
    """Do what the command line says; what goes wrong is one line and exit code 1."""
    parser = argparse.ArgumentParser(
        prog="python -m capsedu.data.make_sample",
        description="Make the sample of MNIST that comes with capsedu.",
    )
    parser.add_argument("mnist", help="folder with the four original files, compressed or not")
    parser.add_argument("--output", default=SAMPLE, help="the .npz to write (default: %(default)s)")
    options = parser.parse_args(arguments)
    try:
        write_sample(options.mnist, options.output)
    except (OSError, ValueError) as error:
        parser.exit(1, f"{error}\n")
    print(f"{options.output}: {os.path.getsize(options.output):,} bytes")


if __name__ == "__main__":
    main()
