"""The same mathematics, written a second time and independently: what the tests hold capsedu to.

Nothing here imports capsedu. The formulas are typed in as the literature prints them, slow and
plain: 50-digit arithmetic for squash, loops over capsules for the forward pass, autograd for the
gradients, and the complex step for any function that lets complex numbers through.
"""

import math

import autograd.numpy as anp
import mpmath
import numpy as np
from autograd.tracer import getval


def assert_close(got, want, tolerance):
    """Largest error within `tolerance` of the largest wanted value; shapes equal, nothing NaN."""
    got, want = np.asarray(got), np.asarray(want)
    assert got.shape == want.shape
    scale = abs(want).max(initial=0.0)
    error = abs(got - want).max(initial=0.0)
    assert error <= tolerance * scale, f"error {error:.2e}, largest wanted value {scale:.2e}"


def complex_step(function, x, dy, step=1e-30):
    """∂(dy·f(x))/∂x entry by entry, Im f(x + i h e)/h: no difference is taken, so no rounding."""
    dx = np.zeros(np.shape(x))
    for entry in np.ndindex(dx.shape):
        moved = np.array(x, dtype=np.complex128)
        moved[entry] += 1j * step
        dx[entry] = np.sum(dy * np.imag(function(moved))) / step
    return dx


def complex_step_jacobian(function, x, step=1e-30):
    """∂f/∂x of shape (shape of f, shape of x), each entry of x moved alone."""
    columns = []
    for entry in np.ndindex(np.shape(x)):
        moved = np.array(x, dtype=np.complex128)
        moved[entry] += 1j * step
        columns.append(np.imag(function(moved)) / step)
    return np.stack(columns, axis=-1).reshape(*columns[0].shape, *np.shape(x))


class MpSquash:
    """squash at one vector s in 50 digits, as the textbook prints it: v, J, ‖J‖ and J dv."""

    def __init__(self, s):
        self.s = [mpmath.mpf(float(entry)) for entry in s]
        t = mp_norm(self.s)
        self.v = [t * entry / (1 + t * t) for entry in self.s]
        self.along, self.across = 2 * t / (1 + t * t) ** 2, t / (1 + t * t)
        self.h = (1 - t * t) / (t * (1 + t * t) ** 2) if t else mpmath.mpf(0)
        # With one dimension there is nothing across s.
        self.norm = self.along if len(self.s) == 1 else max(self.along, self.across)

    def vjp(self, dv):
        """J dv = g dv + h (s·dv) s; with one dimension the derivative of s²/(1+s²), 2s/(1+s²)²."""
        dv = [mpmath.mpf(float(entry)) for entry in dv]
        if len(dv) == 1:  # where the sum would cancel to less than 50 digits
            return [self.along * dv[0]]
        agreement = self.h * mpmath.fdot(self.s, dv)
        return [self.across * d + agreement * s for d, s in zip(dv, self.s, strict=True)]

    def jacobian(self):
        """J row by row; symmetric, so that each row is the vector-Jacobian product of a unit."""
        return [self.vjp(unit) for unit in np.eye(len(self.s))]


def mp_norm(entries):
    """‖x‖ of a list of mpmath numbers, in the digits that are set."""
    return mpmath.sqrt(mpmath.fsum(entry * entry for entry in entries))


def loop_softmax(b):
    """exp(b_j) / Σ_l exp(b_l) of one list."""
    total = math.fsum(math.exp(logit) for logit in b)
    return [math.exp(logit) / total for logit in b]


def loop_layer(W, u, iterations):
    """Procedure 1 of Sabour, Frosst & Hinton 2017 for one example: z and every b, c, s, v."""
    I, J, m, n = W.shape
    capsules_in, capsules_out, entries = range(I), range(J), range(m)
    z = np.zeros((I, J, m))
    for i in capsules_in:
        for j in capsules_out:
            for a in entries:
                z[i, j, a] = math.fsum(W[i, j, a, p] * u[i, p] for p in range(n))
    b, steps = np.zeros((I, J)), []
    for _ in range(iterations):
        c = np.array([loop_softmax(row) for row in b])
        s, v, agreement = np.zeros((J, m)), np.zeros((J, m)), np.zeros((I, J))
        for j in capsules_out:
            for a in entries:
                s[j, a] = math.fsum(c[i, j] * z[i, j, a] for i in capsules_in)
            length = math.hypot(*s[j])
            for a in entries:
                v[j, a] = length**2 / (1 + length**2) * (s[j, a] / length if length else 0)
            for i in capsules_in:
                agreement[i, j] = math.fsum(z[i, j, a] * v[j, a] for a in entries)
        steps.append((b, c, s, v))
        b = b + agreement
    return z, steps


def autograd_layer(W, u, iterations, detached=""):
    """v of the layer in autograd's NumPy; `detached`: what the agreement z·v takes as constant.

    "" is the unrolled gradient, "zv" the frozen one (nothing reaches the couplings), and "z" or
    "v" alone the half-detached ones that are found in published code.
    """
    z = anp.sum(W * u[..., :, None, None, :], axis=-1)
    b = anp.zeros(getval(z).shape[:-1])
    for k in range(iterations):
        c = anp.exp(b) / anp.sum(anp.exp(b), axis=-1, keepdims=True)
        s = anp.sum(c[..., None] * z, axis=-3)
        squared = anp.sum(s * s, axis=-1, keepdims=True)
        v = squared / (1 + squared) * s / anp.sqrt(squared)
        if k < iterations - 1:
            told = getval(z) if "z" in detached else z
            heard = getval(v) if "v" in detached else v
            b = b + anp.sum(told * heard[..., None, :, :], axis=-1)
    return v


def loop_margin_loss(v, labels, m_plus=0.9, m_minus=0.1, down_weight=0.5):
    """Equation 4 of the paper, one example and one class at a time."""
    losses = []
    for example in np.ndindex(v.shape[:-2]):
        loss = 0.0
        for k, v_k in enumerate(v[example]):
            length = math.hypot(*v_k)
            if k == labels[example]:
                loss += max(0.0, m_plus - length) ** 2
            else:
                loss += down_weight * max(0.0, length - m_minus) ** 2
        losses.append(loss)
    return math.fsum(losses) / max(1, len(losses))
