"""Convolution of images, and its vector-Jacobian products, as matrix products over patches."""

import math
from collections.abc import Iterator

import numpy as np

from capsedu.arguments import as_count, as_numbers, check_shape

CHUNK = 8  # images at a time: their patches overlap, and together are many times larger than they


def convolve(K: np.ndarray, x: np.ndarray, stride: int = 1) -> np.ndarray:
    """y[p, q, o] = Σ_{a, b, c} K[a, b, c, o] x[stride·p + a, stride·q + b, c], for each image.

    Parameters
    ----------
    K : array_like, shape (k, k, C, O)
        Kernel: k × k pixels, C channels in, O channels out.
    x : array_like, shape (…, H, W, C)
        Images, the channels last.
    stride : int
        Distance of neighbouring patches in pixels, at least 1.

    Returns
    -------
    y : ndarray, shape (…, P, Q, O)
        P = 1 + (H − k) // stride, Q likewise; what is left over at the right and lower edge, less
        than a stride, is in no patch.

    Raises
    ------
    ValueError
        If the shapes don't fit, the images are smaller than the kernel, or stride is less than 1.
    """
    K, x, patches = _checked(K, x, stride)
    matrix = K.reshape(-1, K.shape[-1])
    y = np.empty((*patches.shape[:3], K.shape[-1]), np.result_type(K, x))
    for chunk, rows in _chunks(patches):
        np.matmul(rows, matrix, out=y[chunk].reshape(-1, K.shape[-1]))
    return y.reshape(*x.shape[:-3], *y.shape[1:])


def convolve_kernel_vjp(
    K: np.ndarray, x: np.ndarray, dy: np.ndarray, stride: int = 1
) -> np.ndarray:
    """dK[a, b, c, o] = Σ_{p, q} x[stride·p + a, stride·q + b, c] dy[p, q, o], summed over images.

    Parameters
    ----------
    K, x, stride
        As in `convolve`.
    dy : array_like, shape (…, P, Q, O)
        ∂L/∂y.

    Returns
    -------
    dK : ndarray, shape (k, k, C, O)

    Raises
    ------
    ValueError
        If the shapes don't fit, the images are smaller than the kernel, or stride is less than 1.
    """
    K, x, patches = _checked(K, x, stride)
    dy = _as_y(dy, K, x, patches)
    dK = np.zeros((K[..., 0].size, K.shape[-1]), np.result_type(K, x, dy))
    for chunk, rows in _chunks(patches):
        dK += rows.T @ dy[chunk].reshape(-1, dy.shape[-1])
    return dK.reshape(K.shape)


def convolve_images_vjp(
    K: np.ndarray, x: np.ndarray, dy: np.ndarray, stride: int = 1
) -> np.ndarray:
    """dx[stride·p + a, stride·q + b, c] += Σ_o K[a, b, c, o] dy[p, q, o]: from each patch it is in.

    Parameters
    ----------
    K, x, dy, stride
        As in `convolve_kernel_vjp`.

    Returns
    -------
    dx : ndarray, shape (…, H, W, C)

    Raises
    ------
    ValueError
        If the shapes don't fit, the images are smaller than the kernel, or stride is less than 1.
    """
    K, x, patches = _checked(K, x, stride)
    dy = _as_y(dy, K, x, patches)
    (k, _, C, O), (P, Q) = K.shape, patches.shape[1:3]
    matrix = np.ascontiguousarray(K.reshape(-1, O).T)
    dx = np.zeros((len(dy), *x.shape[-3:]), np.result_type(K, x, dy))
    for p, q in np.ndindex(P, Q):  # one patch of every image: its gradient stays in the cache
        rows, columns = (slice(stride * z, stride * z + k) for z in (p, q))
        dx[:, rows, columns] += (dy[:, p, q] @ matrix).reshape(-1, k, k, C)
    return dx.reshape(x.shape)


def _checked(K: np.ndarray, x: np.ndarray, stride: int) -> tuple[np.ndarray, ...]:
    """Return K, x, and every patch of x as a view of shape (images, P, Q, k, k, C)."""
    K, x = as_numbers("K", K), as_numbers("x", x)
    check_shape("K", K, batch=(), k=None, columns=K.shape[0] if K.ndim else None, C=None, O=None)
    k, stride = K.shape[0], as_count("stride", stride)
    check_shape("x", x, H=None, W=None, C=K.shape[2])
    if min(x.shape[-3:-1]) < k:
        raise ValueError(f"x: got shape {x.shape}, want a height and width of at least {k}, K's")
    images = x.reshape(-1, *x.shape[-3:])
    windows = np.lib.stride_tricks.sliding_window_view(images, (k, k), axis=(1, 2))
    return K, x, windows[:, ::stride, ::stride].transpose(0, 1, 2, 4, 5, 3)


def _as_y(dy: np.ndarray, K: np.ndarray, x: np.ndarray, patches: np.ndarray) -> np.ndarray:
    """Return dy with one batch axis, if it has the shape of y."""
    dy, (P, Q) = as_numbers("dy", dy), patches.shape[1:3]
    check_shape("dy", dy, batch=x.shape[:-3], P=P, Q=Q, O=K.shape[-1])
    return dy.reshape(-1, *dy.shape[-3:])


def _chunks(patches: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """A few images at a time, with their patches as the rows of a matrix, each time the same."""
    room = np.empty((min(CHUNK, len(patches)), *patches.shape[1:]), patches.dtype)
    for start in range(0, len(patches), CHUNK):
        some = room[: len(patches) - start]
        some[...] = patches[start : start + CHUNK]
        yield slice(start, start + CHUNK), some.reshape(-1, math.prod(patches.shape[3:]))
