"""The capsule network: every gradient against autograd, checkpoints, and the command."""

import itertools
import subprocess
import sys

import numpy as np
import pytest
from autograd import grad
from autograd import numpy as anp
from reference import assert_close, autograd_layer, complex_step
from shapes import RULES

from capsedu.capsule_network import CapsuleNetwork
from capsedu.checkpoints import resume, save
from capsedu.command_line import main
from capsedu.data import load_digits_sample, shifted
from capsedu.training import Adam, Training

SMALL = {"channels": 3, "types": 2, "classes": 3, "m": 4, "n": 2, "size": 3, "hidden": (5, 6)}


def problem(rule="unrolled", examples=3, dtype=np.float64, seed=0):
    rng = np.random.default_rng(seed)
    images = rng.random((examples, 8, 8)).astype(dtype)
    labels = rng.integers(3, size=examples)
    network = CapsuleNetwork.start(images, **SMALL, seed=rng, rule=rule, reconstruction=0.05)
    for name in network.parameters:  # no bias of 0: its place must show
        if name.startswith("bias"):
            noise = rng.normal(size=network.parameters[name].shape) / 10
            network.parameters[name] = noise.astype(dtype)
    return network, images, labels


# The network


def autograd_loss(p, images, labels, rule, reconstruction):
    """The whole network again, after the paper, with loops for the convolutions."""

    def convolve(K, x, stride):
        k = len(K)
        P, Q = (1 + (side - k) // stride for side in x.shape[1:3])
        return anp.stack(
            [
                anp.stack(
                    [
                        anp.tensordot(x[:, i : i + k, j : j + k], K, 3)
                        for j in range(0, Q * stride, stride)
                    ],
                    axis=1,
                )
                for i in range(0, P * stride, stride)
            ],
            axis=1,
        )

    N = len(images)
    h = anp.maximum(0, convolve(p["K1"], images[..., None], 1) + p["bias1"])
    s = anp.reshape(convolve(p["K2"], h, 2) + p["bias2"], (N, -1, SMALL["n"]))
    t = anp.sqrt(anp.sum(s * s, axis=-1, keepdims=True))
    v = autograd_layer(p["W"], t * s / (1 + t * t), 3, {"frozen": "zv", "unrolled": ""}[rule])
    T = np.eye(SMALL["classes"])[labels]
    length = anp.sqrt(anp.sum(v * v, axis=-1))
    present, absent = anp.maximum(0, 0.9 - length) ** 2, anp.maximum(0, length - 0.1) ** 2
    a = anp.reshape(T[..., None] * v, (N, -1))
    a = anp.maximum(0, anp.dot(a, p["D1"]) + p["bias3"])
    a = anp.maximum(0, anp.dot(a, p["D2"]) + p["bias4"])
    x_hat = 1 / (1 + anp.exp(-(anp.dot(a, p["D3"]) + p["bias5"])))
    error = x_hat - images.reshape(N, -1)
    margin = anp.sum(T * present + 0.5 * (1 - T) * absent, axis=-1)
    return anp.mean(margin + reconstruction * anp.sum(error**2, axis=-1))


@pytest.mark.parametrize("rule", RULES)
def test_every_gradient_matches_autograd(rule):
    network, images, labels = problem(rule)
    loss, gradients = network.loss_and_gradients(images, labels)
    p = network.parameters
    rest = images, labels, rule, network.reconstruction
    assert loss == pytest.approx(autograd_loss(p, *rest), rel=1e-13)
    want = grad(autograd_loss)(p, *rest)
    assert gradients.keys() == p.keys()
    for name, gradient in gradients.items():
        assert abs(want[name]).max() > 1e-8, name
        assert_close(gradient, want[name], 1e-11)
    other, _, _ = problem({"frozen": "unrolled", "unrolled": "frozen"}[rule])
    wrong = other.loss_and_gradients(images, labels)[1]
    for name in ("K1", "K2", "W"):
        assert abs(wrong[name] - want[name]).max() > 1e-3 * abs(want[name]).max()


def test_the_unrolled_gradient_of_every_parameter_matches_the_complex_step():
    network, images, labels = problem()
    gradients = network.loss_and_gradients(images, labels)[1]
    for name, parameter in network.parameters.items():

        def loss(x, name=name):
            moved = CapsuleNetwork(network.parameters | {name: x}, reconstruction=0.05)
            return moved.loss_and_gradients(images, labels)[0]

        few = parameter.reshape(-1)[:10]

        def of_few(x, loss=loss, parameter=parameter):
            rest = parameter.reshape(-1)[10:]
            return loss(np.concatenate([x, rest]).reshape(parameter.shape))

        want = complex_step(of_few, few, 1.0)
        scale = abs(gradients[name]).max()
        error = abs(gradients[name].reshape(-1)[:10] - want).max()
        assert error <= 1e-12 * scale, name


def test_a_reconstruction_is_of_the_label_alone():
    network, images, labels = problem()
    v = network.forward(images).routing.v
    got = network.reconstruct(v, labels)
    alone = np.zeros_like(v)
    for example, label in enumerate(labels):
        alone[example, label] = v[example, label]
    want = network.decode(alone.reshape(len(v), -1))[-1]
    assert got.shape == (3, 64)
    assert_close(got, want, 1e-15)
    both = network.reconstruct(np.stack([v, 2 * v]), np.stack([labels, labels]))
    assert_close(both[0], want, 1e-15)
    assert_close(network.reconstruct(v[0], labels[0]), want[0], 1e-12)


def test_it_starts_where_squash_is_steep_and_in_the_precision_of_the_images():
    images = load_digits_sample()[0][:50]
    network = CapsuleNetwork.start(images)
    assert {p.dtype for p in network.parameters.values()} == {images.dtype}
    first = network.forward(images).routing.steps[0].s
    assert np.sqrt((first**2).sum(axis=-1).mean()) == pytest.approx(1 / np.sqrt(3), rel=0.1)
    assert network.classes == 10
    assert network.classify(images).shape == (50,)
    _, gradients = network.loss_and_gradients(images, np.zeros(50, int))
    assert {g.dtype for g in gradients.values()} == {images.dtype}


def test_an_empty_batch_has_loss_0_and_gradients_0_and_a_saturated_pixel_no_warning():
    network, images, labels = problem()
    loss, gradients = network.loss_and_gradients(images[:0], labels[:0])
    assert loss == 0
    for name, gradient in gradients.items():
        assert gradient.shape == network.parameters[name].shape and not gradient.any()
    network.parameters["bias5"] = np.linspace(-1000, 1000, 64)
    loss, gradients = network.loss_and_gradients(images, labels)
    assert np.isfinite(loss) and all(np.isfinite(g).all() for g in gradients.values())


def test_bad_input():
    network, images, labels = problem()
    with pytest.raises(ValueError, match="label"):
        network.loss_and_gradients(images, labels + 3)
    with pytest.raises(ValueError, match="got shape"):
        network.loss_and_gradients(images[:, :2], labels)
    larger = np.zeros((3, 12, 12))
    with pytest.raises(ValueError, match=r"images: got shape \(3, 12, 12\), which makes 32 prim"):
        network.classify(larger)
    with pytest.raises(ValueError, match=r"images: got shape \(8, 8\), want \(N, height, width\)"):
        network.loss_and_gradients(images[0], labels[0])
    with pytest.raises(ValueError, match="reconstruction: got nan"):
        CapsuleNetwork(network.parameters, reconstruction=float("nan"))
    with pytest.raises(ValueError, match="parameters: got the names"):
        CapsuleNetwork({"W": np.ones((1, 1, 1, 1))})
    with pytest.raises(ValueError, match="rule"):
        CapsuleNetwork(network.parameters, rule="both")
    images[0, 0, 0] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        network.classify(images)


# Checkpoints


def training(seed=0, rule="unrolled", rate=0.01, **options):
    network, images, labels = problem(rule, examples=40, dtype=np.float32, seed=seed)
    data = (images[:30], labels[:30]), (images[30:], labels[30:])
    return Training(
        network, *data, Adam(rate), batch_size=8, seed=seed, decay=0.9, vary=shifted, **options
    )


def assert_same(one, other):
    assert one.history == other.history
    assert one.state.optimiser.learning_rate == other.state.optimiser.learning_rate
    for name, parameter in one.model.parameters.items():
        assert np.array_equal(parameter, other.model.parameters[name])
        assert parameter.dtype == other.model.parameters[name].dtype


def test_a_resumed_run_is_bitwise_the_same(tmp_path):
    path = tmp_path / "checkpoint.npz"
    whole = training()
    whole.run(4, progress=False)
    first = training()
    first.run(2, progress=False)
    save(first, path)
    second = training(seed=0)
    resume(second, path)
    assert_same(second, first)
    second.run(2, progress=False)
    assert_same(second, whole)
    forgetful = training()
    forgetful.state = type(forgetful.state)(second.model, Adam(0.01), first.state.generator, [])
    with pytest.raises(AssertionError):
        assert_same(forgetful, whole)


def test_a_kill_while_it_is_written_leaves_the_last_good_file(tmp_path, monkeypatch):
    path = tmp_path / "checkpoint.npz"
    one = training()
    one.run(1, progress=False)
    save(one, path)
    before = path.read_bytes()
    one.run(1, progress=False)

    def killed(file, **arrays):
        file.write(b"half a file")
        raise KeyboardInterrupt

    monkeypatch.setattr("capsedu.checkpoints.np.savez", killed)
    with pytest.raises(KeyboardInterrupt):
        save(one, path)
    assert path.read_bytes() == before
    assert [*tmp_path.iterdir()] == [path]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.write_bytes(b"not a checkpoint"), "no checkpoint"),
        (lambda path: path.write_bytes(path.read_bytes()[:-100]), "no checkpoint"),
        (lambda path: np.savez(path, x=np.ones(2)), "no checkpoint"),
        (lambda path: np.savez(path, state="{}"), "no checkpoint"),
        (lambda path: np.savez(path, state="[]"), "no checkpoint"),
        (lambda path: path.write_bytes(b"\x93NUMPY"), "no checkpoint"),
        (lambda path: save(training(rule="frozen"), path), "another training .rule: frozen, here"),
        (lambda path: save(training(rate=0.02), path), "learning rate: 0.02, here 0.01"),
        (lambda path: save(training(seed=1), path), "random numbers: .*; training labels: "),
    ],
)
def test_another_file_is_refused_and_nothing_changes(tmp_path, damage, message):
    path = tmp_path / "checkpoint.npz"
    one = training()
    save(one, path)
    damage(path)
    state = one.state
    with pytest.raises(ValueError, match=message):
        resume(one, path)
    assert one.state is state


