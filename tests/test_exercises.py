"""The diagnosis: right functions pass, however they are written; mistakes are named, and no others.

Most wrong functions here are written from scratch, as a student would: a catalogue that is tested
only on itself proves little.
"""

import contextlib
import functools
import itertools
import multiprocessing
import os
import re
import subprocess
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import autograd.numpy as anp
import numpy as np
import pytest
from autograd import grad
from reference import autograd_layer, loop_layer, loop_margin_loss, loop_softmax

import capsedu
from capsedu.command_line import main
from capsedu.exercises import MISTAKES, check, hand_example, tasks
from capsedu.exercises import variations as variations_module
from capsedu.exercises.calling import outcome
from capsedu.exercises.confusion import SEEN, Planted, Table, pairs, plant, singles
from capsedu.exercises.diagnosis import bench
from capsedu.exercises.numerical import check_numerically
from capsedu.exercises.probes import TASKS
from capsedu.exercises.variations import EPSILONS, Variation

LIBRARY = {id: task.function for id, task in TASKS.items()}


def norm(x):
    return np.sqrt((x * x).sum(-1, keepdims=True))


# Right solutions, written in other ways.


def loop_squash(s):
    v = np.zeros_like(s)
    for at in np.ndindex(s.shape[:-1]):
        length = sum(x * x for x in s[at]) ** 0.5
        if length > 0:
            v[at] = s[at] / length * length**2 / (1 + length**2)
    return v


def columns_squash_jacobian(s):
    """Column by column, by complex step."""
    columns = []
    for a in range(s.shape[-1]):
        moved = s.astype(complex)
        moved[..., a] += 1e-30j
        columns.append(capsedu.squash(moved).imag / 1e-30)
    return np.stack(columns, axis=-1)


def quotient_squash_vjp(s, dv):
    """d(n s/(1+n²)), by the quotient rule."""
    n = norm(s)
    dn = (s * dv).sum(-1, keepdims=True) / np.where(n > 0, n, 1)
    return n / (1 + n**2) * dv + dn * (1 - n**2) / (1 + n**2) ** 2 * s


def central_squash_vjp(s, dv, h=1e-6):
    """At 0 it is off by h dv."""
    ds = np.zeros_like(s)
    for a, step in enumerate(h * np.eye(s.shape[-1])):
        v = loop_squash(s + step) - loop_squash(s - step)
        ds[..., a] = (v * dv).sum(-1) / (2 * h)
    return ds


def loop_predict_vjp(W, u, dz):
    dW, du = np.zeros(W.shape), np.zeros(u.shape)
    for at in np.ndindex(u.shape[:-2]):
        for i in range(W.shape[0]):
            for j in range(W.shape[1]):
                dW[i, j] += np.outer(dz[at][i, j], u[at][i])
                du[at][i] += W[i, j].T @ dz[at][i, j]
    return dW, du


def list_softmax(b):
    if np.ndim(b) > 1:
        return [list_softmax(row) for row in b]
    return loop_softmax([x - max(b) for x in b])


def matrix_softmax_vjp(c, dc):
    jacobian = c[..., None] * np.eye(c.shape[-1]) - c[..., None] * c[..., None, :]
    return (jacobian @ dc[..., None])[..., 0]


def loop_route(z, iterations=3):
    """One example at a time, v alone; the predictions are a layer's W with n = 1."""
    v = np.zeros((*z.shape[:-3], *z.shape[-2:]))
    for at in np.ndindex(z.shape[:-3]):
        v[at] = loop_layer(z[at][..., None], np.ones((z.shape[-3], 1)), iterations)[1][-1][3]
    return v


def stub(s):
    raise NotImplementedError("not written yet")


def walk_back(later=False, logits=False, stop=-1):
    """The unrolled rule, written out; with a slip in an index, or b for c."""

    def route_vjp(routing, dv):
        z, steps, db, dz = routing.z, routing.steps, 0, np.zeros_like(routing.z)
        for k in range(len(steps) - 1, stop, -1):
            ds = capsedu.squash_vjp(steps[k].s, dv)[..., None, :, :]
            dz = dz + steps[k].c[..., None] * ds
            if k:
                c = steps[k].b if logits else steps[k].c
                dc = np.sum(z * ds, axis=-1)
                db = db + c * (dc - np.sum(c * dc, axis=-1, keepdims=True))
                dz = dz + db[..., None] * steps[k if later else k - 1].v[..., None, :, :]
                dv = np.einsum("...ij,...ijm->...jm", db, z)
        return dz

    return route_vjp


def autograd_dz(detached):
    def route_vjp(routing, dv):
        z, ones = routing.z, np.ones((routing.z.shape[-3], 1))
        dz = np.zeros_like(z)
        for at in np.ndindex(z.shape[:-3]):

            def loss(W, at=at):
                return anp.sum(dv[at] * autograd_layer(W, ones, len(routing.steps), detached))

            dz[at] = grad(loss)(z[at][..., None])[..., 0]
        return dz

    return route_vjp


def autograd_layer_vjp(W, u, routing, dv, rule):
    def loss(W, u):
        detached = "zv" if rule == "frozen" else ""
        return anp.sum(dv * autograd_layer(W, u, len(routing.steps), detached))

    return grad(loss, 0)(W, u), grad(loss, 1)(W, u)


def looped_dv_dW(W, u, iterations=3, rule="unrolled"):
    routing = capsedu.capsule_layer(W, u, iterations)
    J, m = routing.v.shape
    rows = np.zeros((J, m, *W.shape))
    for k in range(J):
        for a in range(m):
            dv = np.zeros((J, m))
            dv[k, a] = 1
            rows[k, a] = capsedu.capsule_layer_vjp(W, u, routing, dv, rule)[0]
    return rows


def central_margin_loss_vjp(v, labels, m_plus=0.9, m_minus=0.1, down_weight=0.5):
    dv, h = np.zeros_like(v), 1e-7
    for at in np.ndindex(v.shape):
        if not v[at[:-1]].any():
            continue
        ends = []
        for step in (h, -h):
            moved = v.copy()
            moved[at] += step
            ends.append(loop_margin_loss(moved, labels, m_plus, m_minus, down_weight))
        dv[at] = (ends[0] - ends[1]) / (2 * h)
    return dv


class Tensor:
    """An array of another framework, which NumPy can't read before it is detached."""

    def __init__(self, x):
        self.x = x

    def __array__(self, *_, **__):
        raise RuntimeError("Can't call numpy() on Tensor that requires grad")

    def detach(self):
        return self

    def cpu(self):
        return self.x


def in_float32(function):
    def single(*arguments):
        return function(*(np.float32(x) if np.asarray(x).dtype == float else x for x in arguments))

    return single


buffers = {}


def reusing_squash(s):
    """The same array is filled in every call, which is nobody's business."""
    v = buffers.setdefault(s.shape, np.empty(s.shape))
    v[...] = capsedu.squash(s)
    return v


def freezing_squash(s):
    """To make what was given read-only is not to write to it."""
    s.flags.writeable = False
    return capsedu.squash(s)


def positional_only_route(z, epsilon=1e-7, rounds=3, /):
    return capsedu.route(z, rounds).v


def along_an_axis(default):
    """A whole number that is an axis, and no number of iterations."""

    def route(z, axis=default):
        assert axis < z.ndim
        return capsedu.route(z).v

    return route


