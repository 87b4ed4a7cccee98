"""Compare a training step of the capsule network with the same network in eager PyTorch.

The network is that of `capsedu train`: convolution to 32 channels, primary capsules, capsule layer
with r = 3, margin loss, decoder and reconstruction loss, and Adam. A step is what a batch costs:
loss, gradients, and new parameters. Everything is timed in turns, so that a machine that slows down
slows all alike; the peak memory of each is taken in a process of its own. Before anything is timed,
all must give the same loss and gradients as capsedu does in float64, and, step by step, learn
alike.

Set OMP_NUM_THREADS: both NumPy's BLAS and PyTorch take it as their number of threads.
"""

import argparse
import sys
from collections.abc import Callable
from functools import partial

import numpy as np
from compare_layers import R, einsum, products, squash, torch
from measuring import THREADS, in_fresh_process, in_turns, parsed, peak_megabytes
from tqdm import tqdm

from capsedu.capsule_network import STRIDE, CapsuleNetwork
from capsedu.data import load_digits_sample
from capsedu.training import Adam

F = torch.nn.functional
RULES = ("unrolled", "frozen")
RATE, STEPS = 1e-3, 5  # Adam's learning rate, steps that are compared

Gradients = dict[str, np.ndarray]


class Ours:
    """The network of capsedu, and its Adam."""

    def __init__(self, parameters: Gradients, rule: str) -> None:
        self.network, self.optimiser = CapsuleNetwork({**parameters}, R, rule), Adam(RATE)

    def loss_and_gradients(self, x: np.ndarray, labels: np.ndarray) -> tuple[float, Gradients]:
        return self.network.loss_and_gradients(x, labels)

    def step(self, x: np.ndarray, labels: np.ndarray) -> float:
        loss, gradients = self.network.loss_and_gradients(x, labels)
        self.optimiser.step(self.network.parameters, gradients)
        return float(loss)


class Network(torch.nn.Module):
    """The same network, as PyTorch would have it: channels before rows, weights (out, in)."""

    def __init__(self, parameters: Gradients, rule: str, layer: Callable) -> None:
        super().__init__()
        for name, array in parameters.items():
            tensor = torch.from_numpy(array).permute(self.order(name)).contiguous()
            self.register_parameter(name, torch.nn.Parameter(tensor.clone()))
        self.layer, self.detach = layer, rule == "frozen"
        self.reconstruction = CapsuleNetwork.reconstruction

    @staticmethod
    def order(name: str) -> tuple[int, ...]:
        """Of an array of capsedu's to PyTorch's axes, and back."""
        return {"K": (3, 2, 0, 1), "D": (1, 0), "W": (0, 1, 2, 3), "b": (0,)}[name[0]]

    def forward(self, x, labels):
        h = F.relu(F.conv2d(x[:, None], self.K1, self.bias1))
        s = F.conv2d(h, self.K2, self.bias2, stride=STRIDE)
        u = squash(s.permute(0, 2, 3, 1).reshape(len(x), -1, self.W.shape[-1]))
        v = self.layer(self.W, u, self.detach)
        T = F.one_hot(labels, v.shape[1]).to(v.dtype)
        length = v.norm(dim=-1)
        margin = T * F.relu(0.9 - length) ** 2 + 0.5 * (1 - T) * F.relu(length - 0.1) ** 2
        h3 = F.relu(F.linear((T[..., None] * v).flatten(1), self.D1, self.bias3))
        h4 = F.relu(F.linear(h3, self.D2, self.bias4))
        x_hat = torch.sigmoid(F.linear(h4, self.D3, self.bias5))
        error = ((x_hat - x.flatten(1)) ** 2).sum(1)
        return (margin.sum(1) + self.reconstruction * error).mean()


class Theirs:
    """The network in PyTorch, and its Adam."""

    def __init__(self, layer: Callable, parameters: Gradients, rule: str) -> None:
        self.network = Network(parameters, rule, layer)
        self.optimiser = torch.optim.Adam(self.network.parameters(), lr=RATE)

    def backward(self, x: np.ndarray, labels: np.ndarray) -> float:
        self.optimiser.zero_grad()
        loss = self.network(torch.from_numpy(x), torch.from_numpy(labels))
        loss.backward()
        return loss.item()

    def loss_and_gradients(self, x: np.ndarray, labels: np.ndarray) -> tuple[float, Gradients]:
        loss = self.backward(x, labels)
        back = {
            name: p.grad.permute(*np.argsort(Network.order(name))).numpy()
            for name, p in self.network.named_parameters()
        }
        return loss, back

    def step(self, x: np.ndarray, labels: np.ndarray) -> float:
        loss = self.backward(x, labels)
        self.optimiser.step()
        return loss


