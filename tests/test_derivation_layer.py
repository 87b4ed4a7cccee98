"""The generated layer: equal to the shipped one, derived and not typed in, worth reading."""

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import sympy as sp
from hypothesis import given
from hypothesis import strategies as st
from reference import assert_close, complex_step
from shapes import EDGES, ITERATIONS, RULES, layer, layers, seeded

from capsedu import capsule_layer, capsule_layer_vjp
from capsedu.derivation import (
    Node,
    derive_frozen_jacobian,
    derive_squash_jacobian,
    generate_forward,
    generate_function,
    generate_layer,
    generate_vjp,
    index,
    tensor,
    total,
)
from capsedu.derivation import layer as layer_module
from capsedu.derivation import nodes as N
from capsedu.equations import EQUATIONS

ROOT = Path(__file__).parents[1]
generated = cache(generate_layer)

a, i, j, j_, l, l_, p = map(index, ("a", "i", "j", "j'", "l", "l'", "p"))
s, v, b, c = (sp.IndexedBase(name, real=True) for name in "svbc")
squared = total(s[a, j, l_] ** 2, l_)
OTHER_SQUASH = Node("squash", v[a, j, l], s[a, j, l] / sp.sqrt(1 + squared))
SIGMOID = Node("coupling", c[a, i, j], 1 / (1 + sp.exp(-b[a, i, j])))


def shipped(W, u, dv, iterations, rule):
    routing = capsule_layer(W, u, iterations)
    return routing.v, *capsule_layer_vjp(W, u, routing, dv, rule)


def assert_equal(got, want, tolerance=1e-13):
    for one, other in zip(got, want, strict=True):
        assert_close(one, other, tolerance)


# Equal to the shipped layer


@seeded
@given(problem=layers, iterations=st.sampled_from(ITERATIONS), rule=st.sampled_from(RULES))
def test_generated_is_shipped(problem, iterations, rule):
    assert_equal(generated(iterations, rule)(*problem), shipped(*problem, iterations, rule))


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("iterations", ITERATIONS)
@pytest.mark.parametrize("edge", EDGES)
def test_generated_is_shipped_at_the_edges(edge, iterations, rule):
    problem = EDGES[edge]
    assert_equal(generated(iterations, rule)(*problem), shipped(*problem, iterations, rule))


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("zero", ["u", "W", "one example", "one output capsule"])
def test_nothing_divides_by_zero(zero, rule):
    W, u, dv = layer(3, 2, 3, 2, (2,))
    if zero == "u":
        u[:] = 0
    elif zero == "W":
        W[:] = 0
    elif zero == "one example":
        u[0] = 0
    else:
        W[:, 0] = 0
    assert_equal(generated(3, rule)(W, u, dv), shipped(W, u, dv, 3, rule))


@pytest.mark.parametrize("rule", RULES)
def test_huge_logits(rule):
    W, u, dv = layer(4, 3, 3, 2, (2,), scale=30)
    W = 30 * W
    assert abs(capsule_layer(W, u, 3).b).max() > 800  # where exp overflows
    got = generated(3, rule)(W, u, dv)
    assert all(np.isfinite(x).all() for x in got)
    assert_equal(got, shipped(W, u, dv, 3, rule))


def test_the_hand_example():
    W, u, dv = np.reshape([1, 2, 1, 0], (2, 2, 1, 1)), np.ones((2, 1)), [[1], [0]]
    wanted = {"frozen": [0.1888, 0, 0.3112, 0], "unrolled": [0.3063, -0.1175, 0.4287, -0.1175]}
    # du_i = Σ_j W_ij dW_ij / u_i, with u = 1: du_1 = dW_11 + 2 dW_12, du_2 = dW_21.
    wanted_du = {"frozen": [0.1888, 0.3112], "unrolled": [0.0713, 0.4287]}
    for rule in RULES:
        _, dW, du = generated(2, rule)(W, u, dv)
        np.testing.assert_allclose(dW.ravel(), wanted[rule], atol=5e-5)
        np.testing.assert_allclose(du.ravel(), wanted_du[rule], atol=1e-4)


