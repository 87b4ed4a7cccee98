"""The gradient checker: no wrong gradient passes, no right one fails, and the text says why."""

import re

import numpy as np
import pytest

from capsedu import (
    capsule_layer,
    capsule_layer_vjp,
    margin_loss,
    margin_loss_vjp,
    predict,
    route,
    route_vjp,
    softmax,
    softmax_vjp,
    squash,
    squash_vjp,
)
from capsedu.gradient_check import check_vjp, held_couplings
from capsedu.numerical_derivatives import (
    central_difference,
    complex_step,
    forward_difference,
    step_sweep,
)

BATCHES = [(), (3,), (2, 2)]
MORE = pytest.mark.sweep  # of the same


def layer(iterations):
    return lambda W, u: capsule_layer(W, u, iterations).v


def layer_vjp(iterations, rule="unrolled"):
    def vjp(W, u, dv):
        return capsule_layer_vjp(W, u, capsule_layer(W, u, iterations), dv, rule)

    return vjp


def layer_point(seed, scale=1.0, batch=None):
    """W and u of random shape; every few seeds one capsule, one dimension, no batch axis."""
    rng = np.random.default_rng(seed)
    I, J, m, n = rng.integers(1, 4, size=4)
    batch = BATCHES[seed % 3] if batch is None else batch
    W = scale * rng.standard_normal((I, J, m, n))
    return {"W": W, "u": squash(rng.standard_normal((*batch, I, n)))}


def vectors(seed, m=None, low=-3, high=3):
    """Vectors s of random shape, each ‖s‖ drawn alone between 1e-3 and 1e3."""
    rng = np.random.default_rng(seed)
    m = rng.integers(1, 6) if m is None else m
    s = rng.standard_normal((*BATCHES[seed % 3], 3, m))
    length = 10 ** rng.uniform(low, high, (*s.shape[:-1], 1))
    return {"s": s / np.linalg.norm(s, axis=-1, keepdims=True) * length}


def logits_vjp(b, dc):
    """softmax_vjp takes what softmax returned; a check hands over what softmax was given."""
    return softmax_vjp(softmax(b), dc)


def real_only(function):
    """The same function, which drops the imaginary part: central differences judge alone."""
    return lambda *arguments: function(*(x.real for x in arguments))


def textbook_squash_vjp(s, dv):
    """(g I + h s sᵀ) dv: right, but for other roundings."""
    t = np.sqrt((s * s).sum(axis=-1, keepdims=True))
    h = (1 - t * t) / (t * (1 + t * t) ** 2)
    return t / (1 + t * t) * dv + h * (s * dv).sum(axis=-1, keepdims=True) * s


def matrix_softmax_vjp(b, dc):
    """(diag c − c cᵀ) dc."""
    c = softmax(b)
    jacobian = c[..., None] * np.eye(c.shape[-1], dtype=b.dtype) - c[..., None] * c[..., None, :]
    return np.einsum("...kl,...l->...k", jacobian, dc)


def loop_predict_vjp(W, u, dz):
    """The sum over the batch and over the capsules, one term at a time, the last first."""
    dW, du = np.zeros_like(W), np.zeros_like(u)
    I, J = W.shape[:2]
    for example in reversed(list(np.ndindex(u.shape[:-2]))):
        for i in reversed(range(I)):
            for j in reversed(range(J)):
                dW[i, j] += np.outer(dz[example][i, j], u[example][i])
                du[(*example, i)] += W[i, j].T @ dz[example][i, j]
    return dW, du


