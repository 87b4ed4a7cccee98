"""The dimensions sketch: what is decoded, read again, drawn and said is what the formulas say."""

import re

import numpy as np
import pytest
import svg as read

from capsedu.capsule_network import CapsuleNetwork
from capsedu.data import load_digits_sample
from capsedu.explorers import dimensions_explorer
from capsedu.explorers.dimensions import DIGITS
from capsedu.figures.palette import COLOURS
from capsedu.sketches.dimensions import (
    AMOUNTS,
    move_dimension,
    sketch_dimension,
    sketch_table,
)
from capsedu.trained_network import load_trained_network

PLACES = [(1, -0.25), (3, 0.0), (5, 0.1)]
NUMBER = r"([+−]?\d+(?:\.\d+)?)"


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).random((3, 9, 11))


@pytest.fixture(scope="module")
def network(images):
    network = CapsuleNetwork.start(
        images, channels=3, types=2, classes=4, m=5, n=3, size=3, hidden=(6, 7), seed=2
    )
    rng = np.random.default_rng(3)
    for name in ("bias3", "bias4", "bias5"):
        network.parameters[name] += 0.3 * rng.normal(size=network.parameters[name].shape)
    return network


def decoded_by_hand(network, j, v):
    """x̂ of a code that is 0 but for capsule j, the sums written out."""
    p = network.parameters
    code = np.zeros(network.classes * len(v))
    code[j * len(v) : (j + 1) * len(v)] = v
    for weights, bias in (("D1", "bias3"), ("D2", "bias4"), ("D3", "bias5")):
        code = (code[:, None] * p[weights]).sum(axis=0) + p[bias]
        if weights != "D3":
            code = np.where(code > 0, code, 0)
    return 1 / (1 + np.exp(-code))


def number(text):
    return float(text.replace("−", "-"))


@pytest.mark.parametrize("dimension", [1, 3, 5])
def test_each_amount_is_decoded_and_read_again(network, images, dimension):
    moves = move_dimension(network, images[0], dimension)
    v = network.forward(images).routing.v[0]
    lengths = np.sqrt((v * v).sum(axis=-1))
    assert lengths[moves.j] == lengths.max()
    np.testing.assert_allclose(moves.v, v[moves.j], rtol=1e-12)
    assert AMOUNTS[0] == -0.25 and AMOUNTS[5] == 0 and AMOUNTS[-1] == 0.25
    for a, amount in enumerate(AMOUNTS):
        moved = moves.v.copy()
        moved[dimension - 1] += amount
        want = decoded_by_hand(network, moves.j, moved).reshape(images[0].shape)
        np.testing.assert_allclose(moves.decoded[a], want, rtol=1e-10)
        again = np.linalg.norm(network.forward(want).routing.v, axis=-1)
        assert moves.read[a] == again.argmax()
        assert moves.length[a] == pytest.approx(again.max(), rel=1e-10)


@pytest.mark.parametrize(("dimension", "amount"), PLACES)
def test_images_bars_and_frame_are_what_they_are_called(network, images, dimension, amount):
    moves = move_dimension(network, images[1], dimension)
    sketch = sketch_dimension(moves, amount)
    drawn = read.shapes(sketch.svg())
    a = AMOUNTS.index(amount)
    shown = [each for each in drawn if each.tag == "image"]
    want = [images[1], moves.decoded[5], moves.decoded[a], np.hstack([*moves.decoded])]
    for image, grey in zip(shown, want, strict=True):
        np.testing.assert_allclose(read.grey(image), grey, atol=read.GREY)

    (frame,) = [each for each in drawn if each.tag == "polyline" and each.width == 3]
    (left, top), (right, bottom) = shown[-1].points
    share = (frame.points[:-1].mean(axis=0) - (left, top)) / (right - left, bottom - top)
    assert share == pytest.approx([(a + 0.5) / 11, 0.5], abs=0.003)

    bars = [each for each in drawn if each.name.startswith("entry") and each.tag == "polygon"]
    v = moves.v.copy()
    v[dimension - 1] += amount
    heights = [each.points[0, 1] - each.points[2, 1] for each in bars]
    most = abs(v).argmax()
    np.testing.assert_allclose(heights, v * heights[most] / v[most], atol=0.21)
    assert {each.colour for each in bars} == {COLOURS["v"]}
    assert [each.opacity == 1 for each in bars] == [k + 1 == dimension for k in range(len(v))]
    (before,) = [each for each in drawn if each.name.startswith("before")]
    height = bars[dimension - 1].points[0, 1] - before.points[:, 1].mean()
    assert height == pytest.approx(moves.v[dimension - 1] * heights[most] / v[most], abs=0.21)

    texts = [each.text for each in drawn if each.tag == "text"]
    read_as = [f"longest capsule: {moves.j}"]
    read_as += [f"read again: {moves.read[k]}" for k in (5, a)]
    assert [text for text in texts if "longest" in text or "again" in text] == read_as
    for shape in drawn:
        assert (shape.points >= 0).all()
        assert (shape.points <= (sketch.width, sketch.height)).all()