# Beyond these sizes nothing is promised: powers of ‖s‖ overflow or underflow, and what comes out
# may be NaN or wrong by as much as itself. So generated code says where it is accurate.
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(
    ("size", "dtype"),
    [(1e-149, float), (1e-100, float), (1e60, float), (1e-17, np.float32), (1e7, np.float32)],
)
def test_tiny_and_huge_inputs(size, dtype, rule):
    W, u, dv = (x.astype(dtype) for x in layer(3, 3, 3, 2, (4,)))
    u *= dtype(size)
    tolerance = 1e-13 if dtype is float else 2e-6
    for iterations in (1, 2, 3):
        got = generated(iterations, rule)(W, u, dv)
        assert_equal(got, shipped(W, u, dv, iterations, rule), tolerance)
        assert all(abs(x).max() > 0 for x in got)


@pytest.mark.parametrize("size", [1e100, 1e150])
def test_huge_inputs_where_the_output_is_accurate_but_not_the_gradient(size):
    W, u, dv = layer(3, 3, 3, 2, (4,))
    with np.errstate(all="ignore"):
        v, _, _ = generated(3)(W, size * u, dv)
    assert_close(v, capsule_layer(W, size * u, 3).v, 1e-13)


def test_the_source_says_where_it_is_accurate():
    assert "from 1e-150 to 1e60 (float32: 1e-18 to 1e7)" in generated(3).source
    assert "1 iteration of" in generated(1).source
    assert "2 iterations of" in generated(2).source


@seeded
@given(problem=layers, iterations=st.sampled_from((1, 2, 3)))
def test_the_unrolled_gradient_is_the_complex_step_of_the_generated_forward(problem, iterations):
    W, u, dv = problem
    function = generated(iterations).function
    _, dW, du = function(W, u, dv)
    assert_close(dW, complex_step(lambda moved: function(moved, u, dv)[0], W, dv), 1e-12)
    assert_close(du, complex_step(lambda moved: function(W, moved, dv)[0], u, dv), 1e-12)


@pytest.mark.parametrize("rule", RULES)
def test_float32_stays_and_integers_become_float64(rule):
    W, u, dv = layer(3, 2, 3, 2, (2,))
    got = generated(3, rule)(*(x.astype(np.float32) for x in (W, u, dv)))
    assert {x.dtype for x in got} == {np.dtype(np.float32)}
    assert_equal(got, generated(3, rule)(W, u, dv), 1e-5)
    whole = [np.round(2 * x).astype(np.int64) for x in (W, u, dv)]
    # The function too, taken from the source alone.
    for function in (generated(3, rule), generated(3, rule).function):
        got = function(*whole)
        assert {x.dtype for x in got} == {np.dtype(np.float64)}
        assert_equal(got, generated(3, rule)(*(x.astype(float) for x in whole)), 1e-15)


def test_inputs_are_not_written_to():
    problem = layer(3, 2, 3, 2, (2,))
    copies = [x.copy() for x in problem]
    generated(3).function(*problem)
    assert all(np.array_equal(x, copy) for x, copy in zip(problem, copies, strict=True))