def right_cases(seed):
    """Name, function, vjp, arguments: right gradients in many writings, shapes and sizes."""
    rng = np.random.default_rng(1000 + seed)
    s = vectors(seed)
    point = layer_point(seed)
    b = {"b": rng.standard_normal((*BATCHES[seed % 3], 3, rng.integers(1, 5))) * 3}
    r = int(rng.choice([1, 2, 3, 10]))
    labels = rng.integers(0, 3, BATCHES[seed % 3])
    yield "squash", squash, squash_vjp, s
    yield "squash textbook", squash, textbook_squash_vjp, s
    yield "softmax", softmax, logits_vjp, b
    yield "softmax matrix", softmax, matrix_softmax_vjp, b
    yield "predict", predict, loop_predict_vjp, point
    yield "unrolled", layer(r), layer_vjp(r), point
    frozen = held_couplings(**point, iterations=r)
    yield "frozen", frozen, layer_vjp(r, "frozen"), point
    saturated = layer_point(seed, scale=30.0)
    yield "saturated", layer(r), layer_vjp(r), saturated
    yield (
        "margin",
        lambda v: margin_loss(v, labels),
        lambda v, dL: dL * margin_loss_vjp(v, labels),
        {"v": squash(s["s"])},
    )


@pytest.mark.parametrize("first", [0, *(pytest.param(k, marks=MORE) for k in (20, 40))])
def test_right_gradients_pass(first):
    closest = 0.0
    for seed in range(first, first + 20):
        for name, function, vjp, arguments in list(right_cases(seed))[seed % 3 :: 3]:
            report = check_vjp(function, vjp, arguments, directions=2, max_entries=6, seed=seed)
            assert report.passed, f"seed {seed}, {name}\n{report}"
            for row in report.rows:
                assert row.verdict in ("ok", "cannot tell")
                closest = max(closest, row.error / (row.explained or 1))
    assert closest < 0.5  # far from a false alarm: half of what is explained is never used


@pytest.mark.parametrize("seed", range(6))
def test_right_gradients_in_float32_pass(seed):
    for name, function, vjp, arguments in right_cases(seed):
        if name in ("squash textbook", "saturated"):  # they do lose more than float32 has
            continue
        arguments = {key: x.astype(np.float32) for key, x in arguments.items()}
        report = check_vjp(function, vjp, arguments, directions=2, max_entries=6, seed=seed)
        assert report.passed, f"seed {seed}, {name}\n{report}"


@pytest.mark.parametrize("seed", range(6))
def test_central_differences_alone_pass_right_gradients(seed):
    for name, function, vjp, arguments in right_cases(seed):
        report = check_vjp(
            real_only(function), vjp, arguments, directions=2, max_entries=6, seed=seed
        )
        assert {row.method for row in report.rows} == {"central"}
        assert all(row.verdict != "WRONG" for row in report.rows), f"{name}\n{report}"


def off_in_one_entry(vjp, seed):
    """0.1% off in one entry at random, not the largest but not 0; where all are 0, off by 0.001."""

    def wrong(*arguments):
        rng = np.random.default_rng(seed)
        gradients = vjp(*arguments)
        gradients = gradients if isinstance(gradients, tuple) else (gradients,)
        gradient = gradients[rng.integers(len(gradients))]
        entries = np.argwhere(abs(gradient) >= 1e-5 * abs(gradient).max())
        entry = tuple(rng.choice(entries))
        gradient[entry] = 1.001 * gradient[entry] or 0.001
        return gradients

    return wrong


def dz_of(W, u, dv, r):
    return route_vjp(route(predict(W, u), r), dv)


# What people get wrong in the layer's gradient: r -> vjp(W, u, dv) -> dW, du.
def wrong_sign(r):
    return lambda *a: (-layer_vjp(r)(*a)[0], layer_vjp(r)(*a)[1])


def wrong_sign_in_u(r):
    return lambda *a: (layer_vjp(r)(*a)[0], -layer_vjp(r)(*a)[1])


def transposed(r):
    return lambda *a: (layer_vjp(r)(*a)[0].swapaxes(2, 3), layer_vjp(r)(*a)[1])


def capsules_swapped(r):
    return lambda *a: (layer_vjp(r)(*a)[0].swapaxes(0, 1), layer_vjp(r)(*a)[1])


def W_not_transposed_in_du(r):
    return lambda W, u, dv: (
        layer_vjp(r)(W, u, dv)[0],
        np.einsum("ijmn,...ijn->...im", W, dz_of(W, u, dv, r)),
    )


