"""Bad input: a ValueError that names the argument, what it was, and what it should be."""

import inspect
import re

import numpy as np
import pytest

import capsedu
from capsedu import (
    capsule_layer,
    capsule_layer_vjp,
    dv_dW,
    margin_loss,
    margin_loss_vjp,
    predict,
    predict_vjp,
    route,
    route_vjp,
    softmax,
    softmax_vjp,
    squash,
    squash_jacobian,
    squash_vjp,
)

W, u = np.ones((4, 3, 2, 5)), np.ones((6, 4, 5))  # I = 4, J = 3, m = 2, n = 5, a batch of 6
z, dv = predict(W, u), np.ones((6, 3, 2))
plain, layer = route(z), capsule_layer(W, u)
v, labels = layer.v, np.zeros(6, int)


def ones(*shape):
    return np.ones(shape)


S_WANT = "(…, m)"
W_WANT = "(I, J, m, n)"
WRONG_SHAPES = {
    "softmax b, a number": (lambda: softmax(1.0), "b", "()", "(…, J)"),
    "softmax b, no output": (lambda: softmax(ones(4, 0)), "b", "(4, 0)", "(…, J)"),
    "softmax_vjp c": (lambda: softmax_vjp(1.0, 1.0), "c", "()", "(…, J)"),
    "softmax_vjp dc": (
        lambda: softmax_vjp(ones(4, 3), ones(4, 2)),
        "dc",
        "(4, 2)",
        "(4, 3), which is (…, J)",
    ),
    "softmax_vjp dc, a row for all": (
        lambda: softmax_vjp(ones(4, 3), ones(3)),
        "dc",
        "(3,)",
        "(4, 3)",
    ),
    "squash s, a number": (lambda: squash(3.0), "s", "()", S_WANT),
    "squash s, no entry": (lambda: squash(ones(2, 0)), "s", "(2, 0)", S_WANT),
    "squash_jacobian s": (lambda: squash_jacobian(3.0), "s", "()", S_WANT),
    "squash_jacobian s, no entry": (lambda: squash_jacobian(ones(0)), "s", "(0,)", S_WANT),
    "squash_vjp s": (lambda: squash_vjp(3.0, 1.0), "s", "()", S_WANT),
    "squash_vjp dv": (lambda: squash_vjp(ones(3, 2), ones(3, 1)), "dv", "(3, 1)", "(3, 2)"),
    "squash_vjp dv, one for all": (
        lambda: squash_vjp(ones(3, 2), ones(2)),
        "dv",
        "(2,)",
        "(3, 2), which is (…, m)",
    ),
    "predict W, one axis short": (lambda: predict(ones(4, 3, 2), u), "W", "(4, 3, 2)", W_WANT),
    "predict W, batched": (
        lambda: predict(ones(6, 4, 3, 2, 5), u),
        "W",
        "(6, 4, 3, 2, 5)",
        W_WANT,
    ),
    "predict W, no outputs": (
        lambda: predict(ones(4, 0, 2, 5), u),
        "W",
        "(4, 0, 2, 5)",
        W_WANT,
    ),
    "predict u, wrong n": (lambda: predict(W, ones(6, 4, 2)), "u", "(6, 4, 2)", "(…, 4, 5)"),
    "predict u, wrong I": (
        lambda: predict(W, ones(3, 5)),
        "u",
        "(3, 5)",
        "(…, 4, 5), which is (…, I, n)",
    ),
    "predict u, one axis": (lambda: predict(W, ones(5)), "u", "(5,)", "(…, 4, 5)"),
    "predict_vjp W": (lambda: predict_vjp(ones(4), u, z), "W", "(4,)", W_WANT),
    "predict_vjp u": (lambda: predict_vjp(W, ones(6, 5, 4), z), "u", "(6, 5, 4)", "(…, 4, 5)"),
    "predict_vjp dz, transposed": (
        lambda: predict_vjp(W, u, ones(6, 3, 4, 2)),
        "dz",
        "(6, 3, 4, 2)",
        "(6, 4, 3, 2), which is (…, I, J, m)",
    ),
    "predict_vjp dz, no batch": (
        lambda: predict_vjp(W, u, ones(4, 3, 2)),
        "dz",
        "(4, 3, 2)",
        "(6, 4, 3, 2)",
    ),
    "route z, two axes": (lambda: route(ones(3, 2)), "z", "(3, 2)", "(…, I, J, m)"),
    "route z, no inputs": (lambda: route(ones(0, 3, 2)), "z", "(0, 3, 2)", "(…, I, J, m)"),
    "route z, no outputs": (lambda: route(ones(4, 0, 2)), "z", "(4, 0, 2)", "(…, I, J, m)"),
    "route_vjp dv": (
        lambda: route_vjp(plain, ones(6, 2, 3)),
        "dv",
        "(6, 2, 3)",
        "(6, 3, 2), which is (…, J, m)",
    ),
    "route_vjp dv, one for all": (
        lambda: route_vjp(plain, ones(3, 2)),
        "dv",
        "(3, 2)",
        "(6, 3, 2)",
    ),
    "capsule_layer W": (lambda: capsule_layer(ones(3, 2, 5), u), "W", "(3, 2, 5)", W_WANT),
    "capsule_layer u": (lambda: capsule_layer(W, ones(4, 2)), "u", "(4, 2)", "(…, 4, 5)"),
    "capsule_layer_vjp W": (
        lambda: capsule_layer_vjp(ones(3, 2, 5), u, layer, dv),
        "W",
        "(3, 2, 5)",
        W_WANT,
    ),
    "capsule_layer_vjp u": (
        lambda: capsule_layer_vjp(W, ones(6, 4, 2), layer, dv),
        "u",
        "(6, 4, 2)",
        "(…, 4, 5)",
    ),
    "capsule_layer_vjp routing, of another batch": (
        lambda: capsule_layer_vjp(W, ones(2, 4, 5), layer, ones(2, 3, 2)),
        "routing.c",
        "(6, 4, 3)",
        "(2, 4, 3), which is (…, I, J)",
    ),
    "capsule_layer_vjp routing, of another W": (
        lambda: capsule_layer_vjp(ones(4, 3, 7, 5), u, layer, ones(6, 3, 7)),
        "routing.s",
        "(6, 3, 2)",
        "(6, 3, 7), which is (…, J, m)",
    ),
    "capsule_layer_vjp dv": (
        lambda: capsule_layer_vjp(W, u, layer, ones(6, 3)),
        "dv",
        "(6, 3)",
        "(6, 3, 2)",
    ),
    "dv_dW W": (lambda: dv_dW(ones(3, 2, 5), u[0]), "W", "(3, 2, 5)", W_WANT),
    "dv_dW u": (lambda: dv_dW(W, ones(4, 2)), "u", "(4, 2)", "(…, 4, 5)"),
    "dv_dW u, a batch": (lambda: dv_dW(W, u), "u", "(6, 4, 5)", "(4, 5), which is (I, n)"),
    "margin_loss v": (lambda: margin_loss(ones(3), 0), "v", "(3,)", "(…, J, m)"),
    "margin_loss v, no outputs": (
        lambda: margin_loss(ones(0, 2), 0),
        "v",
        "(0, 2)",
        "(…, J, m)",
    ),
    "margin_loss labels, too few": (
        lambda: margin_loss(v, labels[:5]),
        "labels",
        "(5,)",
        "(6,), the batch axes of v (6, 3, 2)",
    ),
    "margin_loss labels, one for all": (lambda: margin_loss(v, 0), "labels", "()", "(6,)"),
    "margin_loss labels, one-hot": (
        lambda: margin_loss(v, np.eye(3, dtype=int)[labels]),
        "labels",
        "(6, 3)",
        "(6,)",
    ),
    "margin_loss_vjp v": (lambda: margin_loss_vjp(ones(3), 0), "v", "(3,)", "(…, J, m)"),
    "margin_loss_vjp labels": (
        lambda: margin_loss_vjp(v, labels[:, None]),
        "labels",
        "(6, 1)",
        "(6,)",
    ),
}