RIGHT = [
    ("route_vjp_unrolled", walk_back()),
    ("squash", loop_squash),
    ("squash", in_float32(capsedu.squash)),
    ("squash", lambda s: Tensor(capsedu.squash(s))),
    ("squash", lambda s: capsedu.squash(s).tolist()),
    ("squash", reusing_squash),
    ("squash", freezing_squash),
    ("squash_jacobian", columns_squash_jacobian),
    ("squash_vjp", quotient_squash_vjp),
    ("squash_vjp", in_float32(quotient_squash_vjp)),
    ("squash_vjp", central_squash_vjp),
    ("squash_vjp", lambda s, dv: (columns_squash_jacobian(s) * dv[..., None]).sum(-2)),
    ("predict_vjp", loop_predict_vjp),
    ("predict_vjp", in_float32(capsedu.predict_vjp)),
    ("softmax", list_softmax),
    ("softmax", in_float32(capsedu.softmax)),
    ("softmax_vjp", matrix_softmax_vjp),
    ("softmax_vjp", in_float32(matrix_softmax_vjp)),
    ("route", loop_route),
    ("route", in_float32(capsedu.route)),
    ("route", positional_only_route),
    ("route", along_an_axis(1)),
    ("route", along_an_axis(-1)),
    ("route", lambda z, first=1, n=3: capsedu.route(z, n).v),
    ("route", lambda z, axis=2, r=3: capsedu.route(z + 0 * z.sum(axis, keepdims=True), r).v),
    ("route", lambda z, rounds=5: capsedu.route(z, rounds).v),
    ("route", lambda z, batch_size=32: capsedu.route(z).v),
    ("route_vjp_frozen", lambda routing, dv: capsedu.route_vjp(routing, dv, "frozen")),
    ("route_vjp_unrolled", capsedu.route_vjp),
    ("dv_dW", looped_dv_dW),
    ("margin_loss", loop_margin_loss),
    ("margin_loss", in_float32(capsedu.margin_loss)),
    ("margin_loss_vjp", central_margin_loss_vjp),
]


@pytest.mark.parametrize("task", TASKS)
def test_the_library_passes_and_so_does_a_variation_without_mistakes(task):
    for seed in range(3):
        assert check(task, LIBRARY[task], seed=seed).passed
        assert check(task, getattr(Variation(), TASKS[task].name), seed=seed).passed


@pytest.mark.parametrize(("task", "function"), RIGHT, ids=[task for task, _ in RIGHT])
def test_a_right_solution_passes(task, function):
    report = check(task, function)
    assert report.passed and report.mistakes == (), report
    assert "nothing else was tried" in " ".join(report.summary().split())
    assert "<svg" not in report._repr_html_()


@pytest.mark.parametrize(
    ("task", "function"),
    [
        ("route_vjp_unrolled", autograd_dz("")),
        ("route_vjp_frozen", autograd_dz("zv")),
        ("capsule_layer_vjp", autograd_layer_vjp),
    ],
)
def test_autograd_is_right_but_at_zero(task, function):
    """As the reference is written: it divides by ‖s‖."""
    assert check(task, function).mistakes == ("nan-at-zero",)


# Wrong solutions, written from scratch.


def textbook_squash(s):
    n = norm(s)
    return n**2 / (1 + n**2) * s / n


def textbook_jacobian(s):
    """g I + h s sᵀ, with 1 for a length of 0."""
    n = norm(s)
    n = np.where(n == 0, 1, n)[..., None]
    h = (1 - n**2) / (n * (1 + n**2) ** 2)
    return n / (1 + n**2) * np.eye(s.shape[-1]) + h * s[..., :, None] * s[..., None, :]


def epsilon_squash(s):
    n = np.sqrt((s * s).sum(-1, keepdims=True) + 1e-7)
    return n * s / (1 + n * n)


def epsilon_beside_squash(s):
    n = norm(s) + 1e-5
    return norm(s) ** 2 / (1 + norm(s) ** 2) * s / n


def epsilon_under(epsilon):
    def squash(s):
        n2 = norm(s) ** 2
        return n2 / (1 + n2) * s / np.sqrt(n2 + epsilon)

    return squash


def epsilon_beside(epsilon):
    return lambda s: norm(s) ** 2 / (1 + norm(s) ** 2) * s / (norm(s) + epsilon)


def epsilon_everywhere(epsilon):
    def squash(s):
        n = np.sqrt(norm(s) ** 2 + epsilon)
        return n * s / (1 + n * n)

    return squash


def norms_plus(epsilon):
    return lambda s: (norm(s) + epsilon) * s / (1 + (norm(s) + epsilon) ** 2)


def my_squash_vjp(along=-1, across=-1, power=1):
    """The norm along one axis, s·dv along another, ‖s‖ to a power in the second term."""

    def squash_vjp(s, dv):
        n = np.sqrt((s * s).sum(along, keepdims=True))
        h = (1 - n**2) / (np.where(n == 0, 1, n) ** power * (1 + n**2) ** 2)
        return n / (1 + n**2) * dv + h * (s * dv).sum(across, keepdims=True) * s

    return squash_vjp


def identity_matrices(s):
    return np.broadcast_to(np.eye(s.shape[-1]), (*s.shape, s.shape[-1]))


def wrong_sign_of_h(s, dv):
    n = norm(s)
    h = (n**2 - 1) / (np.where(n == 0, 1, n) * (1 + n**2) ** 2)
    return n / (1 + n**2) * dv + h * (s * dv).sum(-1, keepdims=True) * s


def naive_softmax(b):
    return np.exp(b) / np.exp(b).sum(-1, keepdims=True)


def softmax_along(axis):
    def softmax(b):
        e = np.exp(b - b.max(axis, keepdims=True))
        return e / e.sum(axis, keepdims=True)

    return softmax


def shifted_exponential(b):
    return np.exp(b - b.max(-1, keepdims=True))


def my_route(**how):
    """Procedure 1, with places to go wrong."""
    soft = how.get("softmax", capsedu.softmax)
    add = how.get("add", lambda b, c, agreement: b + agreement)
    out = how.get("out", lambda c, z: capsedu.squash(np.einsum("...ij,...ijm->...jm", c, z)))
    count = how.get("count", lambda r: r)

    def route(z, iterations=3):
        b = np.zeros(z.shape[:-1])
        for k in range(count(iterations)):
            c = soft(b)
            v = out(c, z)
            if k < count(iterations) - 1:
                b = add(b, c, np.einsum("...ijm,...jm->...ij", z, v))
        return v

    return route


def weighted_sum(c, z):
    return np.einsum("...ij,...ijm->...jm", c, z)


def carrying_route(z, iterations=3):
    """The logits of one example are where the next one starts."""
    b = np.zeros(z.shape[-3:-1])
    v = np.zeros((*z.shape[:-3], *z.shape[-2:]))
    for at in np.ndindex(z.shape[:-3]):
        for _ in range(iterations):
            v[at] = capsedu.squash(weighted_sum(capsedu.softmax(b), z[at]))
            b = b + (z[at] * v[at]).sum(-1)
    return v


def gauss_seidel_route(z, iterations=3):
    b = np.zeros(z.shape[:-1])
    v = np.zeros((*z.shape[:-3], *z.shape[-2:]))
    for k in range(iterations):
        for j in range(z.shape[-2]):
            c = capsedu.softmax(b)[..., j]
            v[..., j, :] = capsedu.squash((c[..., None] * z[..., :, j, :]).sum(-2))
            if k < iterations - 1:
                b[..., j] += (z[..., :, j, :] * v[..., None, j, :]).sum(-1)
    return v


def frozen_dz(weight, point=lambda routing: routing.s, jacobian=capsedu.squash_vjp):
    def route_vjp(routing, dv):
        return weight(routing)[..., None] * jacobian(point(routing), dv)[..., None, :, :]

    return route_vjp


def fresh_couplings(routing):
    return capsedu.softmax(routing.b + (routing.z * routing.v[..., None, :, :]).sum(-1))