def test_shifted_moves_whole_images_and_lets_paper_in():
    images = np.zeros((200, 7, 7))
    images[:, 3, 3] = 1
    places = np.argwhere(shifted(images, np.random.default_rng(0)))[:, 1:]
    assert len(places) == 200
    assert {*map(tuple, places.tolist())} == {*itertools.product(range(1, 6), range(1, 6))}
    edge = np.ones((50, 4, 4))
    assert {*np.unique(shifted(edge, np.random.default_rng(0)).sum(axis=(1, 2)))} <= {
        4,
        6,
        8,
        9,
        12,
        16,
    }


# The command


def train(path, *options):
    return ["train", "--checkpoint", str(path), *map(str, options)]


@pytest.fixture
def little(monkeypatch):
    """A sample of 64 images, for the command alone."""
    x_train, y_train, x_test, y_test = load_digits_sample()
    few = x_train[:64], y_train[:64], x_test[:20], y_test[:20]
    monkeypatch.setattr("capsedu.data.load_digits_sample", lambda: few)


def test_the_command_trains_and_carries_on(little, tmp_path, capsys):
    path, whole = tmp_path / "a.npz", tmp_path / "b.npz"
    assert main(train(path, "--epochs", 1)) == 0
    assert main(train(path, "--epochs", 2)) == 0
    assert main(train(whole, "--epochs", 2)) == 0
    lines = [line.rsplit(",", 1)[0] for line in capsys.readouterr().out.splitlines()]
    assert lines[1] == f"{path}: carries on after epoch 1"
    assert [lines[0], lines[2]] == lines[3:]
    assert "epoch 2: loss" in lines[2] and "of the test images" in lines[2]
    with np.load(path) as one, np.load(whole) as other:
        assert {*one.files} == {*other.files}
        for name in one.files:
            assert np.array_equal(one[name], other[name]), name