@pytest.mark.parametrize("case", WRONG_SHAPES)
def test_wrong_shape(case):
    call, name, had, want = WRONG_SHAPES[case]
    with pytest.raises(ValueError) as raised:
        call()
    assert str(raised.value).startswith(f"{name}: got shape {had}, want {want}")


# Every function of numbers, with each of its arguments in turn replaced by `x`.
NUMBERS = {
    "softmax b": ("b", lambda x: softmax(x)),
    "softmax_vjp c": ("c", lambda x: softmax_vjp(x, ones(2))),
    "softmax_vjp dc": ("dc", lambda x: softmax_vjp(ones(2), x)),
    "squash s": ("s", lambda x: squash(x)),
    "squash_jacobian s": ("s", lambda x: squash_jacobian(x)),
    "squash_vjp s": ("s", lambda x: squash_vjp(x, ones(2))),
    "squash_vjp dv": ("dv", lambda x: squash_vjp(ones(2), x)),
    "predict W": ("W", lambda x: predict(x, u)),
    "predict u": ("u", lambda x: predict(W, x)),
    "predict_vjp W": ("W", lambda x: predict_vjp(x, u, z)),
    "predict_vjp u": ("u", lambda x: predict_vjp(W, x, z)),
    "predict_vjp dz": ("dz", lambda x: predict_vjp(W, u, x)),
    "route z": ("z", lambda x: route(x)),
    "route_vjp dv": ("dv", lambda x: route_vjp(plain, x)),
    "capsule_layer W": ("W", lambda x: capsule_layer(x, u)),
    "capsule_layer u": ("u", lambda x: capsule_layer(W, x)),
    "capsule_layer_vjp W": ("W", lambda x: capsule_layer_vjp(x, u, layer, dv)),
    "capsule_layer_vjp u": ("u", lambda x: capsule_layer_vjp(W, x, layer, dv)),
    "capsule_layer_vjp dv": ("dv", lambda x: capsule_layer_vjp(W, u, layer, x)),
    "dv_dW W": ("W", lambda x: dv_dW(x, u[0])),
    "dv_dW u": ("u", lambda x: dv_dW(W, x)),
    "margin_loss v": ("v", lambda x: margin_loss(x, labels)),
    "margin_loss_vjp v": ("v", lambda x: margin_loss_vjp(x, labels)),
}


