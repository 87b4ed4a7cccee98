"""capsedu.data: the sample, the original files from a folder, and their download."""

import _thread
import gzip
import hashlib
import os
import struct
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pooch
import pytest

from capsedu import data
from capsedu.data import make_sample, original

# How often each digit occurs in MNIST, as published.
TRAIN_COUNTS = np.array([5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949])
TEST_COUNTS = np.array([980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009])

MNIST = os.environ.get("CAPSEDU_MNIST")
needs_mnist = pytest.mark.skipif(
    not MNIST, reason="CAPSEDU_MNIST does not name a folder with the four original files"
)


# --- the sample ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sample():
    return data.load_digits_sample()


def test_sample_shapes_types_and_range(sample):
    x_train, y_train, x_test, y_test = sample
    assert [a.shape for a in sample] == [(5000, 28, 28), (5000,), (1000, 28, 28), (1000,)]
    assert [a.dtype for a in sample] == [np.float32, np.int64, np.float32, np.int64]
    for x in (x_train, x_test):
        assert x.min() == 0
        assert x.max() == 1
        grey = x.astype(np.float64) * 255
        np.testing.assert_allclose(grey, grey.round(), atol=1e-4)
    assert set(y_train) == set(y_test) == set(range(10))


def test_sample_is_stratified(sample):
    for labels, counts in ((sample[1], TRAIN_COUNTS), (sample[3], TEST_COUNTS)):
        share = labels.size * counts / counts.sum()
        assert (abs(np.bincount(labels) - share) < 1).all()


