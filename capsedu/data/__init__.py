"""Handwritten digits: a sample of MNIST that comes with the package, and the full set."""

import os
from pathlib import Path

import numpy as np

from capsedu.data.original import download_files, read_folder

__all__ = ["load_digits_sample", "load_mnist", "shifted"]

SAMPLE = Path(__file__).with_name("digits_sample.npz")

Digits = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def load_digits_sample() -> Digits:
    """x = grey value / 255, for 5,000 training and 1,000 test images of MNIST.

    Each digit has its share of the full set; the order is random, so that the first n are a fair
    draw too. The file is part of the package: nothing is downloaded.

    Returns
    -------
    x_train : ndarray of float32, shape (5000, 28, 28)
        Images, 0 (paper) to 1 (ink).
    y_train : ndarray of int64, shape (5000,)
        The digits they show, 0 to 9.
    x_test, y_test : ndarray, shapes (1000, 28, 28) and (1000,)
        Likewise, from MNIST's test images.

    Notes
    -----
    Source: LeCun, Cortes & Burges, CC BY-SA 3.0; see README.md beside this module.
    """
    with np.load(SAMPLE) as sample:
        return _as_numbers(*(sample[name] for name in ("x_train", "y_train", "x_test", "y_test")))


def load_mnist(path: str | os.PathLike | None = None) -> Digits:
    """x = grey value / 255, for the 60,000 training and 10,000 test images of MNIST.

    Parameters
    ----------
    path : str or os.PathLike, optional
        The folder with the four original files, compressed or not. Without it they are downloaded
        once (11 MB, needs pooch and tqdm) and kept in the user's cache.

    Returns
    -------
    x_train : ndarray of float32, shape (60000, 28, 28)
        Images, 0 (paper) to 1 (ink).
    y_train : ndarray of int64, shape (60000,)
        The digits they show, 0 to 9.
    x_test, y_test : ndarray, shapes (10000, 28, 28) and (10000,)
        Likewise, the test images.

    Raises
    ------
    FileNotFoundError
        If the folder or one of the four files is missing.
    ValueError
        If a file is truncated or damaged: the md5 of its uncompressed bytes is looked at each time.
    ConnectionError
        If no mirror delivers the original file; the cache is left as it was.
    ImportError
        If no path is given and pooch or tqdm is missing.

    Notes
    -----
    Source: LeCun, Cortes & Burges, CC BY-SA 3.0.
    """
    return _as_numbers(*(download_files() if path is None else read_folder(path)))


def shifted(images: np.ndarray, generator: np.random.Generator, most: int = 2) -> np.ndarray:
    """Each image moved by −most … most pixels down and across, at random; what comes in is paper.

    Parameters
    ----------
    images : ndarray, shape (N, height, width)
    generator : Generator
        Where the random numbers come from.
    most : int
        Pixels, at least 0.
    """
    N, *sides = images.shape
    padded = np.pad(images, ((0, 0), (most, most), (most, most)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, sides, axis=(1, 2))
    down, across = generator.integers(2 * most + 1, size=(2, N))
    return windows[np.arange(N), down, across]


def _as_numbers(
    x_train: np.ndarray, y_train: np.ndarray, x_test: np.ndarray, y_test: np.ndarray
) -> Digits:
    """x / 255 in float32, y in int64."""
    x_train, x_test = (np.divide(x, 255, dtype=np.float32) for x in (x_train, x_test))
    return x_train, y_train.astype(np.int64), x_test, y_test.astype(np.int64)
