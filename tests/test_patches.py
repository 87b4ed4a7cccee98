"""Input capsules from images: where patches lie, and the basis they are written in."""

import numpy as np
import pytest

from capsedu.data import load_digits_sample
from capsedu.patches import PatchBasis, cut_patches


def noise(*shape, seed=0):
    return np.random.default_rng(seed).random(shape)


def test_patches_by_hand():
    image = [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12]]
    want = [[1, 2, 5, 6], [3, 4, 7, 8]]  # the last row is in no patch
    assert np.array_equal(cut_patches(image, size=2, stride=2), want)
    want = [[1, 2, 5, 6], [2, 3, 6, 7], [3, 4, 7, 8], [5, 6, 9, 10], [6, 7, 10, 11], [7, 8, 11, 12]]
    assert np.array_equal(cut_patches(image, size=2, stride=1), want)


def test_a_patch_of_a_digit_is_where_it_says():
    images = noise(2, 3, 28, 28)
    patches = cut_patches(images)
    assert patches.shape == (2, 3, 64, 49)
    for y, x in [(0, 0), (0, 7), (3, 5), (7, 0), (7, 7)]:
        corner = images[1, 2, 3 * y : 3 * y + 7, 3 * x : 3 * x + 7]
        assert np.array_equal(patches[1, 2, 8 * y + x], corner.ravel())


def test_the_basis_is_that_of_the_singular_value_decomposition():
    images = noise(40, 13, 10) * np.linspace(0.1, 2, 10)
    basis = PatchBasis.fit(images, n=5, size=4, stride=3)
    patches = cut_patches(images, 4, 3).reshape(-1, 16)
    _, values, axes = np.linalg.svd(patches - patches.mean(axis=0), full_matrices=False)
    signs = np.sign(axes[np.arange(5), abs(axes[:5]).argmax(axis=1)])
    assert np.allclose(basis.axes, (signs[:, None] * axes[:5]).T, rtol=0, atol=1e-12)
    assert np.allclose(basis.deviations, values[:5] / np.sqrt(len(patches)), rtol=1e-12)
    assert np.allclose(basis.mean, patches.mean(axis=0), rtol=1e-14)
    assert np.allclose(basis.axes.T @ basis.axes, np.eye(5), rtol=0, atol=1e-14)


def test_before_the_squash_coordinates_have_mean_0_and_covariance_1():
    images = noise(50, 14, 14)
    basis = PatchBasis.fit(images, n=6)
    u = basis.encode(images)
    length = np.linalg.norm(u, axis=-1, keepdims=True)
    s = u / np.sqrt(length * (1 - length))  # ‖s‖² = ‖v‖/(1 − ‖v‖), so s = v ‖s‖/‖v‖
    s = s.reshape(-1, 6)
    assert np.allclose(s.mean(axis=0), 0, atol=1e-12)
    assert np.allclose(s.T @ s / len(s), np.eye(6), atol=1e-12)


def test_the_order_of_the_images_and_their_scale_change_nothing():
    images = noise(50, 14, 14)
    basis, other = PatchBasis.fit(images), PatchBasis.fit(-3 * images[::-1])
    assert np.allclose(other.axes, basis.axes, rtol=0, atol=1e-10)
    assert np.allclose(other.encode(-3 * images), -basis.encode(images), rtol=0, atol=1e-10)


def test_digits_become_64_capsules_of_8_shorter_than_1():
    x_train, _, x_test, _ = load_digits_sample()
    kept = x_train[:500].copy()
    basis = PatchBasis.fit(x_train[:500])
    u = basis.encode(x_test)
    assert u.shape == (1000, 64, 8)
    assert u.dtype == np.float32
    length = np.linalg.norm(u.astype(float), axis=-1)
    assert 0 < length.min() < length.max() < 1
    assert np.array_equal(basis.encode(x_test[7]), u[7])
    assert np.array_equal(x_train[:500], kept)


def test_nan_stays_in_its_patches():
    images = noise(3, 14, 14)
    basis = PatchBasis.fit(images)
    u = basis.encode(images)
    images[1, 0, 0] = np.nan
    touched = basis.encode(images)
    assert np.isnan(touched[1, 0]).all()
    touched[1, 0] = u[1, 0]
    assert np.array_equal(touched, u)


IMAGES = noise(5, 14, 14)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: cut_patches(IMAGES[0, 0]), r"images: got shape \(14,\)"),
        (lambda: cut_patches(IMAGES, size=15), r"got shape \(5, 14, 14\), .* at least 15"),
        (lambda: cut_patches(IMAGES, size=0), "size: got 0"),
        (lambda: cut_patches(IMAGES, stride=1.5), "stride: got 1.5"),
        (lambda: PatchBasis.fit(IMAGES[0]), r"images: got shape \(14, 14\)"),
        (lambda: PatchBasis.fit(IMAGES[None]), r"images: got shape \(1, 5, 14, 14\)"),
        (lambda: PatchBasis.fit(IMAGES[:0]), r"images: got shape \(0, 14, 14\)"),
        (lambda: PatchBasis.fit(IMAGES, n=0), "n: got 0"),
        # Of 45 patches less their mean, 44 can be independent.
        (lambda: PatchBasis.fit(IMAGES, n=45), "n: got 45, want at most 44"),
        (lambda: PatchBasis.fit(np.ones((5, 14, 14))), "n: got 8, want at most 0"),
        (lambda: PatchBasis.fit(IMAGES * np.nan), "images: some grey values are NaN"),
        (lambda: PatchBasis.fit(IMAGES).encode(IMAGES[:, :6]), r"got shape \(5, 6, 14\)"),
        (lambda: PatchBasis.fit([["a"]]), "images: got dtype"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