def layer_from_dz(combine):
    def capsule_layer_vjp(W, u, routing, dv, rule="unrolled"):
        z = capsedu.predict(W, u)
        dz = capsedu.route_vjp(capsedu.Routing(routing.steps, z), dv, rule)
        return combine(W, u, z, dz)

    return capsule_layer_vjp


def means(of_dW, of_du):
    """Each result divided by the number of examples, or of outputs."""

    def combine(W, u, z, dz):
        dW, du = loop_predict_vjp(W, u, dz)
        size = {"batch": len(u) if u.ndim > 2 else 1, "outputs": W.shape[1]}
        return dW / size[of_dW], du / size[of_du]

    return combine


def layer_routed_over_inputs(W, u, routing, dv, rule="unrolled"):
    """The forward pass is computed again, with the softmax along the other axis, and so its vjp."""
    z, b, steps = capsedu.predict(W, u), np.zeros((*u.shape[:-1], W.shape[1])), []
    for _ in routing.steps:
        c = softmax_along(-2)(b)
        s = weighted_sum(c, z)
        steps.append((c, s, capsedu.squash(s)))
        b = b + (z * steps[-1][2][..., None, :, :]).sum(-1)
    dz = db = 0
    for k in range(len(steps) - 1, -1, -1):
        c, s, _ = steps[k]
        ds = capsedu.squash_vjp(s, dv)[..., None, :, :]
        dz = dz + c[..., None] * ds
        if k == 0 or rule == "frozen":
            return loop_predict_vjp(W, u, dz)
        dc = (z * ds).sum(-1)
        db = db + c * (dc - (c * dc).sum(-2, keepdims=True))
        dz = dz + db[..., None] * steps[k - 1][2][..., None, :, :]
        dv = weighted_sum(db, z)


def lengths(v):
    return norm(v)[..., 0]


def my_margin_loss(power=2, swap=False, weight=None, mean=np.mean, length=lengths):
    def margin_loss(v, labels, m_plus=0.9, m_minus=0.1, down_weight=0.5):
        T = np.eye(v.shape[-2])[labels]
        T = 1 - T if swap else T
        n = length(v)
        lam = down_weight if weight is None else weight
        present, absent = np.maximum(0, m_plus - n), np.maximum(0, n - m_minus)
        return mean((T * present**power + lam * (1 - T) * absent**power).sum(-1))

    return margin_loss


def my_margin_loss_vjp(v, labels, two=2, sign=-1, direction=None, epsilon=0):
    T = np.eye(v.shape[-2])[labels]
    n = np.sqrt((v * v).sum(-1) + epsilon)
    slope = sign * two * T * np.maximum(0, 0.9 - n) + (1 - T) * np.maximum(0, n - 0.1) * two / 2
    unit = v / np.where(n == 0, 1, n)[..., None] if direction is None else direction(v)
    return slope[..., None] * unit / max(1, np.size(labels))


kept = {}


def remembering_route(z, iterations=3):
    """The logits outlive the call."""
    b = kept.setdefault(z.shape, np.zeros(z.shape[:-1]))
    for _ in range(iterations):
        v = capsedu.squash((capsedu.softmax(b)[..., None] * z).sum(-3))
        b += (z * v[..., None, :, :]).sum(-1)
    return v


def overwriting_squash(s):
    v = capsedu.squash(s)
    s /= 2
    return v


def overwriting_and_wrong(s):
    s += 1
    return np.sin(s)


def random_squash(s):
    return capsedu.squash(s + np.random.default_rng().normal())


def loop_without_end(s):
    while True:
        with contextlib.suppress(Exception):  # who catches everything is stopped all the same
            s = s + 0


def one_batch_axis(s):
    batch, J, m = s.shape
    return capsedu.squash(s)


def two_three_iterations(z, iterations=3):
    return capsedu.route(z, 3).v


def usual_margins_vjp(v, labels, m_plus=0.9, m_minus=0.1, down_weight=0.5):
    return capsedu.margin_loss_vjp(v, labels)


def usual_margins(v, labels, m_plus=0.9, m_minus=0.1, down_weight=0.5):
    return capsedu.margin_loss(v, labels)