def test_ctrl_c_keeps_the_epoch_and_says_how_to_carry_on(little, tmp_path, capsys, monkeypatch):
    path = tmp_path / "a.npz"
    assert main(train(path, "--epochs", 1)) == 0
    before = path.read_bytes()

    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("capsedu.capsule_network.CapsuleNetwork.loss_and_gradients", interrupted)
        assert main(train(path, "--epochs", 2)) == 130
    assert "the same command carries on" in capsys.readouterr().err
    assert path.read_bytes() == before


def test_nothing_left_to_train_is_said(little, tmp_path, capsys):
    path = tmp_path / "a.npz"
    assert main(train(path, "--epochs", 1)) == 0
    first = capsys.readouterr().out.strip()
    assert main(train(path, "--epochs", 1)) == 0
    again = capsys.readouterr().out.strip().splitlines()
    accuracy = again[-1].removeprefix("nothing is left to train; right of the test images: ")
    assert f"of the test images {accuracy}," in first


def test_a_reader_that_goes_away_is_not_an_error_of_training(little, tmp_path, monkeypatch):
    def broken(*_, **__):
        raise BrokenPipeError

    monkeypatch.setattr("capsedu.command_line.print", broken, raising=False)
    monkeypatch.setattr("os.dup2", lambda *_: None)
    assert main(train(tmp_path / "a.npz", "--epochs", 1)) == 141


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--mnist", "nowhere"], "nowhere"),
        (["--rate", "-1"], "learning_rate: got -1.0"),
        (["--decay", "0"], "decay: got 0.0"),
        (["--mnist", ""], "train-images"),
        (["--checkpoint", "{folder}"], "irectory"),
    ],
)
def test_a_wrong_option_is_one_line(little, tmp_path, capsys, options, message):
    options = [text.format(folder=tmp_path) for text in options]
    assert main(train(tmp_path / "a.npz", "--epochs", "1", *options)) == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert message in error and "Traceback" not in error


def test_a_killed_process_leaves_a_whole_checkpoint(tmp_path):
    path = tmp_path / "a.npz"
    code = (
        "import capsedu.data\n"
        "few = [part[:64] for part in capsedu.data.load_digits_sample()]\n"
        "capsedu.data.load_digits_sample = lambda: few\n"
        "from capsedu.command_line import main\n"
        f"main({train(path, '--epochs', 10_000)!r})"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        for _ in range(3):
            assert "epoch" in process.stdout.readline()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    one = Training(
        CapsuleNetwork.start(load_digits_sample()[0][:64]), *[few()] * 2, Adam(1e-3), 64, decay=0.9
    )
    resume(one, path)
    assert len(one.history) >= 3


def few():
    x_train, y_train, _, _ = load_digits_sample()
    return x_train[:64], y_train[:64]
