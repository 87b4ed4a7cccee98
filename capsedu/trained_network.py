"""A capsule network that has learned all of MNIST, so that a notebook need not train for minutes.

Two commands make the file that comes with the package::

    capsedu train --mnist PATH --epochs 14 --checkpoint FILE
    python -m capsedu.trained_network FILE
"""

import argparse
import os
from pathlib import Path

import numpy as np

from capsedu.capsule_network import NAMES, CapsuleNetwork
from capsedu.checkpoints import PARAMETER
from capsedu.data.original import whole_file

FILE = Path(__file__).parent / "data" / "trained_network.npz"


def load_trained_network() -> CapsuleNetwork:
    """Convolution, 144 primary capsules of 8, 10 digit capsules of 16, decoder: r = 3, unrolled.

    The file is part of the package: nothing is downloaded. It was trained on MNIST's 60,000
    training images, moved by up to 2 pixels, and recognises 997 of 1000 of the sample's test
    images. Its parameters are stored in half precision; they come as float32.
    """
    with np.load(FILE) as file:
        return CapsuleNetwork({name: file[name].astype(np.float32) for name in NAMES})


def write_trained_network(checkpoint: str | os.PathLike, path: Path = FILE) -> None:
    """Keep the parameters of a checkpoint of `capsedu train`, in half precision, whole or not."""
    with np.load(checkpoint) as file:
        parameters = {name: file[PARAMETER + name].astype(np.float16) for name in NAMES}
    with whole_file(path) as part, part.open("wb") as file:
        np.savez_compressed(file, **parameters)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", help="written by capsedu train")
    write_trained_network(parser.parse_args().checkpoint)