WRONG = [
    ("squash", textbook_squash, "nan-at-zero"),
    ("squash", epsilon_squash, "epsilon-bias"),
    ("squash", epsilon_beside_squash, "epsilon-bias"),
    ("squash", lambda s: s / np.maximum(norm(s), 1e-300), "squash-plain-normalisation"),
    ("squash", lambda s: norm(s) ** 2 * s / (1 + norm(s) ** 2), "squash-norm-squared"),
    ("squash", lambda s: s / (1 + norm(s) ** 2), "squash-norm-forgotten"),
    ("squash", lambda s: s / (1 + norm(s)), "squash-squares-missing"),
    (
        "squash",
        lambda s: s * np.linalg.norm(s) / (1 + np.linalg.norm(s) ** 2),
        "squash-norm-of-everything",
    ),
    ("squash", lambda s: capsedu.squash(s.swapaxes(-1, -2)).swapaxes(-1, -2), "squash-wrong-axis"),
    ("squash", lambda s: capsedu.squash(s).swapaxes(-1, -2), "transposed"),
    ("squash", lambda s: capsedu.squash(s).transpose()[..., None], "wrong-shape"),
    ("squash", lambda s: capsedu.squash(s) * 1.001, "constant-factor"),
    ("squash", lambda s: np.zeros_like(s), "zero-everywhere"),
    ("squash", lambda s: capsedu.squash(s) * np.log(-norm(s)), "not-a-number"),
    ("squash", lambda s: capsedu.squash(s).astype(np.float16), "wrong-dtype"),
    ("squash", lambda s: capsedu.squash(s) + 0j, "wrong-dtype"),
    ("squash", lambda s: [], "wrong-shape"),
    ("squash", lambda s: np.zeros((3, 0, 5)), "wrong-shape"),
    ("predict_vjp", lambda W, u, dz: ([], []), "wrong-shape"),
    ("margin_loss", lambda v, labels: [], "wrong-shape"),
    ("margin_loss", lambda v, labels: np.zeros(np.shape(labels) or 1), "wrong-shape"),
    ("margin_loss_vjp", lambda v, labels: np.zeros(v.shape[:-1]), "wrong-shape"),
    ("squash", lambda s: "v", "wrong-dtype"),
    ("squash", lambda s: print, "wrong-dtype"),
    ("squash", lambda s: None, "returns-nothing"),
    ("squash", stub, "not-written"),
    ("squash", lambda s: s.no_such_thing, "raises"),
    ("squash", lambda: 1, "raises"),
    ("squash", lambda s: exit(), "raises"),
    ("squash", overwriting_squash, "input-overwritten"),
    ("squash", overwriting_and_wrong, "input-overwritten"),
    ("squash", random_squash, "kept-between-calls"),
    ("squash", loop_without_end, "never-returns"),
    ("squash", one_batch_axis, "batch-axis-assumed"),
    ("squash_jacobian", lambda s: textbook_jacobian(s) * np.eye(5)[: s.shape[-1], : s.shape[-1]], "squash-jacobian-diagonal-only"),  # noqa: E501
    ("squash_jacobian", lambda s: textbook_jacobian(capsedu.squash(s)), "squash-jacobian-at-v"),
    (
        "squash_vjp",
        lambda s, dv: norm(s) / (1 + norm(s) ** 2) * dv,
        "squash-jacobian-norm-constant",
    ),
    ("squash_vjp", wrong_sign_of_h, "squash-jacobian-sign"),
    ("squash_vjp", lambda s, dv: dv, "squash-jacobian-forgotten"),
    ("squash_jacobian", identity_matrices, "squash-jacobian-forgotten"),
    ("squash_vjp", my_squash_vjp(along=-2), "squash-wrong-axis"),
    ("squash_vjp", my_squash_vjp(across=-2), "squash-wrong-axis"),
    ("squash_vjp", my_squash_vjp(along=-2, across=-2), "squash-wrong-axis"),
    ("squash_vjp", my_squash_vjp(power=2), "squash-norm-squared"),
    ("squash_vjp", lambda s, dv: textbook_jacobian(s).sum(-2), "upstream-ignored"),
    ("squash_vjp", lambda s, dv: capsedu.squash_vjp(capsedu.squash(s), dv), "squash-jacobian-at-v"),
    ("squash_vjp", lambda s, dv: -capsedu.squash_vjp(s, dv), "wrong-sign"),
    ("softmax", naive_softmax, "overflow"),
    ("softmax", softmax_along(-2), "softmax-over-inputs"),
    ("softmax", softmax_along(0), "softmax-over-batch"),
    ("softmax", softmax_along(1), "softmax-over-inputs"),
    ("softmax", shifted_exponential, "softmax-not-normalised"),
    ("softmax", softmax_along(None), "softmax-over-everything"),
    ("softmax_vjp", lambda c, dc: c * (1 - c) * dc, "softmax-jacobian-diagonal-only"),
    ("softmax_vjp", lambda c, dc: c * dc, "softmax-jacobian-without-sum"),
    ("softmax_vjp", lambda c, dc: dc, "softmax-jacobian-identity"),
    ("softmax_vjp", lambda c, dc: c - dc, "softmax-jacobian-cross-entropy"),
    ("softmax_vjp", lambda c, dc: matrix_softmax_vjp(list_arrays(c), dc), "softmax-applied-twice"),
    ("route", my_route(softmax=softmax_along(-2)), "softmax-over-inputs"),
    ("route", my_route(count=lambda r: r + 1), "one-iteration-too-many"),
    ("route", my_route(count=lambda r: r - 1), "one-iteration-too-few"),
    ("route", my_route(count=lambda r: 1), "always-one-iteration"),
    ("route", my_route(add=lambda b, c, agreement: agreement), "logits-not-accumulated"),
    ("route", my_route(add=lambda b, c, agreement: c + agreement), "agreement-added-to-coupling"),
    (
        "route",
        my_route(add=lambda b, c, a: b + (a.mean(0) if a.ndim > 2 else a)),
        "logits-shared-over-batch",
    ),
    (
        "route",
        my_route(out=lambda c, z: (c[..., None] * capsedu.squash(z)).sum(-3)),
        "squash-before-sum",
    ),
    ("route", lambda z, iterations=3: my_route()(loop_squash(z), iterations), "squash-before-sum"),
    (
        "route",
        lambda z, iterations=3: my_route(out=weighted_sum)(loop_squash(z), iterations),
        "squash-before-sum",
    ),
    ("route", my_route(softmax=shifted_exponential), "softmax-not-normalised"),
    ("route", carrying_route, "logits-shared-over-batch"),
    ("route", gauss_seidel_route, "outputs-updated-in-turn"),
    ("route", remembering_route, "kept-between-calls"),
    ("route", two_three_iterations, "number-hard-coded"),
    ("route_vjp_frozen", frozen_dz(lambda routing: np.ones_like(routing.c)), "coupling-forgotten"),
    ("route_vjp_frozen", frozen_dz(lambda routing: routing.c**2), "coupling-squared"),
    ("route_vjp_frozen", frozen_dz(lambda routing: routing.b), "logits-for-couplings"),
    ("route_vjp_frozen", frozen_dz(lambda routing: routing.steps[-2].c), "coupling-stale"),
    ("route_vjp_frozen", frozen_dz(fresh_couplings), "coupling-updated-once-more"),
    (
        "route_vjp_frozen",
        frozen_dz(lambda routing: routing.c, lambda routing: routing.v),
        "squash-jacobian-at-v",
    ),
    (
        "route_vjp_frozen",
        frozen_dz(lambda routing: routing.c, jacobian=lambda s, dv: dv),
        "squash-jacobian-forgotten",
    ),
    ("route_vjp_frozen", lambda routing, dv: capsedu.route_vjp(routing, dv), "couplings-not-held"),
    ("route_vjp_unrolled", frozen_dz(lambda routing: routing.c), "couplings-held-constant"),
    ("route_vjp_unrolled", walk_back(later=True), "agreement-with-later-output"),
    ("route_vjp_unrolled", walk_back(logits=True), "softmax-jacobian-at-logits"),
    ("route_vjp_unrolled", walk_back(stop=0), "earlier-iterations-missing"),
    ("route_vjp_unrolled", walk_back(stop=1), "earlier-iterations-missing"),
    ("route_vjp_unrolled", autograd_dz("v"), "path-through-v-missing nan-at-zero"),
    ("route_vjp_unrolled", autograd_dz("z"), "direct-path-missing nan-at-zero"),
    (
        "route_vjp_unrolled",
        lambda routing, dv: capsedu.route_vjp(
            capsedu.Routing(routing.steps[-2:], routing.z), dv
        ),
        "earlier-iterations-missing",
    ),
    (
        "capsule_layer_vjp",
        lambda W, u, routing, dv: capsedu.capsule_layer_vjp(W, u, routing, dv, "frozen"),
        "couplings-held-constant",
    ),
    (
        "capsule_layer_vjp",
        lambda W, u, routing, dv, rule: capsedu.capsule_layer_vjp(W, u, routing, dv, "unrolled"),
        "couplings-not-held",
    ),
    (
        "capsule_layer_vjp",
        layer_from_dz(
            lambda W, u, z, dz: (
                np.einsum("bijm,bin->ijnm", dz.reshape(-1, *dz.shape[-3:]), u.reshape(-1, *u.shape[-2:])),  # noqa: E501
                capsedu.predict_vjp(W, u, dz)[1],
            )
        ),
        "transposed",
    ),
    (
        "capsule_layer_vjp",
        layer_from_dz(
            lambda W, u, z, dz: (
                capsedu.predict_vjp(W, u, dz)[0] / (len(u) if u.ndim > 2 else 1),
                capsedu.predict_vjp(W, u, dz)[1],
            )
        ),
        "mean-for-sum",
    ),
    ("capsule_layer_vjp", layer_from_dz(means("batch", "outputs")), "mean-for-sum"),
    ("capsule_layer_vjp", layer_from_dz(means("batch", "batch")), "mean-for-sum"),
    ("capsule_layer_vjp", layer_routed_over_inputs, "softmax-over-inputs"),
    ("predict_vjp", lambda *given: means("batch", "outputs")(*given, given[-1]), "mean-for-sum"),
    ("predict_vjp", lambda *given: means("batch", "batch")(*given, given[-1]), "mean-for-sum"),
    ("predict_vjp", lambda W, u, dz: loop_predict_vjp(W, u, dz)[::-1], "results-swapped"),
    ("predict_vjp", lambda W, u, dz: loop_predict_vjp(W, u, dz)[0], "wrong-shape"),
    (
        "predict_vjp",
        lambda W, u, dz: (loop_predict_vjp(W, u, dz)[0], np.einsum("ijmn,...ijn->...im", W, dz)),
        "W-for-its-transpose",
    ),
    (
        "predict_vjp",
        lambda W, u, dz: (np.einsum("...ijm,...in->...ijmn", dz, u), loop_predict_vjp(W, u, dz)[1]),
        "batch-not-summed",
    ),
    (
        "predict_vjp",
        lambda W, u, dz: (
            loop_predict_vjp(W, u[:1], dz[:1])[0] if u.ndim > 2 else loop_predict_vjp(W, u, dz)[0],
            loop_predict_vjp(W, u, dz)[1],
        ),
        "first-example-only",
    ),
    (
        "dv_dW",
        lambda W, u, iterations=3, rule="unrolled": looped_dv_dW(W, u, iterations, "frozen"),
        "couplings-held-constant",
    ),
    (
        "dv_dW",
        lambda W, u: np.moveaxis(looped_dv_dW(W, u), (0, 1), (-2, -1)),
        "transposed",
    ),
    ("margin_loss", my_margin_loss(power=1), "loss-squares-missing"),
    ("margin_loss", my_margin_loss(swap=True), "loss-terms-swapped"),
    ("margin_loss", my_margin_loss(weight=1), "down-weight-missing"),
    ("margin_loss", my_margin_loss(mean=np.sum), "sum-over-batch"),
    ("margin_loss", my_margin_loss(length=lambda v: (v * v).sum(-1)), "loss-of-squared-length"),
    ("margin_loss", usual_margins, "number-hard-coded"),
    ("margin_loss_vjp", lambda v, labels: my_margin_loss_vjp(v, labels, two=1), "constant-factor"),
    (
        "margin_loss_vjp",
        lambda v, labels: my_margin_loss_vjp(v, labels, direction=lambda v: v),
        "loss-direction-not-unit",
    ),
    (
        "margin_loss_vjp",
        lambda v, labels: my_margin_loss_vjp(v, labels, sign=1),
        "loss-terms-same-sign",
    ),
    (
        "margin_loss_vjp",
        lambda v, labels: my_margin_loss_vjp(v, labels, direction=np.ones_like),
        "loss-direction-missing",
    ),
    (
        "margin_loss_vjp",
        lambda v, labels: my_margin_loss_vjp(v, labels, epsilon=1e-3),
        "epsilon-bias",
    ),
]  # fmt: skip