# Bad input


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"iterations": 0}, "iterations: got 0, want an integer of at least 1"),
        ({"iterations": 1.5}, "iterations: got 1.5"),
        ({"rule": "frosen"}, 'rule: got \'frosen\', want "unrolled" or "frozen"'),
        ({"nodes": [N.MARGIN_LOSS]}, "nodes: got id 'margin-loss', want one of prediction, coup"),
        (
            {"nodes": [Node("squash", v[a, j, l], b[a, i, j] * 0 + s[a, j, l] * c[a, j, l])]},
            "nodes: got squash with output and inputs",
        ),
        (
            {"nodes": [Node("squash", v[a, j, l], sp.Symbol("gain") * s[a, j, l])]},
            "nodes: got squash with output and inputs [v[a, j, l], s[a, j, l], gain]",
        ),
        (
            {"nodes": [Node("squash", v[a, j, l], s[a, j, l] / sp.sqrt(squared))]},
            "at s = 0, want 0 or a corner",
        ),
    ],
)
def test_what_cannot_be_generated_is_refused(arguments, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        generate_layer(**arguments)


@pytest.mark.parametrize("name", ["W", "u", "dv"])
def test_a_wrong_shape_is_refused(name):
    problem = layer(3, 2, 3, 2, (2,))._asdict()
    problem[name] = problem[name][..., :1]  # which NumPy would broadcast
    with pytest.raises(ValueError, match=r"got shape \(.*want \("):
        generated(3)(**problem)


# Derived, not typed in


def forward(W, u, iterations, squash=None, couple=None):
    """The layer written once more, for complex numbers, with another squash or coupling."""
    z = np.einsum("ijlp,...ip->...ijl", W, u)
    b = np.zeros(z.shape[:-1])
    for _ in range(iterations):
        c = couple(b) if couple else np.exp(b) / np.exp(b).sum(axis=-1, keepdims=True)
        s = np.einsum("...ij,...ijl->...jl", c, z)
        squared = (s * s).sum(axis=-1, keepdims=True)
        v = squash(s, squared) if squash else np.sqrt(squared) * s / (1 + squared)
        b = b + np.einsum("...ijl,...jl->...ij", z, v)
    return v


REPLACED = {
    "squash": (OTHER_SQUASH, {"squash": lambda s, squared: s / np.sqrt(1 + squared)}),
    "coupling": (SIGMOID, {"couple": lambda b: 1 / (1 + np.exp(-b))}),
}


@pytest.mark.parametrize("id", REPLACED)
@seeded
@given(problem=layers, iterations=st.sampled_from((1, 2, 3)))
def test_another_formula_gives_another_layer_and_its_gradient(id, problem, iterations):
    node, formula = REPLACED[id]
    W, u, dv = problem
    v, dW, du = generated(iterations, nodes=(node,))(*problem)
    assert_close(v, forward(W, u, iterations, **formula), 1e-13)
    assert_close(
        dW, complex_step(lambda moved: forward(moved, u, iterations, **formula), W, dv), 1e-12
    )
    assert_close(
        du, complex_step(lambda moved: forward(W, moved, iterations, **formula), u, dv), 1e-12
    )


@pytest.mark.parametrize("id", REPLACED)
def test_another_formula_changes_what_is_generated(id):
    problem = layer(3, 3, 2, 2, (2,))
    got = generated(2, nodes=(REPLACED[id][0],))(*problem)
    for one, other in zip(got, generated(2)(*problem), strict=True):
        assert abs(one - other).max() > 0.01 * abs(other).max()


def test_another_squash_at_zero():
    W, u, dv = layer(3, 2, 2, 2)
    v, dW, du = generated(1, nodes=(OTHER_SQUASH,))(W, 0 * u, dv)
    assert not v.any()
    assert not dW.any()
    assert_close(du, np.einsum("ijlp,jl->ip", W, dv) / 2, 1e-14)  # c = 1/2, the Jacobian is 1


def test_a_shift_is_written_only_where_the_formula_ignores_it():
    assert generated(3).source.count(".max(") == 2
    assert ".max(" not in generated(3, nodes=(SIGMOID,)).source
    assert ".max(" not in generated(1).source  # the first logits are 0


@pytest.mark.parametrize("id", [node.id for node in N.LAYER])
@pytest.mark.parametrize("mistake", ["sign", "factor"])
def test_a_wrong_derivation_is_seen(monkeypatch, id, mistake):
    right = layer_module.vjp
    wrong = {"sign": -1, "factor": sp.Rational(1001, 1000)}[mistake]
    monkeypatch.setattr(
        layer_module,
        "vjp",
        lambda node, x: (wrong if node.id == id else 1) * right(node, x),
    )
    problem = layer(3, 3, 2, 2, (2,))
    got, want = generate_layer(2)(*problem), shipped(*problem, 2, "unrolled")
    assert max(abs(x - y).max() / abs(y).max() for x, y in zip(got, want, strict=True)) > 1e-6


# Worth reading

IDS = {equation.id for equation in EQUATIONS}


@pytest.fixture(scope="module")
def sources():
    """The text of everything that can be generated."""
    texts = {f"{rule}_{r}": generated(r, rule).source for rule in RULES for r in ITERATIONS}
    texts |= {node.id: generate_forward(node).source for node in (*N.LAYER, N.MARGIN_LOSS)}
    texts |= {f"{node.id}_vjp": generate_vjp(node).source for node in (*N.LAYER, N.MARGIN_LOSS)}
    for id, entry, expression in (
        ("squash-jacobian", tensor("dv_ds", a, j, l, l_), derive_squash_jacobian()),
        ("frozen-jacobian", tensor("dv_dW", a, j_, l_, i, j, l, p), derive_frozen_jacobian()),
    ):
        texts[id] = generate_function(id, {entry: expression}).source
    return texts


def test_the_source_imports_numpy_alone_and_has_no_loop(sources):
    loops = ast.For | ast.While | ast.comprehension | ast.Lambda
    for name, source in sources.items():
        tree = ast.parse(source)
        assert [ast.unparse(x) for x in ast.walk(tree) if isinstance(x, loops)] == [], name
        imports = [x for x in ast.walk(tree) if isinstance(x, ast.Import | ast.ImportFrom)]
        assert [ast.unparse(x) for x in imports] == ["import numpy as np"], name


def test_the_source_stands_by_itself(sources):
    script = sources["unrolled_2"] + (
        "\nv, dW, du = layer_gradient([[[[1]], [[2]]], [[[1]], [[0]]]], [[1], [1]], [[1], [0]])"
        "\nprint(np.round(dW.ravel(), 4))"
    )
    process = subprocess.run([sys.executable, "-I", "-c", script], capture_output=True, text=True)
    assert process.stdout == "[ 0.3063 -0.1175  0.4287 -0.1175]\n", process.stderr


def test_each_equation_carries_its_id(sources):
    about_axes = re.compile(r"\.reshape\(|np\.asarray\(|= (max\(1, )?\w+\.shape\[")
    for name, source in sources.items():
        lines = re.sub(r"\(\n\s+(.*)\n\s+\)", r"\1", source).split("\n")
        statements = [x for x in lines if re.match(r"    \w+ = ", x) and not about_axes.search(x)]
        assert statements, name
        for line in statements:
            ids = line.partition("  # ")[2].partition(":")[0]
            assert ids in IDS, f"{name}: {line}"


def test_each_line_is_one_equation_and_later_terms_are_added_to_it(sources):
    assert "    db_2 = db_3  # agreement-vjp\n" in sources["unrolled_3"]
    assert "    db_2 = db_2 + c_2 * dc_2 - " in sources["unrolled_3"]
    identity = generated(3, nodes=(Node("squash", v[a, j, l], s[a, j, l]),))
    assert "    ds_2 = dv_2  # squash-vjp\n" in identity.source
    both = generated(3, nodes=(Node("coupling", c[a, i, j], b[a, i, j]),))
    assert "    db_2 = db_2 + dc_2  # coupling-vjp\n" in both.source


def test_only_what_is_needed_is_written(sources):
    for name, source in sources.items():
        names = re.findall(r"^    (\w+) = ", source, re.MULTILINE)
        assert all(len(re.findall(rf"\b{x}\b", source)) > 1 for x in names), name
    assert "db_" not in sources["frozen_3"]
    assert "dc_" not in sources["frozen_3"]
    assert "b_4" not in sources["unrolled_3"]


def test_the_text_is_the_same_in_every_run(sources):
    script = (
        "from capsedu.derivation import generate_layer; print(generate_layer(2).source, end='')"
    )
    for seed in "12":
        process = subprocess.run(
            [sys.executable, "-c", script],
            capture_output=True,
            text=True,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
        )
        assert process.stdout == sources["unrolled_2"], process.stderr


@pytest.mark.style
@pytest.mark.parametrize("command", [["check"], ["format", "--check"]], ids=" ".join)
def test_the_source_is_in_style(sources, tmp_path, command):
    for name, source in sources.items():
        (tmp_path / f"{name.replace('-', '_')}.py").write_text(source)
    ruff = [sys.executable, "-m", "ruff", *command, "--no-cache"]
    ruff += ["--config", str(ROOT / "pyproject.toml"), str(tmp_path)]
    process = subprocess.run(ruff, capture_output=True, text=True)
    assert process.returncode == 0, process.stdout + process.stderr
