"""The capsule layer and its gradients, fast: a few examples at a time, in matrix products alone.

`predict`, `route` and their vector-Jacobian products say what is computed; here are the same
formulas in the same order. Two things are done differently:

- z, the largest array of all, takes longer to fetch from memory than to compute. So it is formed
  for as many examples as the cache of a processor holds, used for all that needs it, overwritten
  by dz, and then by the z of the next examples.
- Every sum is a product of matrices that BLAS takes as they lie in memory. So z lies there as
  (examples, I, J, m); b and c as (examples, J, I), though they are seen as (examples, I, J); and
  W and u as a matrix for each i, W_i (n, J·m) and u_i (n, examples).
"""

from collections.abc import Iterator

import numpy as np

from capsedu.routing import Iteration, softmax, softmax_vjp
from capsedu.squashing import squash, squash_vjp

CHUNK_BYTES = 6 * 2**20  # of z: what the cache of a processor may hold
BLOCK = 128  # input capsules: for so many, the nearest cache still holds dz when du follows dW
FEW = 16  # examples: for fewer, to put W in another order takes longer than it saves


def layer_steps(W: np.ndarray, u: np.ndarray, iterations: int) -> tuple[Iteration, ...]:
    """z_ij = W_ij u_i, then the steps of route(z), for arguments that are known to fit."""
    I, J, m, _ = W.shape
    batch, dtype = u.shape[:-2], np.result_type(W, u)
    u = flat(u)
    B = len(u)
    W_i = matrices(W, B, dtype)
    steps = [
        Iteration(
            b=np.empty((B, J, I), dtype).swapaxes(1, 2),
            c=np.empty((B, J, I), dtype).swapaxes(1, 2),
            s=np.empty((B, J, m), dtype),
            v=np.empty((B, J, m), dtype),
        )
        for _ in range(iterations)
    ]
    for some, z in chunks(B, W.shape, dtype):
        predict_into(z, W_i, columns(u[some], dtype))
        b = np.zeros_like(steps[0].b[some])  # as it lies in memory
        for k, step in enumerate(steps):
            if k > 0:
                b = b + agreement(z, steps[k - 1].v[some])
            c = softmax(b)
            s = total_input(c, z)
            v = squash(s)
            for of_all, of_some in zip(step, (b, c, s, v), strict=True):
                of_all[some] = of_some
    return tuple(Iteration(*(x.reshape(*batch, *x.shape[1:]) for x in step)) for step in steps)


def layer_vjp(
    W: np.ndarray, u: np.ndarray, steps: tuple[Iteration, ...], dv: np.ndarray, rule: str
) -> tuple[np.ndarray, np.ndarray]:
    """dW_ij = Σ_batch dz_ij u_iᵀ,  du_i = Σ_j W_ijᵀ dz_ij,  for arguments that are known to fit."""
    I, J, m, n = W.shape
    dtype = np.result_type(W, u, dv, *steps[-1])
    du = np.empty(u.shape, dtype)
    u, dv, flat_du = flat(u), flat(dv), flat(du)
    steps = [Iteration(*map(flat, step)) for step in steps]
    W_i = matrices(W, len(u), dtype)
    dW_i = np.zeros_like(W_i)
    for some, z in chunks(len(u), W.shape, dtype):
        u_i = columns(u[some], dtype)
        if rule == "unrolled":
            predict_into(z, W_i, u_i)
        turn_into_dz(z, [Iteration(*(x[some] for x in step)) for step in steps], dv[some], rule)
        dz_i = z.reshape(-1, I, J * m).swapaxes(0, 1)
        for i in slices(I, BLOCK):
            dW_i[i] += u_i[i] @ dz_i[i]
            flat_du[some, i] = (W_i[i] @ dz_i[i].swapaxes(1, 2)).transpose(2, 0, 1)
    return np.ascontiguousarray(dW_i.swapaxes(1, 2)).reshape(W.shape), du


def turn_into_dz(z: np.ndarray, steps: list[Iteration], dv: np.ndarray, rule: str) -> None:
    """dz_ij = Σ_k (cᵏ_ij dsᵏ_j + dbᵏ_ij vᵏ_j), written over z; dsᵏ and dbᵏ as in `route_vjp`.

    The sum is, for each j, one product of a matrix (I, terms) and a matrix (terms, m).
    """
    scalars, vectors = [], []
    # The first of the dbᵏ is 0, yet its term is kept: NumPy takes a single term past BLAS, slowly.
    db = np.zeros_like(steps[-1].c)
    for step in reversed(steps):
        ds = squash_vjp(step.s, dv)
        scalars += [step.c, db]
        vectors += [ds, step.v]
        if rule == "frozen" or step is steps[0]:
            break
        db = db + softmax_vjp(step.c, agreement(z, ds))
        dv = total_input(db, z)
    terms = np.stack([x.swapaxes(1, 2) for x in scalars], axis=2)  # (examples, J, terms, I)
    np.matmul(terms.swapaxes(2, 3), np.stack(vectors, axis=2), out=z.swapaxes(1, 2))


def predict_into(z: np.ndarray, W_i: np.ndarray, u_i: np.ndarray) -> None:
    """z_ij = W_ij u_i: for each i a matrix (examples, n) times a matrix (n, J·m)."""
    np.matmul(u_i.swapaxes(1, 2), W_i, out=z.reshape(len(z), len(W_i), -1).swapaxes(0, 1))


def agreement(z: np.ndarray, v: np.ndarray) -> np.ndarray:
    """z_ij·v_j: for each j a matrix (I, m) times a vector (m)."""
    return (z.swapaxes(1, 2) @ v[..., None])[..., 0].swapaxes(1, 2)


def total_input(c: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Σ_i c_ij z_ij: for each j a vector (I) times a matrix (I, m)."""
    return (c.swapaxes(1, 2)[..., None, :] @ z.swapaxes(1, 2))[..., 0, :]


def matrices(W: np.ndarray, examples: int, dtype: np.dtype) -> np.ndarray:
    """W as (I, n, J·m), and where the examples are many in this order in memory too."""
    I, J, m, n = W.shape
    W = W.astype(dtype, copy=False).reshape(I, J * m, n).swapaxes(1, 2)
    return W if examples < FEW else np.ascontiguousarray(W)


def columns(u: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """The u of some examples as (I, n, examples)."""
    return np.ascontiguousarray(u.transpose(1, 2, 0), dtype)


def flat(x: np.ndarray) -> np.ndarray:
    """An array of the last two axes for each example, with one batch axis."""
    return x.reshape(-1, *x.shape[-2:])


def chunks(
    examples: int, shape: tuple[int, int, int, int], dtype: np.dtype
) -> Iterator[tuple[slice, np.ndarray]]:
    """Some examples at a time, each time with the same room for their z."""
    I, J, m, n = shape
    # At least n of them, so that z is no smaller than W, which is fetched for every chunk anew.
    size = max(n, CHUNK_BYTES // (I * J * m * dtype.itemsize))
    z = np.empty((min(size, examples), I, J, m), dtype)
    for some in slices(examples, size):
        yield some, z[: examples - some.start]


def slices(count: int, size: int) -> list[slice]:
    """0 … count, `size` at a time."""
    return [slice(start, start + size) for start in range(0, count, size)]