@pytest.mark.parametrize(("dimension", "amount"), PLACES)
def test_the_readout_says_the_numbers(network, images, dimension, amount):
    moves = move_dimension(network, images[2], dimension)
    found = re.match(
        rf"Longest capsule: (\d), length {NUMBER}. Entry (\d) moved by {NUMBER}: of (\d) entries, "
        rf"number (\d) is {NUMBER}, and the length of v {NUMBER}. The network reads the image "
        rf"decoded from it as (\d), length {NUMBER}.$",
        sketch_dimension(moves, amount).readout,
    )
    v, a = moves.v.copy(), AMOUNTS.index(amount)
    v[dimension - 1] += amount
    want = [moves.j, np.linalg.norm(moves.v), dimension, amount, 5, dimension, v[dimension - 1]]
    want += [np.linalg.norm(v), moves.read[a], moves.length[a]]
    assert [number(x) for x in found.groups()] == pytest.approx(want, abs=0.00501)


def test_the_table_has_a_row_for_each_entry(network, images):
    table = [move_dimension(network, images[0], k) for k in range(1, 6)]
    sketch = sketch_table(table)
    drawn = read.shapes(sketch.svg())
    rows = [each for each in drawn if each.tag == "image"]
    names = [each.text for each in drawn if each.text in set("12345")]
    assert names == list("12345")
    for row, moves in zip(rows, table, strict=True):
        np.testing.assert_allclose(read.grey(row), np.hstack([*moves.decoded]), atol=read.GREY)
        assert row.points[1, 1] <= sketch.height and row.points[1, 0] <= sketch.width
    corners = {tuple(each.points[0]) for each in rows}
    assert len(corners) == 5
    same = sum((moves.read == moves.j).sum() for moves in table)
    assert "Of the 55 images" in sketch.readout
    assert f"the network reads {same} as {table[0].j}" in sketch.readout


def test_a_lecturers_own_network_and_images(network, images):
    explorer = dimensions_explorer(network, images)
    assert list(explorer.controls["example"].options) == ["image 1", "image 2", "image 3"]
    assert explorer.controls["dimension"].max == 5
    explorer.controls["example"].value = "image 2"
    explorer.controls["dimension"].value = 4
    for amount, frame in explorer.frames.items():
        sketch = sketch_dimension(move_dimension(network, images[1], 4), amount)
        assert frame.value.startswith(sketch.svg())
        assert f">{sketch.readout}</p>" in frame.value


def test_the_digits_are_what_they_are_called_and_read_as():
    x, y = load_digits_sample()[2:]
    for name, index in DIGITS.items():
        assert name == f"a {y[index]}"
        assert load_trained_network().classify(x[index]) == y[index]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"image": np.zeros((2, 9, 11))}, ["image", "(2, 9, 11)", "(height, width)"]),
        ({"image": np.zeros((9, 15))}, ["images", "(9, 15)", "primary capsules"]),
        ({"image": np.full((9, 11), np.nan)}, ["image", "nan", "0 to 1"]),
        ({"image": np.full((9, 11), 200, dtype=np.uint8)}, ["image", "200", "0 to 1"]),
        ({"image": np.full((9, 11), -0.1)}, ["image", "-0.1", "0 to 1"]),
        ({"image": [["a"]]}, ["image"]),
        ({"dimension": 0}, ["dimension", "0", "1 to 5"]),
        ({"dimension": 6}, ["dimension", "6", "1 to 5"]),
    ],
)
def test_what_cannot_be_moved_is_refused_in_words(network, images, change, words):
    with pytest.raises(ValueError) as error:
        move_dimension(network, **{"image": images[0], "dimension": 1} | change)
    assert all(word in str(error.value) for word in words), str(error.value)
    assert str(error.value).startswith(words[0])


def test_there_is_no_amount_between_and_no_explorer_without_images(network, images):
    with pytest.raises(ValueError, match=r"amount: got 0\.07, want one of -0\.25, "):
        sketch_dimension(move_dimension(network, images[0], 1), 0.07)
    with pytest.raises(ValueError, match=r"images: got shape \(0, .*want \(N, height, width\)"):
        dimensions_explorer(network, images[:0])
    images = images.copy()
    images[2, 0, 0] = np.nan
    with pytest.raises(ValueError, match="image: got values from nan"):
        dimensions_explorer(network, images)
