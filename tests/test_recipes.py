"""The recipes of notebook 07, taken out of the page and run: each names the gradient it says."""

import io
import re
import sys
import types
from contextlib import redirect_stdout

import autograd
import nbformat
import notebook_state as state
import numpy as np
import pytest
from autograd import numpy as anp
from autograd.tracer import getval
from reference import assert_close, autograd_layer

PAGE = nbformat.read(state.NOTEBOOKS / "07_which_gradient.ipynb", as_version=4)
V = [0.5, 0.6078]
WANTED = {  # by what is held: dL/dW of the four integers
    "nothing": [0.3063, -0.1175, 0.4287, -0.1175],
    "c": [0.1888, 0, 0.3112, 0],
    "z": [0.2475, -0.0588, 0.3700, -0.0588],
    "v": [0.2475, -0.0588, 0.3700, -0.0588],
}
FRAMEWORKS = {"torch": "import torch", "tensorflow": "import tensorflow", "jax": "import jax\n"}


def recipe(framework):
    """The one fenced block of the page that imports the framework."""
    text = "\n".join(cell.source for cell in PAGE.cells if cell.cell_type == "markdown")
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    (block,) = (block for block in blocks if FRAMEWORKS[framework] in block)
    return block


def run(source):
    """What the recipe prints, by what it holds, and its functions."""
    names, printed = {"__name__": "recipe"}, io.StringIO()
    with redirect_stdout(printed):
        exec(compile(source, "<07_which_gradient>", "exec"), names)
    lines = printed.getvalue().replace("\n ", " ").splitlines()
    held = [re.match(r"hold (\w+)", line)[1] for line in lines]
    numbers = [
        [float(x) for x in re.findall(r"-?\d+\.\d*(?:e-?\d+)?|-?\b0\b", line)] for line in lines
    ]
    return dict(zip(held, numbers, strict=True)), names


def faults(source):
    """The variants whose outputs or gradient are not the ones that they should be."""
    found, _ = run(source)
    assert found.keys() == WANTED.keys()
    return [held for held in WANTED if not np.allclose(found[held], V + WANTED[held], atol=1e-4)]


@pytest.fixture
def autograd_as_jax(monkeypatch):
    """What the recipe takes from JAX, in autograd: so that one recipe at least is always run."""

    def softmax(b, axis):
        weights = anp.exp(b - anp.max(b, axis=axis, keepdims=True))
        return weights / anp.sum(weights, axis=axis, keepdims=True)

    def grad(function, has_aux):
        def with_aux(W, *rest):
            return autograd.grad(lambda W: function(W, *rest)[0])(W), function(W, *rest)[1]

        return with_aux

    jax = types.ModuleType("jax")
    jax.grad, jax.numpy = grad, anp
    jax.lax = types.SimpleNamespace(stop_gradient=getval)
    jax.nn = types.SimpleNamespace(softmax=softmax)
    monkeypatch.setitem(sys.modules, "jax", jax)
    monkeypatch.setitem(sys.modules, "jax.numpy", anp)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_recipe_has_the_gradients_that_it_says(framework):
    pytest.importorskip(framework)
    assert faults(recipe(framework)) == []


def test_one_recipe_is_run_without_its_framework(autograd_as_jax):
    assert faults(recipe("jax")) == []


@pytest.mark.parametrize(
    ("right", "wrong", "caught"),
    [
        ("jax.lax.stop_gradient(x) if name in held", "x if name in held", ["c", "z", "v"]),
        (
            'hold("z", z), hold("v", v)',
            'hold("z", jax.lax.stop_gradient(z)), hold("v", v)',
            ["nothing", "v"],
        ),
        ("softmax(b, axis=-1)", "softmax(b, axis=-2)", [*WANTED]),
    ],
)
def test_a_wrong_one_is_caught_without_its_framework(autograd_as_jax, right, wrong, caught):
    source = recipe("jax")
    assert right in source
    assert faults(source.replace(right, wrong)) == caught


@pytest.mark.parametrize(
    ("right", "wrong", "caught"),
    [
        ("if name in held else", 'if name == "c" and name in held else', ["z", "v"]),
        ("x.detach() if name in held", "x if name in held", ["c", "z", "v"]),
        ('hold("z", z), hold("v", v)', 'hold("z", z.detach()), hold("v", v)', ["nothing", "v"]),
        ("softmax(b, dim=-1)", "softmax(b, dim=-2)", [*WANTED]),
        ("iterations=2", "iterations=3", [*WANTED]),
        ("squared.sqrt() * s", "squared * s", [*WANTED]),
    ],
)
def test_a_wrong_recipe_is_caught(right, wrong, caught):
    pytest.importorskip("torch")
    source = recipe("torch")
    assert right in source
    assert faults(source.replace(right, wrong)) == caught


RNG = np.random.default_rng(0)
W, U, DV = RNG.normal(size=(5, 4, 3, 2)), RNG.normal(size=(6, 5, 2)), RNG.normal(size=(6, 4, 3))
HELD = {"": "", "c": "zv", "z": "z", "v": "v", "zv": "zv"}  # as in the reference


def loss(layer, *options):
    return lambda W: anp.sum(layer(W, U, 3, *options) * DV)


@pytest.mark.parametrize(("held", "detached"), HELD.items())
def test_without_its_framework_it_is_the_layer_for_vectors_too(autograd_as_jax, held, detached):
    layer = run(recipe("jax"))[1]["capsule_layer"]
    want = autograd.grad(loss(autograd_layer, detached))(W)
    assert_close(autograd.grad(loss(layer, held))(W), want, 1e-12)


@pytest.mark.parametrize(("held", "detached"), HELD.items())
def test_it_is_the_layer_for_vectors_too(held, detached):
    torch = pytest.importorskip("torch")
    layer = run(recipe("torch"))[1]["capsule_layer"]
    leaf = torch.tensor(W, requires_grad=True)
    (layer(leaf, torch.tensor(U), 3, held) * torch.tensor(DV)).sum().backward()
    assert_close(leaf.grad.numpy(), autograd.grad(loss(autograd_layer, detached))(W), 1e-12)


def test_the_page_has_one_recipe_for_each_framework():
    for framework in FRAMEWORKS:
        compile(recipe(framework), framework, "exec")