def list_arrays(c):
    return np.array(list_softmax(c))


@pytest.mark.parametrize(
    ("task", "function", "mistakes"), WRONG, ids=[f"{task}-{ids}" for task, _, ids in WRONG]
)
def test_a_mistake_made_from_scratch_is_named(task, function, mistakes):
    seconds = 0.3 if mistakes == "never-returns" else 10
    report = check(task, function, seconds=seconds)
    assert report.mistakes == tuple(mistakes.split()), report
    assert not report.passed
    for id in report.mistakes:
        assert id in report.summary() and MISTAKES[id].what in unwrapped(report.summary())


@pytest.mark.parametrize("epsilon", [1e-3, 1e-4, 1e-5, 1e-6])
@pytest.mark.parametrize("squash", [epsilon_under, epsilon_beside, epsilon_everywhere, norms_plus])
def test_an_epsilon_is_named_whatever_its_size(squash, epsilon):
    for seed in range(10):
        assert check("squash", squash(epsilon), seed=seed).mistakes == ("epsilon-bias",)


@pytest.mark.parametrize("task", TASKS)
def test_no_pair_of_mistakes_is_right(task):
    """Two that undo each other would be blamed for whatever is wrong at a special probe alone."""
    ready = bench(TASKS[task], 0)
    for pair in ready.pairs:
        assert any(ready.differ(k, pair) for k in ready.ordinary), pair


def test_what_is_wrong_at_zero_alone_is_neither_passed_nor_blamed_on_an_epsilon():
    def half_of_dv_at_zero(s, dv):
        return capsedu.squash_vjp(s, dv) + 0.5 * dv * (norm(s) == 0)

    for seed in range(20):
        report = check("squash_vjp", half_of_dv_at_zero, seed=seed)
        assert report.mistakes == () and not report.passed
        assert "(probe: one example 0)" in report.summary()


def unwrapped(text):
    return re.sub(r"\n    ", " ", text)


TWO = [
    (
        "squash_vjp",
        lambda s, dv: -norm(s) / (1 + norm(s) ** 2) * dv,
        {"squash-jacobian-norm-constant", "wrong-sign"},
    ),
    ("squash", lambda s: 2 * s / (1 + norm(s)), {"squash-squares-missing", "constant-factor"}),
    (
        "route_vjp_frozen",
        frozen_dz(lambda routing: routing.c**2, lambda routing: routing.v),
        {"coupling-squared", "squash-jacobian-at-v"},
    ),
    (
        "route",
        my_route(softmax=softmax_along(-2), count=lambda r: r + 1),
        {"softmax-over-inputs", "one-iteration-too-many"},
    ),
    (
        "margin_loss",
        my_margin_loss(power=1, weight=1),
        {"loss-squares-missing", "down-weight-missing"},
    ),
    (
        "squash",
        lambda s: textbook_squash(s).swapaxes(-1, -2) if s.ndim > 1 else textbook_squash(s),
        {"transposed", "nan-at-zero"},
    ),
    (
        "capsule_layer_vjp",
        lambda W, u, routing, dv, rule: capsedu.capsule_layer_vjp(
            W, u, routing, dv, {"frozen": "unrolled", "unrolled": "frozen"}[rule]
        ),
        {"couplings-held-constant", "couplings-not-held"},
    ),
]  # fmt: skip


@pytest.mark.parametrize(("task", "function", "mistakes"), TWO)
def test_two_mistakes_are_named_together(task, function, mistakes):
    report = check(task, function)
    assert set(report.mistakes) == mistakes, report
    assert f"{len(mistakes)} together" in report.summary()


def one_entry_off(function):
    """0.1 % off, in the largest entry."""

    def wrong(*arguments, **named):
        result = np.array(function(*arguments, **named))
        result[np.unravel_index(abs(result).argmax(), result.shape)] *= 1.001
        return result

    return wrong


def noisy(function):
    def wrong(*arguments):
        result = function(*arguments)
        return result + 0.01 * np.sin(np.arange(result.size)).reshape(result.shape)

    return wrong


UNKNOWN = [
    ("squash", np.sin),
    ("squash", np.tanh),
    ("squash", one_entry_off(capsedu.squash)),
    ("squash", lambda s: capsedu.squash(s)[..., ::-1]),
    ("squash", lambda s: norm(s) ** 3 * s / (1 + norm(s) ** 4)),
    ("squash_jacobian", one_entry_off(capsedu.squash_jacobian)),
    ("squash_vjp", noisy(capsedu.squash_vjp)),
    ("squash_vjp", lambda s, dv: s * dv),
    ("softmax", lambda b: 1 / (1 + np.exp(-b))),
    ("softmax", lambda b: capsedu.softmax(2 * b)),
    ("softmax_vjp", lambda c, dc: c + dc),
    ("route", lambda z: capsedu.squash(z.max(-3))),
    ("route_vjp_unrolled", one_entry_off(capsedu.route_vjp)),
    ("route_vjp_frozen", lambda routing, dv: routing.z),
    ("dv_dW", one_entry_off(capsedu.dv_dW)),
    ("margin_loss", lambda v, labels: (v * v).sum()),
    ("margin_loss_vjp", one_entry_off(capsedu.margin_loss_vjp)),
    ("predict_vjp", lambda W, u, dz: (W, u)),
    ("capsule_layer_vjp", lambda W, u, routing, dv: (W * 0 + 1, u)),
]


@pytest.mark.parametrize(("task", "function"), UNKNOWN, ids=[task for task, _ in UNKNOWN])
def test_an_error_that_nobody_knows_is_blamed_on_nothing(task, function):
    report = check(task, function)
    assert not report.passed and report.mistakes == (), report
    assert "is not known" in report.summary() and "Where:" in report.summary()
    if "vjp" in task or task in ("squash_jacobian", "dv_dW"):
        assert "gradient check: FAILED" in report.summary()