@pytest.mark.parametrize("case", NUMBERS)
def test_no_numbers(case):
    name, call = NUMBERS[case]
    for x, had in ((["a", "b"], "dtype <U1"), (None, "dtype object")):
        with pytest.raises(
            ValueError, match=f"^{name}: got {had}, want float32, float64, complex or integers"
        ):
            call(x)
    with pytest.raises(ValueError, match=f"^{name}: rows of different lengths, want an array"):
        call([[1.0, 2.0], [3.0]])


@pytest.mark.parametrize("call", [route, lambda z, r: capsule_layer(W, u, r)])
@pytest.mark.parametrize("r", [0, -1, 2.0, 2.5, None, "3", np.nan, [3]])
def test_iterations(call, r):
    with pytest.raises(ValueError) as raised:
        call(z, r)
    assert str(raised.value) == f"iterations: got {r!r}, want an integer of at least 1"


@pytest.mark.parametrize("r", [0, 1.5])
def test_iterations_of_dv_dW(r):
    with pytest.raises(ValueError, match=f"^iterations: got {r}, want an integer of at least 1"):
        dv_dW(W, u[0], r)


def test_iterations_may_be_any_integer_type():
    for r in (np.int64(2), np.uint8(2)):
        np.testing.assert_array_equal(route(z, r).v, route(z, 2).v)


@pytest.mark.parametrize("rule", ["", "Frozen", "unroll", None, 1, ["frozen"]])
@pytest.mark.parametrize(
    "call",
    [
        lambda rule: route_vjp(plain, dv, rule),
        lambda rule: capsule_layer_vjp(W, u, layer, dv, rule),
        lambda rule: dv_dW(W, u[0], 3, rule),
    ],
    ids=["route_vjp", "capsule_layer_vjp", "dv_dW"],
)
def test_rule(call, rule):
    with pytest.raises(ValueError) as raised:
        call(rule)
    assert str(raised.value) == f'rule: got {rule!r}, want "unrolled" or "frozen"'


def test_rule_is_checked_where_both_would_agree():
    with pytest.raises(ValueError, match=r"^rule: got 'exact'"):
        route_vjp(route(z, 1), dv, "exact")


def test_a_layer_result_goes_to_the_layer_vjp():
    with pytest.raises(ValueError, match=r"^routing: holds no z, want the result of route\(z\)"):
        route_vjp(layer, dv)


@pytest.mark.parametrize("function", [margin_loss, margin_loss_vjp])
@pytest.mark.parametrize(
    "bad, had",
    [
        (3, "values from 0 to 3"),
        (-1, "values from -1 to 0"),
        (np.iinfo(np.int64).max, f"values from 0 to {np.iinfo(np.int64).max}"),
    ],
)
def test_labels_out_of_range(function, bad, had):
    wrong = labels.copy()
    wrong[4] = bad
    with pytest.raises(ValueError) as raised:
        function(v, wrong)
    want = "want integers from 0 to 2, one of the 3 output capsules"
    assert str(raised.value) == f"labels: got {had}, {want}"