CONTESTANTS = {
    "PyTorch, einsum": partial(Theirs, einsum),
    "PyTorch, products": partial(Theirs, partial(products, copied=True)),
    "capsedu": Ours,
}


def problem(batch: int) -> tuple[Gradients, tuple[np.ndarray, np.ndarray]]:
    """Parameters to start from, and a batch of digits."""
    images, labels, *_ = load_digits_sample()
    some = np.arange(batch) % len(images)
    parameters = CapsuleNetwork.start(images[:200]).parameters
    return parameters, (images[some], labels[some].astype(np.int64))


def check(batch: int) -> None:
    """Exit unless all have the same loss and gradients, and learn alike for a few steps."""
    parameters, (x, labels) = problem(batch)
    wide = {name: array.astype(np.float64) for name, array in parameters.items()}
    worst = apart = 0.0
    for rule in RULES:
        true_loss, truth = Ours(wide, rule).loss_and_gradients(x.astype(np.float64), labels)
        truth = {"loss": true_loss, **truth}
        exact = Ours(wide, rule)
        want = np.array([exact.step(x.astype(np.float64), labels) for _ in range(STEPS)])
        for name, make in CONTESTANTS.items():
            loss, gradients = make(parameters, rule).loss_and_gradients(x, labels)
            for symbol, got in {"loss": loss, **gradients}.items():
                error = abs(got - truth[symbol]).max() / abs(truth[symbol]).max()
                worst = max(worst, error)
                if not error < 1e-5:
                    sys.exit(f"{name}, {rule}: {symbol} is off by {error:.1e} of its largest entry")
            learner = make(parameters, rule)
            errors = abs(np.array([learner.step(x, labels) for _ in range(STEPS)]) / want - 1)
            apart = max(apart, errors.max())
            if not errors.max() < 1e-4:
                sys.exit(f"{name}, {rule}: after some steps the loss is off by {errors.max():.1e}")
    print(
        f"All have the same loss and gradients: off by at most {worst:.0e} of the largest entry.\n"
        f"All learn alike: in the first {STEPS} steps the losses differ by at most {apart:.0e}."
    )


def report_memory(name: str, rule: str, batch: int) -> None:
    parameters, given = problem(batch)
    run = CONTESTANTS[name](parameters, rule)
    run.step(*given)  # Adam's moments, and what is made once, are not counted
    print(peak_megabytes(lambda: run.step(*given))[0])


def megabytes(name: str, rule: str, batch: int) -> float:
    arguments = [__file__, "--memory-of", name, "--rule", rule, "--batch", str(batch)]
    return float(in_fresh_process(arguments).split()[-1])


def table(batch: int, repeats: int) -> None:
    parameters, given = problem(batch)
    calls = {
        (name, rule): partial(make(parameters, rule).step, *given)
        for rule in RULES
        for name, make in CONTESTANTS.items()
    }
    in_turns(calls, 2, "warm up")
    times = in_turns(calls, repeats, "time")
    memory = {key: megabytes(*key, batch) for key in tqdm(calls, desc="memory", leave=False)}
    print(f"The network of capsedu train, r = {R}, float32, batch {batch}, threads: {THREADS}")
    print(f"a step with Adam, ms: median (least) of {repeats} turns; peak extra MB\n")
    print(f"{'':20}" + "".join(f"{rule:>26}" for rule in RULES))
    for name in CONTESTANTS:
        row = f"{name:20}"
        for rule in RULES:
            ms = 1e3 * times[name, rule]
            row += f"{np.median(ms):9.1f} ({ms.min():5.1f}) {memory[name, rule]:5.0f} MB"
        print(row)
    print("\ncapsedu is faster, by the median of the turns' ratios (by leasts), than")
    for name in [name for name in CONTESTANTS if name != "capsedu"]:
        row = f"  {name:18}"
        for rule in RULES:
            theirs, ours = times[name, rule], times["capsedu", rule]
            row += f"{np.median(theirs / ours):13.2f} ({theirs.min() / ours.min():.2f}) times"
        print(row)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--batch", type=int, default=64, help="digits (default: 64, as in train)")
    parser.add_argument("--repeats", type=int, default=31, help="turns (default: 31)")
    parser.add_argument("--memory-of", choices=CONTESTANTS, help=argparse.SUPPRESS)
    parser.add_argument("--rule", choices=RULES, help=argparse.SUPPRESS)
    options = parsed(parser)
    torch.set_num_threads(THREADS)
    if options.memory_of:
        report_memory(options.memory_of, options.rule, options.batch)
        return
    try:
        check(options.batch)
        table(options.batch, options.repeats)
    except KeyboardInterrupt:
        sys.exit("interrupted")


if __name__ == "__main__":
    main()
