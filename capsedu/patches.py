"""Input capsules from images: overlapping patches, in a few dimensions, squashed."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from capsedu.arguments import as_count, as_numbers, check_shape
from capsedu.squashing import squash


def cut_patches(images: np.ndarray, size: int = 7, stride: int = 3) -> np.ndarray:
    """p_i[k] = image[stride·y + a, stride·x + b],  i = columns·y + x,  k = size·a + b.

    Row by row, as one reads: patch 0 is the upper left corner of the image. What is left over at
    the right and lower edge, less than a stride, is in no patch.

    Parameters
    ----------
    images : array_like, shape (…, height, width)
        Grey values.
    size : int
        Height and width of a patch in pixels, at least 1.
    stride : int
        Distance of neighbouring patches in pixels, at least 1.

    Returns
    -------
    patches : ndarray, shape (…, I, size²)
        I = rows · columns, rows = 1 + (height − size) // stride and columns likewise: 64 = 8 · 8
        for the digits, whose 28 pixels are covered exactly.

    Raises
    ------
    ValueError
        If `images` are smaller than a patch or hold no numbers, or `size` or `stride` is no integer
        of at least 1.
    """
    images = as_numbers("images", images)
    check_shape("images", images, height=None, width=None)
    size, stride = as_count("size", size), as_count("stride", stride)
    if min(images.shape[-2:]) < size:
        raise ValueError(
            f"images: got shape {images.shape}, want a height and width of at least {size}, "
            "the size of a patch"
        )
    windows = np.lib.stride_tricks.sliding_window_view(images, (size, size), axis=(-2, -1))
    return windows[..., ::stride, ::stride, :, :].reshape(*images.shape[:-2], -1, size * size)


@dataclass(frozen=True, eq=False)
class PatchBasis:
    """u_i = squash(D⁻¹ Qᵀ (p_i − p̄)): a patch p_i in the coordinates in which patches vary most.

    One basis serves all the positions in the image. In each coordinate the patches it was fitted to
    have mean 0 and standard deviation 1 before the squash, so that none of them drowns another.

    Attributes
    ----------
    mean : ndarray of float64, shape (size²,)
        p̄, the mean patch.
    axes : ndarray of float64, shape (size², n)
        Q, the principal axes: orthonormal columns, that of the largest variance first.
    deviations : ndarray of float64, shape (n,)
        The diagonal of D: the standard deviation of the patches along each axis.
    size, stride : int
        How patches are cut, as in `cut_patches`.
    """

    mean: np.ndarray
    axes: np.ndarray
    deviations: np.ndarray
    size: int
    stride: int

    @classmethod
    def fit(cls, images: np.ndarray, n: int = 8, size: int = 7, stride: int = 3) -> Self:
        """C = Σ (p − p̄)(p − p̄)ᵀ / count = Q D² Qᵀ over all patches; the n largest are kept.

        Parameters
        ----------
        images : array_like, shape (N, height, width)
            Training images, and no others: what is tested on must not have shaped its input.
        n : int
            Dimensions of an input capsule, at least 1.
        size, stride : int
            As in `cut_patches`.

        Returns
        -------
        PatchBasis
            Each axis has the sign that makes its largest entry positive.

        Raises
        ------
        ValueError
            If `images` have not three axes, are smaller than a patch or hold NaN or infinity; if
            their patches vary in fewer than `n` directions.

        Notes
        -----
        Principal component analysis: Pearson 1901, Hotelling 1933.
        """
        images = as_numbers("images", images)
        check_shape("images", images, batch=(), N=None, height=None, width=None)
        if not np.isfinite(images).all():
            raise ValueError("images: some grey values are NaN or infinite, want finite numbers")
        n = as_count("n", n)
        patches = cut_patches(images, size, stride).reshape(-1, size * size)
        mean = patches.mean(axis=0, dtype=np.float64)
        centred = patches - mean
        variances, axes = np.linalg.eigh(centred.T @ centred / len(patches))  # smallest first
        variances, axes = variances[::-1], axes[:, ::-1]
        varying = np.count_nonzero(variances > size * size * np.finfo(float).eps * variances[0])
        if varying < n:
            raise ValueError(
                f"n: got {n}, want at most {varying}: the patches vary in no more ways"
            )
        variances, axes = variances[:n], axes[:, :n]
        largest = axes[abs(axes).argmax(axis=0), np.arange(n)]
        return cls(mean, axes * np.sign(largest), np.sqrt(variances), size, stride)

    def encode(self, images: np.ndarray) -> np.ndarray:
        """u_i = squash(D⁻¹ Qᵀ (p_i − p̄)).

        Parameters
        ----------
        images : array_like, shape (…, height, width)
            Grey values on the scale of those the basis was fitted to.

        Returns
        -------
        u : ndarray, shape (…, I, n)
            Input capsules, each shorter than 1, in the precision of `images`.

        Raises
        ------
        ValueError
            If `images` are smaller than a patch or hold no numbers.
        """
        images = as_numbers("images", images)
        patches = cut_patches(images, self.size, self.stride)
        return squash((patches - self.mean) @ self.axes / self.deviations).astype(images.dtype)