@pytest.mark.sweep
@pytest.mark.parametrize("seed", [*range(5), 2**128])
@pytest.mark.parametrize(
    ("task", "function"),
    [
        ("squash_vjp", lambda s, dv: capsedu.squash_vjp(dv, s)),
        ("squash_vjp", lambda s, dv: capsedu.squash_vjp(s, s)),
        ("softmax_vjp", lambda c, dc: capsedu.softmax_vjp(capsedu.softmax(dc), np.log(c))),
        ("predict_vjp", lambda W, u, dz: capsedu.predict_vjp(W, u, capsedu.predict(W, u))),
        ("route_vjp_frozen", lambda r, dv: capsedu.route_vjp(r, r.s, "frozen")),
        ("route_vjp_unrolled", lambda r, dv: capsedu.route_vjp(r, r.s)),
        ("margin_loss_vjp", lambda v, labels: capsedu.margin_loss_vjp(v, labels) + v),
    ],
)
def test_no_gradient_check_passes_beside_a_mistake_that_nobody_knows(task, function, seed):
    """As it would if dv were drawn again as s was."""
    report = check(task, function, seed=seed)
    assert report.mistakes == () and not report.passed
    assert "gradient check: FAILED" in report.summary()


def test_the_margins_are_those_of_the_probe_in_the_gradient_check():
    """The right function passes it, and one that takes the usual margins does not."""
    ready = bench(TASKS["margin_loss_vjp"], 0)
    probe = next(probe for probe in ready.probes if probe.name == "other margins")
    for wrong, passed in ((capsedu.margin_loss_vjp, True), (usual_margins_vjp, False)):
        ask = functools.partial(outcome, ready.task, wrong, seconds=10)
        assert ("PASSED" in check_numerically(ready.task, ask, probe, 1)) == passed


def test_the_gradient_check_has_no_more_time_than_the_rest():
    calls, ended = itertools.count(), []

    def slow_in_the_gradient_check(s, dv):
        if next(calls) > len(bench(TASKS["squash_vjp"], 0).probes):
            for _ in range(400):
                time.sleep(0.01)
            ended.append("in its own time")
        return s * dv

    report = check("squash_vjp", slow_in_the_gradient_check, seconds=1)
    assert report.mistakes == () and report.numerical == "" and not ended


def test_an_error_of_one_part_in_a_thousand_is_seen_in_every_entry():
    s = bench(TASKS["squash"], 0).probes[0].arguments["s"]
    v = capsedu.squash(s)
    for at in np.ndindex(v.shape):
        if abs(v[at]) > 0.02 * abs(v).max():
            wrong = v.copy()
            wrong[at] *= 1.001

            def off(x, wrong=wrong):
                return wrong if np.array_equal(x, s) else capsedu.squash(x)

            assert not check("squash", off).passed


def wrong_for_one_example(task):
    """Twice the right result, if there is no batch axis."""

    def function(v, labels):
        return LIBRARY[task](v, labels) * (2 if v.ndim == 2 else 1)

    return function


@pytest.mark.parametrize("task", ["margin_loss", "margin_loss_vjp"])
def test_a_loss_is_not_0_for_one_example(task):
    for seed in range(5):
        report = check(task, wrong_for_one_example(task), seed=seed)
        assert report.mistakes == ("batch-axis-assumed",)


def test_no_probe_asks_for_a_result_of_0_alone():
    """It would let everything pass; the Jacobian of one example at 0 is looked at for NaN only."""
    for task in TASKS.values():
        ready = bench(task, 0)
        for k, probe in enumerate(ready.probes):
            zero = [name for name, x in ready.right[k].items() if not x.any()]
            assert not zero or (task.id, probe.reveals) == ("dv_dW", "nan-at-zero")


# The report.


def test_a_report_says_what_where_and_how_to_go_on():
    report = check("squash_vjp", lambda s, dv: norm(s) / (1 + norm(s) ** 2) * dv)
    entry = MISTAKES["squash-jacobian-norm-constant"]
    none, one, two = (unwrapped(report.summary(hints=count)) for count in range(3))
    assert entry.hints[0] in one and entry.hints[0] not in none
    assert entry.hints[1] in two and entry.hints[1] not in one
    assert "notebook 01_squash, equation squash-jacobian" in none
    assert str(report) == repr(report) == report.summary()
    name, index, got, want = re.search(
        r"Where: (\w+)\[([\d, ]+)\]: got ([-\d.e]+), want ([-\d.e]+) ", one
    ).groups()
    given = bench(TASKS["squash_vjp"], 0).probes[0].arguments
    at = tuple(map(int, index.split(",")))
    right = capsedu.squash_vjp(**given)
    assert name == "ds" and float(want) == pytest.approx(right[at], rel=1e-3)
    wrong = norm(given["s"]) / (1 + norm(given["s"]) ** 2) * given["dv"]
    assert float(got) == pytest.approx(wrong[at], rel=1e-3)
    assert abs(wrong - right).max() == abs(wrong - right)[at]


def test_a_report_is_shown_with_a_picture_and_its_hints_folded():
    html = check("squash", lambda s: s / (1 + norm(s)))._repr_html_()
    assert html.count("<svg") == 1 and "<desc>" in html and 'role="img"' in html
    assert html.count("<details>") == 2
    assert "got − wanted" in html and "filled: positive; hollow: negative" in html
    assert "<script>" not in check("squash", lambda s: int("<script>"))._repr_html_()
    assert "<svg" not in check("squash", capsedu.squash)._repr_html_()


@pytest.mark.parametrize("task", TASKS)
def test_every_result_can_be_drawn(task):
    results = len(TASKS[task].results)

    def wrong(*arguments, **named):
        right = LIBRARY[task](*arguments, **named)
        if results > 1:
            return right[0] * np.nan, right[1]
        return getattr(right, "v", right) * np.nan

    assert "<svg" in check(task, wrong)._repr_html_()
    shapeless = check(task, lambda *arguments, **named: [[1.0, 2.0]] * max(2, results))
    assert "<svg" in shapeless._repr_html_() and not shapeless.passed


@pytest.mark.parametrize("result", [[], np.zeros(0), np.zeros((3, 0, 5)), np.zeros((0, 5)), 1.5])
def test_what_is_empty_can_be_drawn(result):
    for task in tasks():
        both = (result, result) if len(TASKS[task].results) > 1 else result
        report = check(task, lambda *given, both=both, **named: both)
        assert "<svg" in report._repr_html_() and not report.passed


def test_ties_are_named_as_ties():
    """Where only the direction of s matters, couplings of any sum give the same."""
    report = check("route", Variation("squash-plain-normalisation", "softmax-over-inputs").route)
    assert {found.ids for found in report.explanations} >= {
        ("squash-plain-normalisation", "softmax-over-inputs"),
        ("squash-plain-normalisation", "softmax-over-everything"),
    }
    assert "Or, as likely, 2 together" in report.summary()


def test_a_factor_is_told():
    assert "v is 0.5 times" in check("squash", lambda s: capsedu.squash(s) / 2).summary()
    report = check(
        "predict_vjp",
        lambda W, u, dz: (3 * loop_predict_vjp(W, u, dz)[0], loop_predict_vjp(W, u, dz)[1]),
    )
    assert report.mistakes == ("constant-factor",)
    assert "dW is 3 times" in report.summary() and "du is" not in report.summary()
    assert "v is 1.0003 times" in check("squash", lambda s: 1.0003 * capsedu.squash(s)).summary()


def test_one_number_alone_is_no_factor():
    """It raises for every probe but the first, where labels look like one-hot ones."""

    def margin_loss(v, T):
        return (T * np.maximum(0, 0.9 - norm(v)[..., 0]) ** 2).sum(-1).mean()

    report = check("margin_loss", margin_loss)
    assert report.mistakes == ("raises",) and not report.passed