@pytest.mark.parametrize("function", [margin_loss, margin_loss_vjp])
@pytest.mark.parametrize(
    "wrong, dtype",
    [
        (np.zeros(6), "float64"),
        (np.zeros(6, bool), "bool"),
        (["a"] * 6, "<U1"),
        ([None] * 6, "object"),
    ],
)
def test_labels_are_integers(function, wrong, dtype):
    with pytest.raises(ValueError) as raised:
        function(v, wrong)
    assert str(raised.value) == f"labels: got dtype {dtype}, want integers from 0 to 2"


@pytest.mark.parametrize("function", [margin_loss, margin_loss_vjp])
def test_ragged_labels(function):
    with pytest.raises(ValueError, match=r"^labels: rows of different lengths, want an array"):
        function(v, [[0], [1, 2]])


@pytest.mark.parametrize("function", [margin_loss, margin_loss_vjp])
@pytest.mark.parametrize("name", ["m_plus", "m_minus", "down_weight"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, "0.9", None, [0.9, 0.1], 1j])
def test_margins_are_numbers(function, name, bad):
    with pytest.raises(ValueError) as raised:
        function(v, labels, **{name: bad})
    assert str(raised.value) == f"{name}: got {bad!r}, want a finite number"


@pytest.mark.parametrize("function", [margin_loss, margin_loss_vjp])
def test_a_margin_of_higher_precision_does_not_raise_that_of_the_result(function):
    assert function(v.astype(np.float32), labels, m_plus=np.float64(0.9)).dtype == np.float32


@pytest.mark.parametrize(
    "call", [lambda x: route_vjp(x, dv), lambda x: capsule_layer_vjp(W, u, x, dv)]
)
def test_an_array_is_no_routing(call):
    with pytest.raises(ValueError, match=r"^routing: got ndarray, want the Routing"):
        call(z)


@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.int64, np.uint64])
def test_labels_of_any_integer_type(kind):
    assert margin_loss(v, labels.astype(kind)) == margin_loss(v, labels)


def test_every_argument_of_every_function_is_tried():
    """An argument that is added later must be given a bad value here too."""
    tried = {tuple(case.split(",")[0].split()) for case in [*WRONG_SHAPES, *NUMBERS]}
    for name in set(capsedu.__all__) - {"Routing"}:
        for parameter in inspect.signature(getattr(capsedu, name)).parameters:
            elsewhere = {"iterations", "rule", "m_plus", "m_minus", "down_weight"}
            if parameter not in elsewhere and (name, parameter) != ("route_vjp", "routing"):
                assert (name, parameter) in tried


SIGNATURES = """
softmax(b)  softmax_vjp(c, dc)
squash(s)  squash_jacobian(s)  squash_vjp(s, dv)
predict(W, u)  predict_vjp(W, u, dz)
route(z, iterations=3)  route_vjp(routing, dv, rule='unrolled')
capsule_layer(W, u, iterations=3)  capsule_layer_vjp(W, u, routing, dv, rule='unrolled')
dv_dW(W, u, iterations=3, rule='unrolled')
margin_loss(v, labels, m_plus=0.9, m_minus=0.1, down_weight=0.5)
margin_loss_vjp(v, labels, m_plus=0.9, m_minus=0.1, down_weight=0.5)
"""


def test_the_public_signatures_are_those_that_others_call():
    wanted = dict(re.findall(r"(\w+)(\(.*?\))", SIGNATURES))
    found = {}
    for name in set(capsedu.__all__) - {"Routing"}:
        signature = inspect.signature(getattr(capsedu, name))
        plain = [
            p.replace(annotation=inspect.Parameter.empty) for p in signature.parameters.values()
        ]
        found[name] = str(inspect.Signature(plain))
    assert found == wanted


@pytest.mark.parametrize("name", ["squash", "softmax"])
def test_half_precision_is_refused(name):
    with pytest.raises(ValueError, match=r"^[sb]: got dtype float16, want float32, float64"):
        getattr(capsedu, name)(np.ones(3, np.float16))


def test_masked_entries_are_refused():
    masked = np.ma.array([1.0, 2.0], mask=[True, False])
    with pytest.raises(ValueError, match=r"^s: got masked entries"):
        squash(masked)
    with pytest.raises(ValueError, match=r"^labels: got masked entries"):
        margin_loss(v, np.ma.array(labels, mask=labels == 0))
    np.testing.assert_array_equal(squash(np.ma.array([3.0, 4.0])), squash([3.0, 4.0]))


def test_a_routing_of_no_iteration_is_none():
    with pytest.raises(ValueError, match=r"^routing: got Routing, want the Routing of the forward"):
        capsule_layer_vjp(W, u, capsedu.Routing(()), dv)