def test_sample_order_is_no_order_by_digit(sample):
    for labels in (sample[1], sample[3]):
        first = np.bincount(labels[: labels.size // 5], minlength=10)
        assert first.min() >= 10
        assert (np.diff(labels) < 0).mean() > 0.4  # 0.45 if independent, 0 if sorted


def test_sample_has_no_image_twice(sample):
    images = [image.tobytes() for image in np.concatenate([sample[0], sample[2]])]
    assert len(set(images)) == 6000


def test_sample_images_go_with_their_labels(sample):
    # The nearest class mean is right for about four digits in five, and for one in ten by chance.
    x_train, y_train, x_test, y_test = sample
    means = np.stack([x_train[y_train == digit].mean(axis=0) for digit in range(10)])
    distance = ((x_test[:, None] - means) ** 2).sum(axis=(2, 3))
    assert (distance.argmin(axis=1) == y_test).mean() > 0.75


def test_sample_on_disk_is_small_and_stored_as_bytes():
    assert data.SAMPLE.stat().st_size <= 1_300_000
    with np.load(data.SAMPLE) as stored:
        assert set(stored) == {"x_train", "y_train", "x_test", "y_test"}
        assert all(stored[name].dtype == np.uint8 for name in stored)


def test_sample_notes_say_what_is_there(sample):
    notes = (data.SAMPLE.parent / "README.md").read_text(encoding="utf-8")
    for labels in (sample[1], sample[3]):
        assert ", ".join(map(str, np.bincount(labels))) in notes
    for words in ("LeCun", "Cortes", "Burges", "ShareAlike 3.0", "capsedu.data.make_sample"):
        assert words in notes


def test_import_brings_no_downloader_and_reads_nothing_but_code():
    code = """
import sys, numpy
opened = []
sys.addaudithook(lambda event, given: event == "open" and opened.append(str(given[0])))
import capsedu.data
opened = [name for name in opened if ".py" not in name]
print(opened, {"pooch", "tqdm", "requests"} & set(sys.modules))
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[] set()"


# --- a small MNIST of our own -------------------------------------------------------------------


def idx(array):
    """The bytes of an IDX file, written after its description, not with our reader."""
    return (
        struct.pack(">BBBB", 0, 0, 8, array.ndim)
        + struct.pack(f">{array.ndim}I", *array.shape)
        + array.tobytes()
    )


@pytest.fixture
def arrays():
    random = np.random.default_rng(1)
    x_train, x_test = (random.integers(0, 256, (n, 4, 5), np.uint8) for n in (300, 70))
    y_train, y_test = (random.integers(0, 10, n).astype(np.uint8) for n in (300, 70))
    return x_train, y_train, x_test, y_test


@pytest.fixture
def files(arrays, monkeypatch):
    """The four files by name, uncompressed; their md5 stand in place of MNIST's."""
    contents = dict(zip(original.FILES, map(idx, arrays), strict=True))
    md5 = {name: hashlib.md5(content).hexdigest() for name, content in contents.items()}
    monkeypatch.setattr(original, "FILES", md5)
    return contents


def assert_right(loaded, arrays):
    assert [a.dtype for a in loaded] == [np.float32, np.int64, np.float32, np.int64]
    for got, want in zip(loaded, arrays, strict=True):
        scale = 255 if want.ndim == 3 else 1
        np.testing.assert_array_equal(got, (want / scale).astype(got.dtype))


PACKED = {  # what stands before "idx" in the name, what after the name, and how it is packed
    "plain": ("-", "", bytes),
    "gz": ("-", ".gz", gzip.compress),
    "dotted": (".", "", bytes),
    "dotted gz": (".", ".gz", gzip.compress),
    "plain, called gz": ("-", ".gz", bytes),
}


@pytest.fixture(params=PACKED)
def folder(request, files, tmp_path):
    folder = tmp_path / "mnist"
    folder.mkdir()
    mark, suffix, pack = PACKED[request.param]
    for name, content in files.items():
        (folder / f"{name.replace('-idx', f'{mark}idx')}{suffix}").write_bytes(pack(content))
    return folder


@pytest.mark.parametrize("kind", [str, Path])
def test_load_mnist_from_a_folder(folder, arrays, kind):
    assert_right(data.load_mnist(kind(folder)), arrays)


@pytest.mark.parametrize("index", range(4))
def test_a_missing_file_is_named(folder, files, index):
    sorted(folder.iterdir())[index].unlink()
    with pytest.raises(FileNotFoundError, match="without a path to download") as error:
        data.load_mnist(folder)
    missing = [name for name in files if name in str(error.value)]
    there = {file.name.replace(".idx", "-idx").removesuffix(".gz") for file in folder.iterdir()}
    assert set(missing) == set(files) - there
    assert str(folder) in str(error.value)


def test_a_missing_folder_is_named(files, tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        data.load_mnist(tmp_path / "nowhere")


DAMAGE = {
    "empty": lambda content: b"",
    "one byte left": lambda content: content[:1],
    "header alone": lambda content: content[:12],
    "half": lambda content: content[: len(content) // 2],
    "last byte missing": lambda content: content[:-1],
    "one bit flipped": lambda content: (
        content[: len(content) // 2]
        + bytes([content[len(content) // 2] ^ 16])
        + content[len(content) // 2 + 1 :]
    ),
    "a byte too many": lambda content: content + b"\x07",
    "a web page": lambda content: b"<html>404</html>",
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("index", range(4))
def test_a_damaged_file_is_named(folder, index, damage):
    file = sorted(folder.iterdir())[index]
    file.write_bytes(DAMAGE[damage](file.read_bytes()))
    with pytest.raises(ValueError, match=r"truncated.*replace it") as error:
        data.load_mnist(folder)
    assert str(file) in str(error.value)


def test_swapped_files_are_refused(files, tmp_path):
    train, test = "train-labels-idx1-ubyte", "t10k-labels-idx1-ubyte"
    for name, content in {**files, train: files[test], test: files[train]}.items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=f"{train}.*not the original"):
        data.load_mnist(tmp_path)


# --- download -----------------------------------------------------------------------------------


class Mirror:
    """A server on this machine whose files are in `files`; `requests` is what was asked of it."""

    def __init__(self, files):
        self.files, self.requests = files, []
        self.cut = self.interrupt = None  # the name of a file that is sent by half
        mirror = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                name = self.path.rpartition("/")[2]
                mirror.requests.append(name)
                content = mirror.files.get(name)
                self.send_response(200 if content is not None else 404)
                self.send_header("Content-Length", str(len(content or b"")))
                self.end_headers()
                if name in (mirror.cut, mirror.interrupt):
                    content = content[: len(content) // 2]
                if name == mirror.interrupt:
                    _thread.interrupt_main()
                self.wfile.write(content or b"")

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/mnist/"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def mirrors(files, monkeypatch):
    """Two mirrors with the four files, in the place of the public ones."""
    packed = {f"{name}.gz": gzip.compress(content) for name, content in files.items()}
    mirrors = [Mirror(dict(packed)), Mirror(dict(packed))]
    monkeypatch.setattr(original, "MIRRORS", tuple(mirror.url for mirror in mirrors))
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")
    yield mirrors
    for mirror in mirrors:
        mirror.close()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache, in the place of the user's."""
    cache = tmp_path / "cache"
    monkeypatch.setattr(pooch, "os_cache", lambda project: cache / project)
    return cache / "capsedu"


def test_download_once_with_progress(mirrors, cache, arrays, files, capsys):
    assert_right(data.load_mnist(), arrays)
    names = [f"{name}.gz" for name in files]
    assert mirrors[0].requests == names
    assert sorted(os.listdir(cache)) == sorted(names)
    progress = capsys.readouterr().err
    assert all(name in progress for name in files)
    assert_right(data.load_mnist(), arrays)
    assert mirrors[0].requests == names
    assert mirrors[1].requests == []
    assert capsys.readouterr().err == ""


IMAGES = "t10k-images-idx3-ubyte.gz"


def test_a_connection_that_is_cut_leaves_nothing(mirrors, cache, arrays):
    for mirror in mirrors:
        mirror.cut = IMAGES
    with pytest.raises(ConnectionError, match=IMAGES) as error:
        data.load_mnist()
    assert all(f"{mirror.url}{IMAGES}" in str(error.value) for mirror in mirrors)
    assert sorted(os.listdir(cache)) == ["train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"]
    mirrors[0].cut = None
    assert_right(data.load_mnist(), arrays)  # goes on where it stopped
    assert mirrors[0].requests.count("train-images-idx3-ubyte.gz") == 1


@pytest.mark.parametrize("wrong", [*DAMAGE, "another array", "not there"])
def test_wrong_bytes_leave_nothing(mirrors, cache, wrong):
    for mirror in mirrors:
        for name, content in list(mirror.files.items()):
            if wrong == "another array":
                mirror.files[name] = gzip.compress(idx(np.zeros((300, 4, 5), np.uint8)))
            elif wrong == "not there":
                del mirror.files[name]
            else:
                mirror.files[name] = DAMAGE[wrong](content)
    with pytest.raises(ConnectionError, match=r"train-images.*give load_mnist their folder"):
        data.load_mnist()
    assert os.listdir(cache) == []


def test_no_server_leaves_nothing(mirrors, cache, monkeypatch):
    for mirror in mirrors:
        mirror.server.shutdown()
        mirror.server.server_close()
    with pytest.raises(ConnectionError, match="train-images"):
        data.load_mnist()
    assert os.listdir(cache) == []


@pytest.mark.parametrize("broken", ["cut", "wrong", "missing"])
def test_the_second_mirror_stands_in(mirrors, cache, arrays, broken):
    if broken == "cut":
        mirrors[0].cut = IMAGES
    elif broken == "wrong":
        mirrors[0].files[IMAGES] = gzip.compress(b"something else")
    else:
        del mirrors[0].files[IMAGES]
    assert_right(data.load_mnist(), arrays)
    assert mirrors[1].requests == [IMAGES]


def test_an_interrupt_leaves_nothing(mirrors, cache, arrays):
    mirrors[0].interrupt = "train-images-idx3-ubyte.gz"
    with pytest.raises(KeyboardInterrupt):
        data.load_mnist()
    assert os.listdir(cache) == []
    mirrors[0].interrupt = None
    assert_right(data.load_mnist(), arrays)


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_cached_file_that_went_bad_is_fetched_again(mirrors, cache, arrays, damage):
    data.load_mnist()
    bad = cache / IMAGES
    bad.write_bytes(DAMAGE[damage](bad.read_bytes()))
    assert_right(data.load_mnist(), arrays)
    assert mirrors[0].requests.count(IMAGES) == 2
    assert gzip.decompress(bad.read_bytes()) == idx(arrays[2])


def test_a_cached_file_that_went_bad_is_never_used(mirrors, cache):
    data.load_mnist()
    bad = cache / IMAGES
    bad.write_bytes(gzip.compress(idx(np.zeros((70, 4, 5), np.uint8))))
    for mirror in mirrors:
        mirror.files.clear()
    with pytest.raises(ConnectionError, match=IMAGES):
        data.load_mnist()


@pytest.mark.parametrize("package", ["pooch", "tqdm.auto"])
def test_a_missing_downloader_says_what_to_install(files, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=rf"{package} is missing.*pip install pooch tqdm"):
        data.load_mnist()


# --- how the sample is made ---------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 9, 10, 137, 299, 300])
@pytest.mark.parametrize("classes", [1, 3, 10])
def test_a_draw_is_stratified_and_without_replacement(size, classes):
    labels = np.random.default_rng(2).integers(0, classes, 300).astype(np.uint8)
    drawn = make_sample.draw(labels, size, np.random.PCG64(3))
    assert drawn.size == len(set(drawn.tolist())) == size
    share = size * np.bincount(labels) / labels.size
    assert (abs(np.bincount(labels[drawn], minlength=share.size) - share) < 1).all()


@pytest.fixture
def small_sizes(monkeypatch):
    monkeypatch.setattr(make_sample, "TRAIN_SIZE", 50)
    monkeypatch.setattr(make_sample, "TEST_SIZE", 20)


def test_make_sample_writes_rows_of_the_originals(folder, arrays, small_sizes, tmp_path, capsys):
    output = tmp_path / "sample.npz"
    make_sample.main([str(folder), "--output", str(output)])
    assert f"{output}: {output.stat().st_size:,} bytes" in capsys.readouterr().out
    with np.load(output) as sample:
        for part, images, labels, size in (("train", *arrays[:2], 50), ("test", *arrays[2:], 20)):
            pairs = list(zip(map(bytes, images), labels.tolist(), strict=True))
            x, y = sample[f"x_{part}"], sample[f"y_{part}"]
            drawn = {*zip(map(bytes, x), y.tolist(), strict=True)}
            assert len(drawn) == size
            assert drawn <= set(pairs)
    first = output.read_bytes()
    make_sample.main([str(folder), "--output", str(output)])
    assert output.read_bytes() == first


def test_make_sample_refuses_bad_originals(folder, small_sizes, tmp_path, capsys):
    file = next(folder.iterdir())
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(SystemExit) as stop:
        make_sample.main([str(folder), "--output", str(tmp_path / "sample.npz")])
    assert stop.value.code == 1
    assert str(file) in capsys.readouterr().err
    assert os.listdir(tmp_path) == [folder.name]


@pytest.mark.parametrize("failure", [OSError("disk full"), KeyboardInterrupt()])
def test_make_sample_leaves_no_half_file(folder, small_sizes, tmp_path, monkeypatch, failure):
    def fail(file, **_):
        file.write(b"half")
        raise failure

    output = tmp_path / "sample.npz"
    output.write_bytes(b"the one before")
    monkeypatch.setattr(np, "savez_compressed", fail)
    with pytest.raises((SystemExit, KeyboardInterrupt)):
        make_sample.main([str(folder), "--output", str(output)])
    assert output.read_bytes() == b"the one before"
    assert sorted(os.listdir(tmp_path)) == sorted([folder.name, output.name])


# --- the full set -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def full():
    return data.load_mnist(MNIST)


@needs_mnist
def test_full_set_shapes_types_and_counts(full):
    assert [a.shape for a in full] == [(60000, 28, 28), (60000,), (10000, 28, 28), (10000,)]
    assert [a.dtype for a in full] == [np.float32, np.int64, np.float32, np.int64]
    np.testing.assert_array_equal(np.bincount(full[1]), TRAIN_COUNTS)
    np.testing.assert_array_equal(np.bincount(full[3]), TEST_COUNTS)
    assert full[1][:5].tolist() == [5, 0, 4, 1, 9]  # as everybody knows them
    assert full[3][:5].tolist() == [7, 2, 1, 0, 4]


@needs_mnist
def test_full_set_survives_packing_by_md5(full):
    md5 = ["6bbc9ace898e44ae57da46a324031adb", "2646ac647ad5339dbf082846283269ea"]
    for x, want in zip((full[0], full[2]), md5, strict=True):
        grey = np.rint(x * np.float32(255)).astype(np.uint8)
        assert hashlib.md5(idx(grey)).hexdigest() == want


@needs_mnist
def test_make_sample_reproduces_the_shipped_arrays(tmp_path):
    # Array for array: another zlib may pack the same arrays into other bytes.
    make_sample.write_sample(MNIST, tmp_path / "sample.npz")
    with np.load(tmp_path / "sample.npz") as made, np.load(data.SAMPLE) as shipped:
        assert set(made) == set(shipped)
        for name in shipped:
            np.testing.assert_array_equal(made[name], shipped[name], strict=True)


@needs_mnist
def test_sample_is_part_of_the_full_set(full, sample):
    for part in (0, 2):
        whole = {
            image.tobytes(): label for image, label in zip(full[part], full[part + 1], strict=True)
        }
        for image, label in zip(sample[part], sample[part + 1], strict=True):
            assert whole[image.tobytes()] == label