def no_sum_over_outputs(r):
    return lambda W, u, dv: (
        layer_vjp(r)(W, u, dv)[0],
        np.einsum("imn,...im->...in", W[:, 0], dz_of(W, u, dv, r)[..., 0, :]),
    )


def mean_over_batch(r):
    return lambda W, u, dv: (
        layer_vjp(r)(W, u, dv)[0] / np.prod(u.shape[:-2]),
        layer_vjp(r)(W, u, dv)[1],
    )


def frozen(r):
    return layer_vjp(r, "frozen")


def one_iteration_less(r):
    return layer_vjp(r - 1)


def one_iteration_more(r):
    return layer_vjp(r + 1)


def ones_for_dy(r):
    return lambda W, u, dv: layer_vjp(r)(W, u, np.ones_like(dv))


def nothing(r):
    return lambda W, u, dv: (np.zeros_like(W), np.zeros_like(u))


# Each with the arguments whose gradient it makes wrong.
LAYER_MISTAKES = {
    wrong_sign: "W",
    wrong_sign_in_u: "u",
    transposed: "W",
    capsules_swapped: "W",
    W_not_transposed_in_du: "u",
    no_sum_over_outputs: "u",
    mean_over_batch: "W",
    frozen: "Wu",
    one_iteration_less: "Wu",
    one_iteration_more: "Wu",
    ones_for_dy: "Wu",
    nothing: "Wu",
}


def both_ways(function, vjp, arguments, seed=0, **options):
    """The report with complex step, and that of central differences alone."""
    yield check_vjp(function, vjp, arguments, seed=seed, **options)
    yield check_vjp(real_only(function), vjp, arguments, seed=seed, **options)


@pytest.mark.parametrize("mistake", LAYER_MISTAKES, ids=lambda mistake: mistake.__name__)
@pytest.mark.parametrize("r", [2, 3])
@pytest.mark.parametrize("scale", [0.3, pytest.param(3.0, marks=MORE)])
def test_no_wrong_layer_gradient_passes(mistake, r, scale):
    for seed in range(2):
        rng = np.random.default_rng(seed)
        arguments = {  # square, so that a transpose fits
            "W": scale * rng.standard_normal((2, 2, 2, 2)),
            "u": squash(rng.standard_normal((3, 2, 2))),
        }
        for report in both_ways(layer(r), mistake(r), arguments, seed, directions=1):
            assert not report.passed
            for row in report.rows:
                wrong = row.argument in LAYER_MISTAKES[mistake]
                assert row.verdict == ("WRONG" if wrong else "ok"), f"{row}\n{report}"


def across_only(s, dv):
    """The radial term of the Jacobian is missing: the norm was taken as constant."""
    t = np.sqrt((s * s).sum(axis=-1, keepdims=True))
    return t / (1 + t * t) * dv


def along_the_batch(b, dc):
    """logits_vjp with the sum over the wrong axis."""
    c = softmax(b)
    return c * (dc - (c * dc).sum(axis=0, keepdims=True))


@pytest.mark.parametrize("low, high", [(-3, 3), (-3, -3), (-1, 1), (3, 3)])
@pytest.mark.parametrize("m", [1, 2, 5])
def test_missing_radial_term_fails(m, low, high):
    for seed in range(3):
        for report in both_ways(squash, across_only, vectors(seed, m, low, high)):
            assert not report.passed
            assert {row.verdict for row in report.rows} == {"WRONG"}


@pytest.mark.parametrize("wrong", [along_the_batch, lambda b, dc: softmax(b) * dc])
def test_wrong_softmax_gradient_fails(wrong):
    b = np.random.default_rng(0).standard_normal((3, 3))
    for report in both_ways(softmax, wrong, {"b": b}):
        assert not report.passed