def test_what_was_raised_is_told_with_its_line():
    def squash(s):
        n = norm(s)
        return n.nonsense

    assert "AttributeError" in check("squash", squash).summary()
    assert "line 3 of squash" in check("squash", squash).summary()
    assert "(line" not in check("squash", lambda: 0).summary()  # none of its lines was reached


def test_more_results_than_one_are_counted():
    report = check("route", lambda z, iterations=3: capsedu.route(z, iterations).steps[-1][1:3])
    assert report.mistakes == ("wrong-shape",) and "got 2 results, want one: v" in report.summary()


def test_an_unknown_task_is_refused():
    with pytest.raises(ValueError, match=r"got 'squish', want one of squash, squash_jacobian, "):
        check("squish", capsedu.squash)
    with pytest.raises(TypeError, match="want the function itself"):
        check("squash", capsedu.squash(np.ones(2)))


def test_the_function_may_be_without_the_optional_arguments_or_name_them_anew():
    assert check("route", lambda z: capsedu.route(z)).passed
    assert check("route", lambda z, r: capsedu.route(z, r)).passed
    assert check("route", lambda z, **options: capsedu.route(z, **options)).passed
    assert check("route_vjp_frozen", lambda r, d, rule: capsedu.route_vjp(r, d, rule)).passed
    assert check("margin_loss", lambda v, labels: capsedu.margin_loss(v, labels)).passed
    assert check("capsule_layer_vjp", lambda *given: capsedu.capsule_layer_vjp(*given)).passed

    def some_renamed(v, labels, m_plus, low, weight):
        return capsedu.margin_loss(v, labels, m_plus, low, weight)

    assert check("margin_loss", some_renamed).passed
    assert check("route", lambda z, r, /: capsedu.route(z, r)).passed


def test_an_optional_argument_under_another_name_is_tried_too():
    def route(z, num_iterations=3):
        return capsedu.route(z, num_iterations)

    def loss(v, labels, high=0.9, low=0.1, weight=0.5):
        return capsedu.margin_loss(v, labels, high, low, weight)

    for task, right in (("route", route), ("margin_loss", loss)):
        report = check(task, right)
        assert report.passed and len(report.probes) == len(bench(TASKS[task], 0).probes)
    assert check("route", lambda z, n=3: capsedu.route(z)).mistakes == ("number-hard-coded",)


def named_alone(*, s, dv):
    return capsedu.squash_vjp(s, dv)


def in_another_order(dv, s):
    return capsedu.squash_vjp(s, dv)


def by_position_alone(dv, s, /):
    return capsedu.squash_vjp(s, dv)


def by_any_name(**given):
    return capsedu.squash_vjp(given["s"], given["dv"])


@functools.wraps(capsedu.squash_vjp)
def wrapped(*given):
    return capsedu.squash_vjp(*given)


@pytest.mark.parametrize(
    "function", [named_alone, in_another_order, by_position_alone, by_any_name, wrapped]
)
def test_required_arguments_go_by_name_where_the_names_are_the_librarys(function):
    assert check("squash_vjp", function).passed
    assert check("squash_vjp", lambda dv, upstream: capsedu.squash_vjp(dv, upstream)).passed


@pytest.mark.parametrize(
    ("task", "function", "asked"),
    [
        ("route", lambda z, rounds=1: capsedu.route(z, rounds), 7),
        ("route", lambda z, eps=1e-7, rounds=5: capsedu.route(z, rounds), 7),
        ("route", lambda z, eps=1e-7: capsedu.route(z), 6),
        ("route", lambda z, rounds=1, **others: capsedu.route(z, rounds), 7),
        ("margin_loss", lambda v, y, w=0.5, a=0.9, b=0.1: capsedu.margin_loss(v, y, a, b, w), 7),
        ("margin_loss", lambda v, labels, m_plus=0.9, e=1e-7: capsedu.margin_loss(v, labels), 6),
    ],
)
def test_a_parameter_of_the_students_own_is_taken_for_the_librarys_only_if_it_can_be(
    task, function, asked
):
    report = check(task, function)
    assert report.passed and len(report.probes) == asked


def test_a_complex_result_that_is_real_is_told_so():
    told = check("squash", lambda s: capsedu.squash(s) + 0j).summary()
    assert "the imaginary part is 0: return .real" in unwrapped(told)
    assert ".real" not in check("squash", lambda s: capsedu.squash(s) + 1j).summary()


@pytest.mark.parametrize("seed", [-1, 1.5, "a", True, None, [1]])
def test_a_check_wants_a_seed(seed):
    with pytest.raises(ValueError, match=r"seed: got .*, want an integer of at least 0"):
        check("squash", capsedu.squash, seed=seed)


@pytest.mark.parametrize("seconds", [0, -1, np.nan, np.inf, 1e12, "5", None])
def test_a_check_wants_some_time(seconds):
    with pytest.raises(ValueError, match=r"seconds: got .*, want "):
        check("squash", capsedu.squash, seconds=seconds)


def test_nothing_reaches_stderr_and_nothing_is_left_changed(capfd):
    """A word on stderr fails a cell that is graded."""
    settings = np.geterr()
    before = threading.active_count()
    for task, function, mistake in WRONG:
        if mistake != "never-returns":
            check(task, function)._repr_html_()
    check("squash", loop_without_end, seconds=0.2)
    assert capfd.readouterr().err == ""
    assert np.geterr() == settings
    assert threading.active_count() == before


def test_it_works_off_the_main_thread():
    found = []
    thread = threading.Thread(
        target=lambda: found.append(check("squash", loop_without_end, seconds=0.2).mistakes)
    )
    thread.start()
    thread.join()
    assert found == [("never-returns",)]


# The catalogue and the table.


def test_every_way_of_going_wrong_has_words_and_every_word_a_way():
    source = Path(variations_module.__file__).read_text()
    used = set(re.findall(r'"([a-z]+(?:-[a-zA-Z]+)+(?:/[a-z]+)?)"', source)) - {"upstream-ignored"}
    used |= {"coupling-stale/everywhere", "coupling-updated-once-more/everywhere", "j-not-summed"}
    used |= {"earlier-iterations-missing/1", "earlier-iterations-missing/2"}
    places = re.findall(r'self\.epsilon\("(\w+)"\)', source)
    used |= {f"epsilon-bias/{place}/{x:g}" for place in places for x in EPSILONS}
    listed = {way for mistake in MISTAKES.values() for way in mistake.ways} - {"upstream-ignored"}
    assert listed - used == {"W-for-its-transpose"} - used and used - listed == set()
    shown = {way for task in TASKS.values() for way in bench(task, 0).ways}
    assert shown == listed | {"upstream-ignored"}


def test_it_needs_numpy_alone_until_a_picture_is_drawn():
    code = (
        "import sys, numpy as np; from capsedu.exercises import check, tasks, hand_example;"
        "print(check('squash', np.sin)); print(check('squash_vjp', lambda s, dv: s * dv));"
        "hand_example(1); sys.exit({'matplotlib', 'sympy', 'tqdm'} & set(sys.modules))"
    )
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "is not known" in process.stdout and process.stderr == "set()\n"


def test_the_tasks_are_listed():
    assert tasks() == tuple(TASKS) and "route_vjp_unrolled" in tasks()
    assert all(len(mistake.hints) == 2 and mistake.what for mistake in MISTAKES.values())


def assert_each_is_named(seed, but):
    table = Table()
    for planted in singles(seed):
        if planted.ids[0] not in but:
            table.add(planted)
    assert table.clean, str(table)
    assert set(table.rows) == MISTAKES.keys() - but


