"""The verifier is verified: every equation passes, and each planted mistake fails in its row."""

import functools
import subprocess
import sys

import numpy as np
import pytest

import capsedu
from capsedu.command_line import main
from capsedu.equations import EQUATIONS
from capsedu.verification import BOUNDS, CHECKS, verify


def failing(*functions):
    """The ids that fail among the equations of the functions named."""
    chosen = [e for e in EQUATIONS if e.function in {f"capsedu.{name}" for name in functions}]
    return {row.equation.id for row in verify(equations=chosen) if not row.passed}


def test_every_equation_is_checked():
    assert list(CHECKS) == [equation.id for equation in EQUATIONS]


def test_the_command_verifies_all(capsys):
    assert main(["verify"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in printed[2:-1]] == [equation.id for equation in EQUATIONS]
    assert all(line.endswith("ok") for line in printed[2:-1])
    assert printed[-1] == f"{len(EQUATIONS)} equations verified, seed 0."


def test_the_command_fails_with_one_that_is_wrong(monkeypatch, capsys):
    monkeypatch.setattr(capsedu, "softmax_vjp", lambda c, dc: c * dc)
    monkeypatch.setattr(
        "capsedu.verification.verify",
        lambda seed: verify(seed, [e for e in EQUATIONS if e.id.startswith("coupling")]),
    )
    assert main(["verify", "--seed", "3"]) == 1
    printed = capsys.readouterr().out.splitlines()
    assert printed[-3].startswith("coupling-vjp") and printed[-3].endswith("FAILED")
    assert printed[-2].startswith("coupling-vjp says db_ij = c_ij (dc_ij")
    assert printed[-1] == "1 of 2 equations FAILED, seed 3."


@pytest.mark.parametrize("seed", ["-1", "one", "1.5"])
def test_the_command_wants_a_seed(capsys, seed):
    with pytest.raises(SystemExit, match="2"):
        main(["verify", "--seed", seed])
    assert f"got '{seed}', want an integer of at least 0" in capsys.readouterr().err


def test_the_command_says_what_is_missing(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "capsedu.verification", None)
    assert main(["verify"]) == 1
    assert "is missing: pip install 'capsedu[lab]'" in capsys.readouterr().err


def test_the_command_stops_quietly_when_nobody_reads():
    command = (
        f"{sys.executable} -c 'from capsedu.command_line import main; exit(main([\"verify\"]))'"
    )
    process = subprocess.run(
        ["bash", "-c", f"{command} | head -1; exit ${{PIPESTATUS[0]}}"],
        capture_output=True,
        text=True,
    )
    assert process.returncode == 141
    assert process.stderr == "" and process.stdout.startswith("equation")


def test_another_seed_is_another_shape():
    (one,), (other,) = (list(verify(seed, EQUATIONS[:1])) for seed in (0, 1))
    assert one.errors != other.errors


original = {name: getattr(capsedu, name) for name in capsedu.__all__}.get


def epsilon_squash(s):
    norm = np.sqrt((s * s).sum(-1, keepdims=True) + 1e-7)
    return norm * s / (1 + norm * norm)


def plain_normalisation(s):
    return s / np.sqrt((s * s).sum(-1, keepdims=True))


def jacobian_diagonal_only(s):
    J = original("squash_jacobian")(s)
    return J * np.eye(J.shape[-1])


def norm_as_constant(s, dv):
    norm = np.sqrt((s * s).sum(-1, keepdims=True))
    return norm / (1 + norm * norm) * dv


def softmax_over_inputs(b):
    exp = np.exp(b)
    return exp / exp.sum(-2, keepdims=True)


def stale_route(z, iterations=3):
    return original("route")(z, max(1, iterations - 1))


def unscaled_agreement(z, iterations=3):
    """The logits are not accumulated: only the last agreement counts."""
    b = np.zeros(z.shape[:-1])
    steps = []
    for _ in range(iterations):
        c = capsedu.softmax(b)
        s = np.einsum("...ij,...ijm->...jm", c, z)
        v = capsedu.squash(s)
        steps.append(capsedu.routing.Iteration(b, c, s, v))
        b = np.einsum("...ijm,...jm->...ij", z, v)
    return capsedu.Routing(tuple(steps), z)


def squash_before_the_sum(z, iterations=3):
    routing = original("route")(z, iterations)
    steps = [
        step._replace(s=np.einsum("...ij,...ijm->...jm", step.c, capsedu.squash(z)))
        for step in routing.steps
    ]
    return capsedu.Routing(tuple(steps), z)


def agreement_added_twice(z, iterations=3):
    routing = original("route")(z, iterations)
    return capsedu.Routing(tuple(step._replace(b=2 * step.b) for step in routing.steps), z)


def frozen_always(routing, dv, rule="unrolled"):
    return original("route_vjp")(routing, dv, "frozen")


def unrolled_always(routing, dv, rule="unrolled"):
    return original("route_vjp")(routing, dv, "unrolled")


def last_two_iterations_only(routing, dv, rule="unrolled"):
    if rule == "frozen":
        return original("route_vjp")(routing, dv, rule)
    late = capsedu.Routing(routing.steps[-2:], routing.z)
    return original("route_vjp")(late, dv, rule)


def squares_missing(v, labels, m_plus=0.9, m_minus=0.1, down_weight=0.5):
    length = np.linalg.norm(v, axis=-1)
    T = np.eye(v.shape[-2])[labels]
    hinges = T * np.maximum(0, m_plus - length)
    return (hinges + down_weight * (1 - T) * np.maximum(0, length - m_minus)).sum() / len(labels)


def scaled(name, factor):
    """The right function, its last result off by a factor."""

    def wrong(*arguments, **named):
        found = original(name)(*arguments, **named)
        return (*found[:-1], found[-1] * factor) if isinstance(found, tuple) else found * factor

    return wrong


def one_entry_off(name):
    """The right function, one entry of its result 0.1 % off."""

    def wrong(*arguments, **named):
        found = np.array(original(name)(*arguments, **named))
        found[np.unravel_index(abs(found).argmax(), found.shape)] *= 1.001
        return found

    return wrong


def mean_for_sum(W, u, dz):
    dW, du = original("predict_vjp")(W, u, dz)
    return dW / len(u), du


def W_for_its_transpose(W, u, dz):
    dW, du = original("predict_vjp")(W, u, dz)
    return dW, original("predict_vjp")(-W, u, dz)[1]


def textbook_squash(s):
    norm = np.sqrt((s * s).sum(-1, keepdims=True))
    with np.errstate(invalid="ignore"):
        return norm**2 / (1 + norm**2) * s / norm


def textbook_squash_vjp(s, dv):
    t = np.sqrt((s * s).sum(-1, keepdims=True))
    with np.errstate(invalid="ignore", divide="ignore"):
        h = (1 - t * t) / (t * (1 + t * t) ** 2)
        return t / (1 + t * t) * dv + h * (s * dv).sum(-1, keepdims=True) * s


def nan_at_the_corner(v, labels, **margins):
    dv = original("margin_loss_vjp")(v, labels, **margins)
    return np.where((v * v).sum(-1, keepdims=True) == 0, np.nan, dv)


def three_iterations_whatever_was_asked(z, iterations=3):
    return original("route")(z, 3)


def frozen_by_default(routing, dv, rule="frozen"):
    return original("route_vjp")(routing, dv, rule)


def layer_on_2W(W, u, iterations=3):
    return original("capsule_layer")(2 * np.asarray(W), u, iterations)


def scaled_iterations(W, u, iterations=3):
    return original("capsule_layer")(W, u, iterations + 1)


def sign_of_dW(W, u, routing, dv, rule="unrolled"):
    dW, du = original("capsule_layer_vjp")(W, u, routing, dv, rule)
    return -dW, du


def layer_frozen_by_default(W, u, routing, dv, rule="frozen"):
    return original("capsule_layer_vjp")(W, u, routing, dv, rule)


def raises(*arguments, **named):
    raise RuntimeError("not today")


def nan(s):
    return original("squash")(s) * np.nan


MISTAKES = [
    ("squash", epsilon_squash, {"squash"}),
    ("squash", plain_normalisation, {"squash"}),
    ("squash", nan, {"squash"}),
    ("squash", textbook_squash, {"squash"}),
    ("squash", raises, {"squash"}),
    ("squash_jacobian", jacobian_diagonal_only, {"squash-jacobian"}),
    ("squash_jacobian", one_entry_off("squash_jacobian"), {"squash-jacobian"}),
    ("squash_vjp", norm_as_constant, {"squash-vjp"}),
    ("squash_vjp", scaled("squash_vjp", -1), {"squash-vjp"}),
    ("squash_vjp", textbook_squash_vjp, {"squash-vjp"}),
    ("predict", scaled("predict", 1.001), {"prediction"}),
    ("predict_vjp", mean_for_sum, {"prediction-vjp"}),
    ("predict_vjp", W_for_its_transpose, {"prediction-vjp"}),
    ("predict_vjp", scaled("predict_vjp", 1.001), {"prediction-vjp"}),
    ("softmax", softmax_over_inputs, {"coupling"}),
    ("softmax_vjp", scaled("softmax_vjp", 1.001), {"coupling-vjp"}),
    ("route", stale_route, {"total-input", "agreement", "routing"}),
    ("route", unscaled_agreement, {"routing"}),
    ("route", squash_before_the_sum, {"total-input"}),
    ("route", agreement_added_twice, {"agreement"}),
    ("route", three_iterations_whatever_was_asked, {"routing"}),
    ("route_vjp", frozen_always, {"agreement-vjp", "unrolled-vjp"}),
    ("route_vjp", frozen_by_default, {"agreement-vjp", "unrolled-vjp"}),
    ("route_vjp", unrolled_always, {"frozen-vjp"}),
    ("route_vjp", last_two_iterations_only, {"unrolled-vjp"}),
    ("dv_dW", one_entry_off("dv_dW"), {"frozen-jacobian", "unrolled-jacobian"}),
    ("margin_loss", squares_missing, {"margin-loss"}),
    ("margin_loss", functools.partial(capsedu.margin_loss), set()),
    ("margin_loss_vjp", scaled("margin_loss_vjp", 1.001), {"margin-loss-vjp"}),
    ("margin_loss_vjp", nan_at_the_corner, {"margin-loss-vjp"}),
    ("capsule_layer", layer_on_2W, {"layer"}),
    ("capsule_layer", scaled_iterations, {"layer"}),
    ("capsule_layer_vjp", sign_of_dW, {"layer-vjp"}),
    ("capsule_layer_vjp", scaled("capsule_layer_vjp", 1.001), {"layer-vjp"}),
    ("capsule_layer_vjp", layer_frozen_by_default, {"layer-vjp"}),
    ("margin_loss_vjp", one_entry_off("margin_loss_vjp"), {"margin-loss-vjp"}),
]


@pytest.mark.sweep
@pytest.mark.parametrize(
    ("name", "wrong", "rows"),
    MISTAKES,
    ids=[f"{name}-{getattr(wrong, '__name__', 'right')}" for name, wrong, _ in MISTAKES],
)
def test_a_planted_mistake_fails_in_its_row(monkeypatch, name, wrong, rows):
    monkeypatch.setattr(capsedu, name, wrong)
    assert failing(name) == rows


def test_every_shipped_function_has_a_planted_mistake():
    assert set(capsedu.__all__) - {"Routing"} == {name for name, _, rows in MISTAKES if rows}


@pytest.mark.parametrize("way", [way for way in BOUNDS if way != "shipped"])
def test_each_other_way_can_fail_too(monkeypatch, way):
    """A derived expression off by 0.1 % differs from everything it is held against."""
    import capsedu.verification as verification

    right = verification.pull
    monkeypatch.setattr(verification, "pull", lambda *given: right(*given) * 1.001)
    (row,) = verify(equations=[e for e in EQUATIONS if e.id == "squash-vjp"])
    assert row.errors[way] > BOUNDS[way] and not row.passed


def test_a_mistake_that_derived_and_generated_share_is_seen(monkeypatch):
    """Both walk back through the layer by the same function: here it forgets the couplings."""
    import capsedu.derivation.layer as layer
    import capsedu.verification as verification

    right = layer.backward

    def wrong(forward, moving, rule):
        return right(forward, moving, "frozen")

    monkeypatch.setattr(layer, "backward", wrong)
    monkeypatch.setattr(verification, "backward", wrong)
    monkeypatch.setattr(verification, "generated_layer", layer.generate_layer)
    (row,) = verify(equations=[e for e in EQUATIONS if e.id == "unrolled-vjp"])
    for way in ("shipped", "complex step", "central"):
        assert row.errors[way] > 1e-3
    assert row.errors["generated"] <= BOUNDS["generated"] and not row.passed