@pytest.mark.parametrize("factor", [4, -1, 1.001])
def test_wrong_margin_gradient_fails(factor):
    labels = np.array([0, 2, 1, 1])
    v = squash(np.random.default_rng(0).standard_normal((4, 3, 2)))
    for report in both_ways(
        lambda v: margin_loss(v, labels),
        lambda v, dL: factor * dL * margin_loss_vjp(v, labels),
        {"v": v},
    ):
        assert not report.passed


@pytest.mark.parametrize("first", [0, pytest.param(5, marks=MORE)])
def test_one_entry_off_by_a_thousandth_fails(first):
    for seed in range(first, first + 5):
        for name, function, vjp, arguments in list(right_cases(seed))[seed % 2 :: 2]:
            wrong = off_in_one_entry(vjp, seed)
            report = check_vjp(function, wrong, arguments, directions=2, seed=seed)
            assert not report.passed, f"seed {seed}, {name}\n{report}"


def test_one_entry_off_by_a_thousandth_fails_in_float32():
    arguments = {key: x.astype(np.float32) for key, x in layer_point(7, batch=(3,)).items()}

    def wrong(W, u, dv):
        dW, du = layer_vjp(3)(W, u, dv)
        dW[np.unravel_index(abs(dW).argmax(), dW.shape)] *= np.float32(1.001)
        return dW, du

    assert check_vjp(layer(3), layer_vjp(3), arguments).passed
    assert not check_vjp(layer(3), wrong, arguments).passed


@pytest.mark.parametrize(
    ("dtype", "options", "note"),
    [
        (np.float32, {"max_entries": 5}, "moved only together"),
        (np.float32, {"max_entries": 5, "directions": 0}, "not looked at"),
        (np.float64, {"max_entries": 5, "directions": 0}, "not looked at"),
        (np.float64, {"max_entries": 5}, None),
        (np.float32, {}, None),
    ],
)
def test_it_says_which_entries_a_mistake_could_hide_in(dtype, options, note):
    arguments = {key: x.astype(dtype) for key, x in layer_point(7, batch=(3,)).items()}
    report = check_vjp(layer(3), layer_vjp(3), arguments, **options)
    assert report.passed
    unmoved = arguments["W"].size - 5
    said = f"{unmoved} entries of W were {note}: a mistake in one of them would not show"
    assert (said in unfolded(report)) == (note is not None)
    assert ("Raise max_entries" in unfolded(report)) == (note is not None)


