"""The four original files of MNIST: found in a folder or downloaded, and held to their md5."""

import gzip
import hashlib
import os
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import numpy as np

# x_train, y_train, x_test, y_test: file name, and the md5 of its *uncompressed* bytes, since the
# same bytes are found packed in many ways.
FILES = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}
MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)


def parse_idx(data: bytes, md5: str, source: object) -> np.ndarray:
    """Return the array of bytes in an IDX file, compressed or not.

    IDX: two zero bytes, the type (8 is uint8), the number of axes, each axis' length as a
    big-endian uint32, then the bytes.

    Parameters
    ----------
    data : bytes
        The whole file; gzip is known by its first two bytes, whatever the file is called.
    md5 : str
        What the uncompressed bytes must hash to; that it is a well-formed IDX file follows.
    source : object
        What the message calls the file.

    Raises
    ------
    ValueError
        If the bytes are not those.
    """
    if data[:2] == b"\x1f\x8b":
        try:
            data = gzip.decompress(data)
        except (EOFError, OSError, zlib.error) as broken:
            raise ValueError(f"{source}: truncated or damaged gzip file ({broken})") from broken
    found = hashlib.md5(data, usedforsecurity=False).hexdigest()
    if found != md5:
        raise ValueError(
            f"{source}: truncated, damaged or not the original: "
            f"its {len(data):,} uncompressed bytes have md5 {found}, want {md5}"
        )
    axes = data[3]
    shape = np.frombuffer(data, ">u4", count=axes, offset=4)
    return np.frombuffer(data, np.uint8, offset=4 + 4 * axes).reshape(shape)


def read_folder(path: str | os.PathLike) -> list[np.ndarray]:
    """Return the four arrays of uint8 from the four files in a folder.

    Raises
    ------
    FileNotFoundError
        If the folder or a file is missing.
    ValueError
        If a file is not the original.
    """
    folder = Path(path).expanduser()
    arrays = []
    for name, md5 in FILES.items():
        dotted = name.replace("-idx", ".idx")
        choices = [folder / each for each in (name, f"{name}.gz", dotted, f"{dotted}.gz")]
        file = next(filter(Path.is_file, choices), None)
        if file is None:
            raise FileNotFoundError(
                f"{folder}: no file {name} or {name}.gz; want the folder with the four original "
                "files of MNIST, or load_mnist() without a path to download them"
            )
        try:
            arrays.append(parse_idx(file.read_bytes(), md5, file))
        except ValueError as damaged:
            raise ValueError(
                f"{damaged}; replace it, or call load_mnist() without a path to download it"
            ) from damaged
    return arrays


def download_files() -> list[np.ndarray]:
    """Return the four arrays of uint8 from the user's cache, filled from a mirror where it has to.

    Raises
    ------
    ImportError
        If pooch or tqdm is missing.
    ConnectionError
        If no mirror delivers the original file.
    """
    try:
        import pooch
        from tqdm.auto import tqdm
    except ImportError as missing:
        raise ImportError(
            f"{missing.name} is missing, which downloads MNIST: `pip install pooch tqdm`, "
            "or give load_mnist the path of a folder with the four original files"
        ) from missing

    # A total from the start, since pooch asks whether the bar is true; it then sets the real one.
    bar = partial(tqdm, total=1, unit="B", unit_scale=True, leave=False)

    def fetch(name: str, md5: str) -> np.ndarray:
        cached = Path(pooch.os_cache("capsedu"), f"{name}.gz")
        with suppress(FileNotFoundError, ValueError):  # not there, or gone bad: fetched (again)
            return parse_idx(cached.read_bytes(), md5, cached)
        failures = []
        for mirror in MIRRORS:
            url = f"{mirror}{name}.gz"
            try:
                with whole_file(cached) as part, bar(desc=name) as progress:
                    pooch.HTTPDownloader(progressbar=progress)(url, part, None)
                    return parse_idx(part.read_bytes(), md5, url)
            except (OSError, ValueError) as failure:  # OSError: those of requests are
                failures.append(f"{url}: {failure}")
        raise ConnectionError(
            f"{name}.gz could not be downloaded; try again later, or get the four files by other "
            "means and give load_mnist their folder. What went wrong:\n" + "\n".join(failures)
        )

    return [fetch(name, md5) for name, md5 in FILES.items()]


@contextmanager
def whole_file(target: Path) -> Iterator[Path]:
    """Give a path to write to, which becomes `target` at the end, or is gone if anything fails."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        part = Path(scratch, target.name)
        yield part
        os.replace(part, target)
