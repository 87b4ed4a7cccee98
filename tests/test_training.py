"""The layer that learns: the classifier's gradients, Adam, and the loop."""

import math

import numpy as np
import pytest
from autograd import grad
from autograd import numpy as anp
from reference import assert_close, autograd_layer, complex_step
from shapes import RULES, layer

from capsedu import capsule_layer, margin_loss
from capsedu.data import load_digits_sample
from capsedu.networks import CapsuleClassifier, initial_W
from capsedu.patches import PatchBasis
from capsedu.training import Adam, Training, accuracy


def problem(examples=70, dtype=np.float32, rule="unrolled", seed=0):
    """A small model, and made-up input capsules for it: each class a direction, and noise."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(3, size=examples)
    u = (rng.normal(size=(3, 5, 4))[labels] + rng.normal(size=(examples, 5, 4))).astype(dtype) / 3
    model = CapsuleClassifier({"W": initial_W(u, J=3, m=2, seed=rng)}, rule=rule)
    return model, u, labels


def training(model, u, labels, **options):
    return Training(model, (u[:50], labels[:50]), (u[50:], labels[50:]), batch_size=16, **options)


def assert_same_state(one, other):
    """Every bit of what an epoch changes is the same."""
    assert one.history == other.history
    assert np.array_equal(one.model.parameters["W"], other.model.parameters["W"])
    state, wanted = one.state.optimiser, other.state.optimiser
    assert state.steps == wanted.steps
    assert np.array_equal(state.moments["W"], wanted.moments["W"])
    generators = one.state.generator, other.state.generator
    assert generators[0].bit_generator.state == generators[1].bit_generator.state


# The classifier


@pytest.mark.parametrize("iterations", [1, 3])
def test_unrolled_gradients_match_the_complex_step(iterations):
    W, u, _ = layer(5, 3, 2, 4, (6,), seed=1)
    labels = np.arange(6) % 3
    model = CapsuleClassifier({"W": W}, iterations)
    value, gradients = model.loss_and_gradients(u, labels)
    want = complex_step(lambda W: margin_loss(capsule_layer(W, u, iterations).v, labels), W, 1.0)
    assert_close(gradients["W"], want, 1e-12)
    assert value == margin_loss(model.forward(u).v, labels)


@pytest.mark.parametrize("rule", RULES)
def test_gradients_match_autograd(rule):
    W, u, _ = layer(5, 3, 2, 4, (6,), seed=1)
    labels = np.arange(6) % 3

    def loss(W):
        v = autograd_layer(W, u, 3, detached={"frozen": "zv", "unrolled": ""}[rule])
        length = anp.sqrt(anp.sum(v * v, axis=-1))
        right = anp.maximum(0, 0.9 - length) ** 2
        wrong = 0.5 * anp.maximum(0, length - 0.1) ** 2
        return anp.mean(anp.sum(anp.where(np.eye(3)[labels] == 1, right, wrong), axis=-1))

    value, gradients = CapsuleClassifier({"W": W}, 3, rule).loss_and_gradients(u, labels)
    assert value == pytest.approx(loss(W), rel=1e-13)
    assert_close(gradients["W"], grad(loss)(W), 1e-12)
    other = CapsuleClassifier({"W": W}, 3, {"frozen": "unrolled", "unrolled": "frozen"}[rule])
    wrong = other.loss_and_gradients(u, labels)[1]["W"] - gradients["W"]
    assert abs(wrong).max() > 0.01 * abs(gradients["W"]).max()


def test_the_class_is_the_longest_output_however_short():
    W = np.zeros((1, 3, 2, 2))
    W[0, 1] = [[3, 0], [0, 0]]  # v_1 follows u[0], v_2 follows u[1]
    W[0, 2] = [[0, 0], [0, 3]]
    model = CapsuleClassifier({"W": W})
    u = np.array([[[1.0, 0.5]], [[0.5, 1.0]], [[0.0, -1e-90]], [[0.0, 0.0]]])
    assert model.classify(u).tolist() == [1, 2, 2, 0]
    assert model.classify(u[0]) == 1
    u[1] = np.nan
    with pytest.raises(ValueError, match="u: some output lengths are NaN"):
        model.classify(u)


@pytest.mark.parametrize("length", [0.01, 1 / math.sqrt(3), 30])
def test_initial_W_puts_the_first_total_input_where_it_is_asked(length):
    u = np.random.default_rng(0).normal(size=(200, 64, 8)).astype(np.float32)
    W = initial_W(u, J=10, m=8, length=length, seed=3)
    assert W.shape == (64, 10, 8, 8)
    assert W.dtype == np.float32
    s = capsule_layer(W, u, iterations=1).s
    # Over draws of W the mean square has a relative standard deviation of √(2/80/8) at most.
    assert math.sqrt((s * s).sum(axis=-1).mean()) == pytest.approx(length, rel=0.1)
    assert np.array_equal(W, initial_W(u, length=length, seed=3))
    assert not np.array_equal(W, initial_W(u, length=length, seed=4))


# Adam


def test_adam_by_hand():
    adam = Adam(learning_rate=0.1, beta1=0.5, beta2=0.75, epsilon=1.0)
    parameters = {"x": np.array([1.0])}
    # t, g: m, v; m̂ = m / (1 − 2⁻ᵗ), v̂ = v / (1 − (3/4)ᵗ)
    # 1, 4: 2, 4;    4, 16
    # 2, 2: 2, 4;    8/3, 64/7
    # 3, −6: −2, 12; −16/7, 768/37
    updates = [4 / (4 + 1), 8 / 3 / (8 / math.sqrt(7) + 1), -16 / 7 / (math.sqrt(768 / 37) + 1)]
    want = 1.0
    for g, update in zip([4, 2, -6], updates, strict=True):
        adam.step(parameters, {"x": np.array([g])})
        want -= 0.1 * update
        assert parameters["x"][0] == pytest.approx(want, rel=1e-15)
    assert adam.steps == 3


def test_adam_keeps_each_parameter_its_own_and_its_precision():
    x, y = np.ones(2, np.float32), np.ones((2, 2))
    parameters = {"x": x, "y": y}
    adam = Adam(learning_rate=0.5)
    adam.step(parameters, {"x": np.full(2, 3, np.float32), "y": np.full((2, 2), -7.0)})
    # The first step goes η along the sign of g, whatever its size.
    assert parameters["x"] == pytest.approx(0.5, rel=1e-6)
    assert parameters["y"] == pytest.approx(1.5, rel=1e-6)
    assert parameters["x"].dtype == np.float32
    assert (x == 1).all()
    assert (y == 1).all()


# The loop


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(
    ("owner", "name", "call"),
    [
        (CapsuleClassifier, "loss_and_gradients", 1),
        (CapsuleClassifier, "loss_and_gradients", 11),
        (Adam, "step", 4),
        (Adam, "step", 8),
        (CapsuleClassifier, "classify", 3),
    ],
)
def test_an_interrupted_run_carries_on_as_if_nothing_had_happened(
    monkeypatch, rule, owner, name, call
):
    whole, stopped = (training(*problem(rule=rule)) for _ in range(2))
    whole.run(3)
    calls = []
    plain = getattr(owner, name)

    def interrupted(*arguments):
        result = plain(*arguments)  # interrupted after the harm is done
        calls.append(name)
        if len(calls) == call:
            raise KeyboardInterrupt
        return result

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, interrupted)
        with pytest.raises(KeyboardInterrupt):
            stopped.run(3)
    # 4 steps an epoch, and classify once on the training and once on the test part.
    finished = (call - 1) // (2 if name == "classify" else 4)
    assert stopped.history == whole.history[:finished]
    assert stopped.state.optimiser.steps == 4 * finished
    stopped.run(3 - finished)
    assert_same_state(stopped, whole)


def test_run_by_run_is_the_same_as_at_once():
    once, twice = (training(*problem()) for _ in range(2))
    once.run(5)
    twice.run(2)
    assert [line.epoch for line in twice.history] == [1, 2]
    twice.run(3)
    assert_same_state(twice, once)


def test_the_seed_decides_the_order():
    model, u, labels = problem()
    runs = [training(model, u, labels, seed=seed).run(2) for seed in (0, 0, 1)]
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]


def test_what_is_handed_in_stays_as_it_was():
    model, u, labels = problem()
    optimiser, generator = Adam(), np.random.default_rng(0)
    W, kept = model.parameters["W"], [u.copy(), labels.copy(), model.parameters["W"].copy()]
    trained = training(model, u, labels, optimiser=optimiser, seed=generator)
    trained.run(1)
    assert model.parameters["W"] is W
    assert optimiser.steps == 0
    assert generator.bit_generator.state == np.random.default_rng(0).bit_generator.state
    assert all(np.array_equal(*pair) for pair in zip([u, labels, W], kept, strict=True))
    assert not np.array_equal(trained.model.parameters["W"], W)


def test_the_history_tells_what_happened():
    model, u, labels = problem(dtype=np.float64)
    line = training(model, u, labels, optimiser=Adam(1e-300)).run(1)[0]  # W stays where it is
    # Batches of 16, 16, 16 and 2: a mean over the examples, not over the batches.
    assert line.loss == pytest.approx(margin_loss(model.forward(u[:50]).v, labels[:50]), rel=1e-13)
    assert line.train_accuracy == np.mean(model.classify(u[:50]) == labels[:50])
    assert line.test_accuracy == np.mean(model.classify(u[50:]) == labels[50:])


def test_accuracy_counts_over_all_the_blocks():
    class Echo:
        """Says of each example what it holds."""

        classify = staticmethod(np.asarray)

    labels = np.zeros(1000, int)
    said = np.zeros(1000, int)
    said[[0, 255, 256, 999]] = 1
    assert accuracy(Echo, said, labels) == 0.996


def test_a_loss_that_is_not_finite_stops_at_the_last_epoch():
    model, u, labels = problem()
    spoilt = training(model, u, labels)
    spoilt.run(1)
    spoilt.train[0][7] = np.nan
    W = spoilt.model.parameters["W"]
    with pytest.raises(FloatingPointError, match="loss: got nan in epoch 2"):
        spoilt.run(2)
    assert len(spoilt.history) == 1
    assert spoilt.model.parameters["W"] is W


def test_the_progress_bar_can_be_switched_off_and_goes_when_it_is_done(capsys, monkeypatch):
    training(*problem()).run(1, progress=False)
    assert capsys.readouterr() == ("", "")
    training(*problem()).run(1)
    out, err = capsys.readouterr()
    assert out == ""
    assert "epoch 1" in err
    assert err.split("\r")[-1].strip() == ""  # the last line is blank again


@pytest.fixture(scope="module")
def digits():
    x_train, y_train, x_test, y_test = load_digits_sample()
    basis = PatchBasis.fit(x_train)
    return (basis.encode(x_train), y_train), (basis.encode(x_test), y_test)


@pytest.mark.sweep
@pytest.mark.parametrize(("rule", "iterations"), [("frozen", 3), ("unrolled", 3), ("frozen", 1)])
def test_nine_digits_of_ten_are_recognised(digits, rule, iterations):
    train, test = digits
    model = CapsuleClassifier({"W": initial_W(train[0])}, iterations, rule)
    last = Training(model, train, test).run(3)[-1]
    assert last.test_accuracy >= 0.9
    assert model.parameters["W"].dtype == np.float32


# Bad input

MODEL, U, LABELS = problem()
W, GOOD = MODEL.parameters["W"], (U, LABELS)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: CapsuleClassifier({"W": W[0]}), r"W: got shape \(3, 2, 4\), want \(I, J, m, n\)"),
        (lambda: CapsuleClassifier({"W": W}, 0), "iterations: got 0"),
        (lambda: CapsuleClassifier({"W": W}, rule="exact"), "rule: got 'exact'"),
        (lambda: MODEL.loss_and_gradients(U[:, :4], LABELS), r"u: got shape \(70, 4, 4\)"),
        (lambda: MODEL.loss_and_gradients(U, LABELS[:3]), r"labels: got shape \(3,\)"),
        (lambda: initial_W(U[0]), r"u: got shape \(5, 4\), want \(N, I, n\)"),
        (lambda: initial_W(U[:0]), r"u: got shape \(0, 5, 4\)"),
        (lambda: initial_W(0 * U), "u: its mean square length is 0"),
        (lambda: initial_W(np.nan * U), "u: its mean square length is nan"),
        (lambda: initial_W(U, J=0), "J: got 0"),
        (lambda: initial_W(U, m=2.5), "m: got 2.5"),
        (lambda: initial_W(U, length=-1), "length: got -1"),
        (lambda: Adam(learning_rate=0), "learning_rate: got 0"),
        (lambda: Adam(epsilon=math.nan), "epsilon: got nan"),
        (lambda: Adam(beta2=1), "beta2: got 1"),
        (lambda: Training(MODEL, GOOD, GOOD, batch_size=0), "batch_size: got 0"),
        (lambda: Training(MODEL, GOOD, GOOD).run(0), "epochs: got 0"),
        (lambda: Training(MODEL, GOOD, GOOD).run(2.5), "epochs: got 2.5"),
        (lambda: Training(MODEL, (U, LABELS[1:]), GOOD), r"train: got .* labels of shape \(69,\)"),
        (lambda: Training(MODEL, GOOD, (U[:0], LABELS[:0])), r"test: got .* shape \(0, 5, 4\)"),
        (lambda: Training(MODEL, GOOD, (U, LABELS + 1)), "test: got labels .* from 1 to 3"),
        (lambda: Training(MODEL, (U, LABELS - 1), GOOD), "train: got labels .* from -1 to 1"),
        (lambda: Training(MODEL, (U, LABELS / 1), GOOD), "train: got labels of dtype float64"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