def test_directions_find_a_mistake_that_the_sample_missed():
    rng = np.random.default_rng(0)
    point = {"W": rng.standard_normal((3, 2, 2, 300)), "u": rng.standard_normal((3, 300)) / 20}

    def wrong(W, u, dv):
        dW, du = layer_vjp(2)(W, u, dv)
        dW.flat[np.argsort(abs(dW), axis=None)[dW.size // 2]] *= 1.001
        return dW, du

    report = check_vjp(layer(2), wrong, point, max_entries=3)
    verdicts = {(row.argument, row.along, row.method): row.verdict for row in report.rows}
    assert verdicts["W", "entries", "complex step"] == "ok"
    assert verdicts["W", "directions", "complex step"] == "WRONG"
    assert "raise max_entries to find it" in unfolded(report)
    assert "3 of 3600 entries" in str(report)


def unfolded(report):
    return str(report).replace("\n    ", " ")


@pytest.mark.parametrize("r", [2, 3, 10])
def test_unrolled_gradient_fails_where_couplings_are_held(r):
    arguments = layer_point(7, batch=(2,))
    function = held_couplings(**arguments, iterations=r)
    for report in both_ways(function, layer_vjp(r), arguments):
        assert not report.passed
    for report in both_ways(function, layer_vjp(r, "frozen"), arguments):
        assert report.passed


def test_held_couplings_are_those_of_the_point():
    point = layer_point(4, batch=(2,))
    W, u = point["W"], point["u"]
    function = held_couplings(W, u, iterations=3)
    np.testing.assert_allclose(function(W, u), capsule_layer(W, u, 3).v, rtol=1e-14)
    # Twice W gives twice s, as c does not follow.
    np.testing.assert_allclose(function(2 * W, u), squash(2 * capsule_layer(W, u, 3).s), rtol=1e-14)


# What stands in the way of a comparison is told in words, and never passes.

S = {"s": np.array([[3.0, 4.0], [0.3, 0.4]])}


@pytest.mark.parametrize(
    "claim, words",
    [
        (np.ones((2, 3)), "s: got a gradient of shape (2, 3), want (2, 2), that of s: WRONG"),
        (np.ones(4), "s: got a gradient of shape (4,), want (2, 2), that of s: WRONG"),
        (np.full((2, 2), np.nan), "s[0, 0]: got nan, and 4 of 4 entries are NaN or infinite"),
        (np.array([[0, 1], [np.inf, 1]]), "s[1, 0]: got inf, and 1 of 4 entries are NaN"),
        (np.ones((2, 2), complex), "s: got a gradient of complex numbers, want real ones: WRONG"),
        (
            None,
            "gradient of s: got dtype object, want float32, float64, complex or integers: WRONG",
        ),
    ],
)
def test_what_is_no_gradient_fails_in_words(claim, words):
    report = check_vjp(squash, lambda s, dv: claim, S)
    assert not report.passed
    assert report.rows == ()
    assert str(report).startswith("gradient check: FAILED\n")
    assert words in unfolded(report)


def test_one_bad_gradient_does_not_hide_the_other():
    report = check_vjp(
        layer(2), lambda W, u, dv: (np.ones(3), -layer_vjp(2)(W, u, dv)[1]), layer_point(1)
    )
    assert "W: got a gradient of shape (3,)" in str(report)
    assert {row.argument for row in report.rows} == {"u"}
    assert {row.verdict for row in report.rows} == {"WRONG"}


def test_a_gradient_that_differs_from_call_to_call_never_passes():
    rng = np.random.default_rng(0)
    report = check_vjp(squash, lambda s, dv: squash_vjp(s, dv) * rng.uniform(0.5, 1.5, s.shape), S)
    assert not report.passed
    assert str(report).startswith("gradient check: CANNOT TELL")
    assert "vjp gives the same whenever it is called" in unfolded(report)


def test_a_vanished_gradient_is_called_neither_right_nor_wrong():
    arguments = {"b": np.array([[60.0, 0.0]])}
    for vjp in (logits_vjp, lambda b, dc: -logits_vjp(b, dc), lambda b, dc: 0 * b):
        report = check_vjp(softmax, vjp, arguments)
        assert not report.passed
        assert str(report).startswith("gradient check: CANNOT TELL")
        assert "WRONG" not in str(report)
    assert "WRONG" in str(check_vjp(softmax, lambda b, dc: 0 * b + 1e-9, arguments))


@pytest.mark.parametrize("b", [[[60.0]], [[0.0], [1.0]]])
def test_a_gradient_that_is_zero_passes(b):
    assert check_vjp(softmax, logits_vjp, {"b": b}).passed  # one output capsule: c = 1
    assert not check_vjp(softmax, lambda b, dc: 0 * b + 1e-9, {"b": b}).passed


def test_a_function_without_a_derivative_never_passes():
    report = check_vjp(lambda x: np.where(x == 1, x, np.nan), lambda x, dy: dy, {"x": [1.0]})
    assert not report.passed
    assert "Errors of any size are what rounding explains here" in unfolded(report)


def test_zero_vectors():
    s = np.zeros((2, 3))
    assert check_vjp(squash, squash_vjp, {"s": s}).passed
    assert not check_vjp(squash, lambda s, dv: 1e-3 * dv, {"s": s}).passed
    s[0] = 3e-3, 0, 4e-3
    assert check_vjp(squash, squash_vjp, {"s": s}).passed


def test_empty_batch_passes_and_says_that_nothing_was_compared():
    arguments = layer_point(0, batch=(0,))
    report = check_vjp(layer(3), layer_vjp(3), arguments)
    assert report.passed
    assert "u has no entries: nothing was compared." in str(report)
    assert "y is empty: all that was compared is that every gradient is 0." in str(report)
    assert not check_vjp(layer(3), lambda W, u, dv: (W, u), arguments).passed
    report = check_vjp(squash, squash_vjp, {"s": np.ones((0, 2))})
    assert report.passed
    assert report.rows == ()
    assert "s has no entries: nothing was compared." in str(report)


# Functions that complex step cannot differentiate.


def norm_squash(s):
    t = np.linalg.norm(s, axis=-1, keepdims=True)
    return t * s / (1 + t * t)


@pytest.mark.parametrize(
    "function, vjp",
    [
        (norm_squash, squash_vjp),
        (lambda s: abs(s) * (1 + 0 * s), lambda s, dv: np.sign(s) * dv),
        (lambda s: s.real**2 + s, lambda s, dv: (2 * s + 1) * dv),
    ],
)
def test_where_the_function_is_not_analytic_central_differences_judge(function, vjp):
    report = check_vjp(function, vjp, S)
    assert report.passed
    assert "Complex step and central differences disagree" in unfolded(report)
    assert "not analytic as written" in unfolded(report)
    verdicts = {(row.method, row.verdict) for row in report.rows}
    assert verdicts == {("complex step", "not trusted"), ("central", "ok")}
    wrong = check_vjp(function, off_in_one_entry(vjp, 0), S)
    assert not wrong.passed
    assert "(central, step" in str(wrong)
    assert "rounding and truncation explain < 1e-" in unfolded(wrong)


@pytest.mark.parametrize(
    "function, words",
    [
        (lambda s: squash(s.real), "the function drops the imaginary part"),
        (lambda s: squash(s.astype(float)), "ComplexWarning"),
        (lambda s: squash([[float(x) for x in row] for row in s]), "no complex numbers ("),
    ],
)
def test_a_function_that_takes_no_complex_numbers(function, words):
    report = check_vjp(function, squash_vjp, S)
    assert report.passed
    assert words in unfolded(report)
    assert "central differences judge alone" in unfolded(report)
    assert not check_vjp(function, off_in_one_entry(squash_vjp, 0), S).passed


def test_the_methods_agree_on_functions_that_are_analytic():
    for seed in range(10):
        for name, function, vjp, arguments in right_cases(seed):
            report = check_vjp(function, vjp, arguments, directions=1, max_entries=2, seed=seed)
            assert "disagree" not in str(report), f"seed {seed}, {name}\n{report}"


# The report as a reader sees it: the example that is worked by hand in notebook 00.

FOUR = {"W": np.array([[1.0, 2.0], [1.0, 0.0]]).reshape(2, 2, 1, 1), "u": np.ones((2, 1))}
FIRST = np.array([[1.0], [0.0]])  # L = v_1


def test_text_of_a_wrong_gradient():
    report = check_vjp(layer(2), layer_vjp(2, "frozen"), FOUR, dy=FIRST, directions=0)
    assert (
        str(report)
        == """\
gradient check: FAILED
argument  compared   method        step     error   explained  verdict
W         4 entries  complex step  1.0e-20  0.1175  < 1e-12    WRONG
W         4 entries  central       6.1e-06  0.1175  < 1e-09    WRONG
u         2 entries  complex step  1.0e-20  0.1175  < 1e-12    WRONG
u         2 entries  central       6.1e-06  0.1175  < 1e-09    WRONG
W[0, 0, 0, 0]: got 0.1888, want 0.3063 (complex step, step 1.0e-20), error 0.1175,
    rounding explains < 1e-12: WRONG
u[0, 0]: got 0.1888, want 0.07127 (complex step, step 1.0e-20), error 0.1175, rounding
    explains < 1e-12: WRONG"""
    )


def test_text_of_a_right_gradient():
    report = check_vjp(layer(2), layer_vjp(2), FOUR, dy=FIRST, directions=0)
    assert (
        str(report)
        == report.summary()
        == """\
gradient check: PASSED
argument  compared   method        step     error    explained  verdict
W         4 entries  complex step  2.0e-20  < 1e-12  < 1e-12    ok
W         4 entries  central       1.2e-05  < 1e-09  < 1e-09    ok
u         2 entries  complex step  1.0e-20  < 1e-12  < 1e-12    ok
u         2 entries  central       6.1e-06  < 1e-09  < 1e-09    ok
Every error is within what rounding (in central differences, also truncation) explains."""
    )


def test_rows_name_the_worst_entry():
    def wrong(W, u, dv):
        dW, du = layer_vjp(2)(W, u, dv)
        dW[1, 0, 0, 0] = 0.0
        return dW, du

    row = check_vjp(layer(2), wrong, FOUR, dy=FIRST).rows[0]
    assert (row.argument, row.along, row.method) == ("W", "entries", "complex step")
    assert (row.compared, row.total, row.worst, row.verdict) == (4, 4, (1, 0, 0, 0), "WRONG")
    assert row.got == 0
    assert abs(row.want - 0.4287) < 1e-4
    assert row.error == row.want
    assert row.step == 1e-20
    assert 0 < row.explained < 1e-12


def test_text_is_the_same_where_rounding_is_another():
    for seed in range(10):  # another order of operations stands for another machine
        s = vectors(seed, low=-1, high=1)
        for vjp in (squash_vjp, across_only):
            texts = {
                str(check_vjp(squash, same, s, seed=seed))
                for same in (vjp, lambda s, dv, vjp=vjp: vjp(s, dv * 3) / 3)
            }
            assert len(texts) == 1, "\n".join(texts)


def test_text_fits_ninety_columns_whatever_is_reported():
    s = np.random.default_rng(0).standard_normal((10, 300))
    reports = [
        check_vjp(function, vjp, {"a_very_long_name_of_an_argument": s}, max_entries=3)
        for function in (squash, real_only(squash), norm_squash)
        for vjp in (squash_vjp, across_only, lambda s, dv: s * np.nan, lambda s, dv: 1e9 * dv)
    ]
    for line in "\n".join(map(str, reports)).split("\n"):
        assert len(line) <= 90, line
        assert "\xa0" not in line


def test_digits_that_rounding_decides_are_never_printed():
    for seed in range(10):
        for _, function, vjp, arguments in right_cases(seed):
            text = str(check_vjp(function, vjp, arguments, directions=1, max_entries=2, seed=seed))
            assert text.startswith("gradient check: PASSED")
            without_steps = re.sub(r"\d\.\de[-+]\d\d", "", text)
            assert not re.search(r"\d\.\d", without_steps), text


# What it is given.


def test_arguments_are_never_written_to():
    def rude(x):
        y = squash(x)
        x *= 0
        return y

    def rude_vjp(x, dy):
        gradient = squash_vjp(x, dy)
        x *= 0
        dy *= 0
        return gradient

    s, dy = S["s"].copy(), np.ones((2, 2))
    assert check_vjp(rude, rude_vjp, {"s": s}, dy=dy).passed
    assert (s == S["s"]).all()
    assert (dy == 1).all()


def test_integers_scalars_and_lists():
    assert check_vjp(squash, squash_vjp, {"s": [[3, 4]]}).passed
    assert check_vjp(lambda x: x * x, lambda x, dy: 2 * x * dy, {"x": 3.0}).passed
    report = check_vjp(lambda x: x * x, lambda x, dy: 3 * x * dy, {"x": 3.0}, dy=1.0)
    assert "x: got 9, want 6 (complex step" in str(report)
    assert check_vjp(lambda x: x * x, lambda x, dy: [2 * x * dy], {"x": np.ones(2)}).passed


def test_the_seed_decides_everything():
    texts = [str(check_vjp(squash, across_only, S, seed=seed)) for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]


@pytest.mark.parametrize(
    "arguments, options, words",
    [
        ([1.0], {}, "arguments: got [1.0], want a dict of names and arrays"),
        ({}, {}, "arguments: got {}, want a dict of names and arrays"),
        ({"s": [1.0, np.nan]}, {}, "s: got NaN or infinite numbers, want finite ones"),
        ({"s": [1j]}, {}, "s: got complex numbers, want real ones"),
        ({"s": ["a"]}, {}, "s: got dtype <U1, want float32, float64, complex or integers"),
        (S, {"dy": np.ones(2)}, "dy: got shape (2,), want (2, 2), the shape of y"),
        (S, {"dy": np.full((2, 2), np.inf)}, "dy: got NaN or infinite numbers"),
        (S, {"directions": -1}, "directions, max_entries: got -1 and 1000"),
        (S, {"directions": 0, "max_entries": 0}, "got 0 and 0, want 0 or more, and not both 0"),
    ],
)
def test_bad_input_is_named(arguments, options, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        check_vjp(squash, squash_vjp, arguments, **options)


def test_one_gradient_for_each_argument():
    with pytest.raises(ValueError, match="vjp: returned 1 gradients, want 2: of W, u"):
        check_vjp(layer(1), lambda W, u, dv: W, layer_point(0))


def test_a_function_that_gives_nan():
    with pytest.raises(ValueError, match="y: got NaN or infinite numbers"):
        check_vjp(lambda s: s * np.nan, squash_vjp, S)


# The numerical derivatives themselves.


def test_pieces_on_a_known_derivative():
    x, d = np.array([0.5, 2.0]), np.array([1.0, -3.0])
    want = np.cos(x) * d
    np.testing.assert_allclose(complex_step(np.sin, x, d), want, rtol=1e-15)
    np.testing.assert_allclose(central_difference(np.sin, x, d, 1e-5), want, rtol=1e-9)
    np.testing.assert_allclose(forward_difference(np.sin, x, d, 1e-8), want, rtol=1e-6)
    h, ones = 1e-3, np.ones(2)  # truncation: h² f'''/6 and h f''/2, to first order
    central = central_difference(np.sin, x, ones, h) - np.cos(x)
    np.testing.assert_allclose(central, -(h**2) / 6 * np.cos(x), rtol=1e-4)
    forward = forward_difference(np.sin, x, ones, h) - np.cos(x)
    np.testing.assert_allclose(forward, -h / 2 * np.sin(x), rtol=1e-2)
    with pytest.raises(TypeError, match="drops the imaginary part"):
        complex_step(abs, x, d)


def test_step_sweep_draws_the_v():
    sweep = step_sweep(layer(3), layer_vjp(3), layer_point(7, batch=(2,)))
    assert sweep.steps.shape == sweep.central.shape == sweep.forward.shape
    forward, central = (sweep.steps[errors.argmin()] for errors in (sweep.forward, sweep.central))
    assert 1e-11 < forward < 1e-6 < central < 1e-3
    assert sweep.central.min() < 1e-8 and sweep.forward.min() < 1e-6
    assert min(sweep.forward[-1], sweep.central[-1]) > 1e-2  # the right arm: rounding
    assert sweep.complex_step[sweep.steps < 1e-8].max() < 1e-13  # flat at the bottom
    assert sweep.complex_step.min() >= np.finfo(float).eps  # so that a log axis can show it
    left = (sweep.steps < 5e-4) & (sweep.steps > 8e-5)  # the left arm: truncation
    for errors, order in ((sweep.forward, 1), (sweep.central, 2)):
        slope = np.polyfit(np.log(sweep.steps[left]), np.log(errors[left]), 1)[0]
        assert abs(slope - order) < 0.1


def test_step_sweep_of_a_wrong_gradient_has_a_floor():
    point = layer_point(7, batch=(2,))
    sweep = step_sweep(layer(3), layer_vjp(3, "frozen"), point, steps=[1e-4, 1e-5, 1e-6])
    assert min(sweep.central.min(), sweep.complex_step.min()) > 1e-3
    np.testing.assert_allclose(sweep.central, sweep.complex_step, rtol=1e-3)
    with pytest.raises(ValueError, match=re.escape("vjp: gives 0.0 along the direction")):
        step_sweep(squash, lambda s, dv: 0 * s, S)