def test_each_mistake_is_named_wherever_it_is_planted():
    assert_each_is_named(0, but={"never-returns"})


@pytest.fixture(scope="module")
def every_core():
    """Processes for what takes minutes on one."""
    with ProcessPoolExecutor(mp_context=multiprocessing.get_context("spawn")) as pool:
        yield pool


@pytest.mark.sweep
def test_each_mistake_is_named_with_other_numbers(every_core):
    # The numbers play no part in a wrong shape, which is slow to tell: no pair explains it either.
    named = functools.partial(assert_each_is_named, but={"never-returns", "wrong-shape"})
    assert len(list(every_core.map(named, range(1, 40)))) == 39


@pytest.mark.sweep
def test_no_two_mistakes_are_blamed_on_a_third():
    some = list(pairs(0))[::40]
    assert len(some) > 50
    assert {planted.verdict() for planted in some} <= {"both named", "the same as another"}


@pytest.mark.sweep
def test_a_mistake_undone_by_half_again_is_blamed_on_nothing():
    """Right minus half of what a mistake changes: near to each, and neither."""
    for task in TASKS.values():
        ready = bench(task, 0)  # half of an ε is one more ε
        for way in [way for way in ready.ways if ready.telling(way) == ready.ordinary][::4]:
            right, wrong = task.function, getattr(Variation(way), task.name)

            def between(*given, right=right, wrong=wrong, **named):
                results = []
                for result in (right(*given, **named), wrong(*given, **named)):
                    results.append(result if isinstance(result, tuple) else (result,))
                pairs = [[getattr(x, "v", x) for x in pair] for pair in zip(*results, strict=True)]
                mixed = tuple(1.5 * x - 0.5 * y for x, y in pairs)
                return mixed if len(mixed) > 1 else mixed[0]

            report = check(task.id, functools.wraps(right)(between))
            assert set(report.mistakes) <= SEEN and not report.passed, (way, report)


@pytest.mark.sweep
def test_three_mistakes_are_blamed_on_no_other():
    rng = np.random.default_rng(0)
    for task in TASKS.values():
        ways = bench(task, 0).ways
        for _ in range(4):
            three = tuple(rng.choice(ways, 3, replace=False).tolist())
            planted = next(plant(task, 0, [three]))
            assert planted.verdict() not in ("blamed on a third", "passed"), three


def verdicts(part, parts):
    return [planted.verdict() for planted in itertools.islice(pairs(0), part, None, parts)]


@pytest.mark.sweep
def test_no_two_of_all_mistakes_are_blamed_on_a_third(every_core):
    parts = os.cpu_count()
    found = [*itertools.chain(*every_core.map(verdicts, range(parts), [parts] * parts))]
    assert len(found) > 4000
    assert set(found) <= {"both named", "the same as another", "unknown"}


def test_a_table_that_is_not_clean_says_so():
    table = Table()
    squash = TASKS["squash"]
    table.add(Planted(squash, ("wrong-sign",), lambda s: -capsedu.squash(s), 0))
    assert table.clean
    table.add(Planted(squash, ("wrong-sign",), np.sin, 0))
    table.add(Planted(squash, ("wrong-sign",), lambda s: 2 * capsedu.squash(s), 0))
    assert not table.clean
    row = str(table).splitlines()[1].split(maxsplit=4)
    assert row == ["wrong-sign", "1", "3", "1", "unknown (1); constant-factor (1)"]
    two = Planted(squash, ("squash-norm-squared", "squash-forgotten"), lambda s: 0 * s + 1, 0)
    assert two.verdict() == "unknown"
    third = Planted(squash, two.ways, lambda s: s / (1 + norm(s)), 0)
    assert third.verdict() == "blamed on a third"
    assert Planted(squash, two.ways, capsedu.squash, 0).verdict() == "passed"


@pytest.mark.parametrize("blind", [False, True])
def test_the_command_prints_the_table(monkeypatch, capsys, blind):
    some = {"softmax": TASKS["softmax"]}
    monkeypatch.setattr("capsedu.exercises.confusion.TASKS", some)
    if blind:
        monkeypatch.setattr("capsedu.exercises.diagnosis.MISTAKES", {})
        monkeypatch.setattr(
            "capsedu.exercises.confusion.singles",
            lambda seed: [Planted(some["softmax"], ("softmax-over-batch",), softmax_along(0), 0)],
        )
        bench.cache_clear()
    assert main(["mistakes", "--seeds", "1"]) == int(blind)
    printed = capsys.readouterr().out
    assert "softmax-over-batch" in printed
    assert ("NOT each named" in printed) == blind
    bench.cache_clear()


# The example of four integers, and its variants.


def test_the_first_hand_example_is_that_of_the_series():
    example = hand_example()
    np.testing.assert_array_equal(example.W[..., 0, 0], [[1, 2], [1, 0]])
    np.testing.assert_array_equal(example.u[:, 0], [1, 1])
    assert np.round(example.answers["dW unrolled"], 4).tolist() == [
        [0.3063, -0.1175],
        [0.4287, -0.1175],
    ]
    assert "0.3063" in example.sheet() and "0.3063" not in example._repr_markdown_()


def test_hand_examples_are_small_different_and_answered_rightly():
    seen = set()
    for seed in range(60):
        example = hand_example(seed)
        W, u, answers = example.W.astype(float), example.u.astype(float), example.answers
        seen.add((*example.W.ravel().tolist(), *example.u.ravel().tolist()))
        assert abs(W).max() <= 4 and abs(u).max() <= 2
        assert str(example.W[..., 0, 0].tolist()) in example.text
        for name, iterations, detached in (
            ("one", 1, ""),
            ("frozen", 2, "zv"),
            ("unrolled", 2, ""),
        ):

            def loss(W, u, iterations=iterations, detached=detached):
                return autograd_layer(W, u, iterations, detached)[0, 0]

            for k, x in enumerate(("dW", "du")):
                want = grad(loss, k)(W, u).reshape(answers[f"{x} {name}"].shape)
                np.testing.assert_allclose(answers[f"{x} {name}"], want, atol=1e-12)
        z, steps = loop_layer(W, u, 2)
        np.testing.assert_allclose(answers["z"], z[..., 0])
        np.testing.assert_allclose(answers["v first"], steps[0][3][:, 0])
        for name, x in zip("bcsv", steps[1], strict=True):
            np.testing.assert_allclose(answers[name], x.reshape(answers[name].shape), atol=1e-14)
        assert answers["v"][0] == pytest.approx(answers["v first"][0], rel=1e-14)
        stolen = grad(lambda W, u=u: autograd_layer(W, u, 2, "")[0, 0])(W)[0, 1, 0, 0]
        said, number = example.sheet().splitlines()[0].rsplit(maxsplit=1)
        assert said == "prediction   v_1 is the same, and dL/dW_12 is not 0:"
        assert float(number) == round(stolen, 4) != 0
        frozen, unrolled = answers["dW frozen"], answers["dW unrolled"]
        assert abs(frozen - unrolled).max() > 0.2 * abs(unrolled).max()
        assert abs(frozen - answers["dW one"]).max() > 0.01  # routing changes something
    assert len(seen) == 60


@pytest.mark.parametrize("seed", [-1, 1.5, "a", True, None])
def test_a_hand_example_wants_a_seed(seed):
    with pytest.raises(ValueError, match="want an integer of at least 0"):
        hand_example(seed)


def test_ctrl_c_stops_the_command(monkeypatch, capsys):
    def interrupted(seed):
        raise KeyboardInterrupt

    monkeypatch.setattr("capsedu.exercises.confusion.singles", interrupted)
    assert main(["mistakes"]) == 130
    assert capsys.readouterr().err.endswith("stopped\n")
