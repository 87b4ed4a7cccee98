"""Compare the capsule layer, forward and backward, with what PyTorch makes of the same formulas.

The size is that of Sabour, Frosst & Hinton 2017: 1152 input capsules of 8, 10 output capsules of
16, r = 3, float32. Everything is timed in turns, so that a machine that slows down slows all alike;
the peak memory of each is taken in a process of its own. The floor is the least arithmetic that the
formulas need, at the speed of a large matrix product, timed in the same turns. Before anything is
timed, all must give the same v, dW and du as the plain functions do in float64.

Set OMP_NUM_THREADS: both NumPy's BLAS and PyTorch take it as their number of threads.
"""

import argparse
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple

import numpy as np
from measuring import THREADS, in_fresh_process, in_turns, parsed, peak_megabytes
from tqdm import tqdm

import capsedu

try:
    import torch
except ImportError:
    sys.exit('PyTorch is missing: pip install -e ".[bench]"')

I, J, m, n, R = 1152, 10, 16, 8, 3
RULES = ("unrolled", "frozen")
SERIES = {"r": (1, 2, 3, 5, 10), "batch": (16, 32, 64, 128, 256), "I": (144, 288, 576, 1152, 2304)}
FIXED = {"r": R, "batch": 64, "I": I}


class Problem(NamedTuple):
    """What the layer is given, in NumPy's arrays."""

    W: np.ndarray
    u: np.ndarray
    dv: np.ndarray


class Result(NamedTuple):
    """What it is to give."""

    v: np.ndarray
    dW: np.ndarray
    du: np.ndarray


def problem(batch: int, inputs: int = I) -> Problem:
    """Input capsules shorter than one, and predictions that routing can tell apart."""
    rng = np.random.default_rng(0)
    return Problem(
        W=(0.1 * rng.standard_normal((inputs, J, m, n))).astype(np.float32),
        u=capsedu.squash(rng.standard_normal((batch, inputs, n))).astype(np.float32),
        dv=rng.standard_normal((batch, J, m)).astype(np.float32),
    )


# PyTorch. "detach" marks what the frozen rule takes as constant: all but the last total input.


def squash(s):
    squared = (s * s).sum(-1, keepdim=True)
    return squared / (1 + squared) * s / squared.sqrt()


def usual(W, u, detach):
    """As most repositories write it: multiply, broadcasting, and sum."""
    z = (W * u[:, :, None, None, :]).sum(-1)
    told = z.detach() if detach else z
    b = z.new_zeros(z.shape[:-1])
    for k in range(R):
        c = torch.softmax(b, -1)
        v = squash((c[..., None] * (z if k == R - 1 else told)).sum(1))
        if k < R - 1:
            b = b + (told * v[:, None]).sum(-1)
    return v


def einsum(W, u, detach):
    z = torch.einsum("ijmn,bin->bijm", W, u)
    told = z.detach() if detach else z
    b = z.new_zeros(z.shape[:-1])
    for k in range(R):
        c = torch.softmax(b, -1)
        v = squash(torch.einsum("bij,bijm->bjm", c, z if k == R - 1 else told))
        if k < R - 1:
            b = b + torch.einsum("bijm,bjm->bij", told, v)
    return v


def products(W, u, detach, copied):
    """Matrix products alone: one for each i makes z; one for each j, every sum."""
    I, J, m, n = W.shape
    z = torch.bmm(u.transpose(0, 1), W.reshape(I, J * m, n).transpose(1, 2))
    z = z.view(I, -1, J, m).permute(1, 2, 0, 3)  # (batch, J, I, m)
    if copied:
        z = z.contiguous()
    told = z.detach() if detach else z
    b = z.new_zeros(z.shape[:-1])
    for k in range(R):
        c = torch.softmax(b, 1)
        v = squash((c[:, :, None] @ (z if k == R - 1 else told))[:, :, 0])
        if k < R - 1:
            b = b + (told @ v[..., None])[..., 0]
    return v


def by_autograd(forward: Callable, given: Problem) -> Callable[[str], Result]:
    W, u = (torch.from_numpy(x).requires_grad_() for x in (given.W, given.u))
    dv = torch.from_numpy(given.dv)

    def run(rule: str) -> Result:
        W.grad = u.grad = None
        v = forward(W, u, rule == "frozen")
        v.backward(dv)
        return Result(v.detach().numpy(), W.grad.numpy(), u.grad.numpy())

    return run


# NumPy


def plain(given: Problem, rule: str) -> Result:
    W, u, dv = given
    routing = capsedu.route(capsedu.predict(W, u), R)
    return Result(routing.v, *capsedu.predict_vjp(W, u, capsedu.route_vjp(routing, dv, rule)))


def layer(given: Problem, rule: str, r: int = R) -> Result:
    W, u, dv = given
    routing = capsedu.capsule_layer(W, u, r)
    return Result(routing.v, *capsedu.capsule_layer_vjp(W, u, routing, dv, rule))


def layer_in_parts(given: Problem, rule: str) -> Result:
    """A part of the batch on each thread; the dW of the parts are added."""
    parts = zip(*(np.array_split(x, THREADS) for x in (given.u, given.dv)), strict=True)
    with ThreadPoolExecutor(THREADS) as pool:
        results = list(pool.map(lambda part: layer(Problem(given.W, *part), rule), parts))
    v, dW, du = zip(*results, strict=True)
    return Result(np.concatenate(v), sum(dW), np.concatenate(du))


def contestants(given: Problem) -> dict[str, Callable[[str], Result]]:
    forwards = {
        "multiply and sum": usual,
        "einsum": einsum,
        "products": partial(products, copied=False),
        "products, z copied": partial(products, copied=True),
    }
    eager = {f"PyTorch, {name}": by_autograd(f, given) for name, f in forwards.items()}
    compiled = {
        f"compiled, {name}": by_autograd(torch.compile(f, dynamic=False), given)
        for name, f in forwards.items()
    }
    ours = {"plain NumPy": partial(plain, given), "capsule_layer": partial(layer, given)}
    if THREADS > 1:
        ours[f"capsule_layer in {THREADS} parts"] = partial(layer_in_parts, given)
    return {**eager, **compiled, **ours}


# Measuring


def check(runs: dict[str, Callable], given: Problem) -> None:
    """Exit unless all give the same; the first call of each is where it compiles."""
    wide = Problem(*(x.astype(np.float64) for x in given))
    truth = {rule: plain(wide, rule) for rule in RULES}
    worst = 0.0
    for name, run in tqdm(runs.items(), desc="check", leave=False):
        for rule in RULES:
            for symbol, got, want in zip(Result._fields, run(rule), truth[rule], strict=True):
                error = abs(got - want).max() / abs(want).max()
                worst = max(worst, error)
                if not error < 1e-5:
                    sys.exit(f"{name}, {rule}: {symbol} is off by {error:.1e} of its largest entry")
    print(f"All give the same v, dW and du: off by at most {worst:.0e} of the largest entry.")


def megabytes(name: str, batch: int) -> list[float]:
    """Peak memory beyond the inputs and v, dW, du, for each rule; NaN where it can't be told."""
    output = in_fresh_process([__file__, "--memory-of", name, "--batch", str(batch)])
    return [float(word) for word in output.split()[-len(RULES) :]]


def report_memory(name: str, batch: int) -> None:
    run = contestants(problem(batch))[name]
    for rule in RULES:
        run(rule)  # what is compiled or made once is not counted
        peak, result = peak_megabytes(partial(run, rule))
        print(peak - sum(x.nbytes for x in result) / 1e6)
        result = None


def floor_flop(rule: str) -> float:
    """Multiplications and additions of an example, at the least."""
    z_dW_du = 3 * n
    forward = R + (R - 1)  # Σ_i c_ij z_ij, and z_ij·v_j
    backward = 1  # dz_ij = c_ij ds_j
    if rule == "unrolled":
        backward += (R - 1) * (2 + 2)  # dc, dv, and two more terms of dz
    return 2 * I * J * m * (z_dW_du + forward + backward)


# Tables


def layers_table(batch: int, repeats: int) -> None:
    given = problem(batch)
    runs = contestants(given)
    check(runs, given)
    calls = {(name, rule): partial(run, rule) for name, run in runs.items() for rule in RULES}
    square = np.random.default_rng(0).random((1024, 1024), dtype=np.float32)
    times = in_turns({**calls, "product": lambda: square @ square}, repeats, "time")
    memory = {name: megabytes(name, batch) for name in tqdm(runs, desc="memory", leave=False)}
    speed = 2 * 1024**3 / times.pop("product").min()
    print(
        f"I = {I}, J = {J}, m = {m}, n = {n}, r = {R}, float32, batch {batch}, threads: {THREADS}"
    )
    print(f"forward and backward, ms a sample: median (least) of {repeats} turns; peak extra MB\n")
    print(f"{'':30}" + "".join(f"{rule:>24}" for rule in RULES))

    def cell(name: str, rule: str) -> str:
        ms = 1e3 * times[name, rule] / batch
        return f"{np.median(ms):7.2f} ({ms.min():5.2f}) {memory[name][RULES.index(rule)]:5.0f} MB"

    for name in runs:
        print(f"{name:30}" + "".join(f"{cell(name, rule):>24}" for rule in RULES))
    floors = "".join(f"{1e3 * floor_flop(rule) / speed:7.2f}{'':17}" for rule in RULES)
    print(f"{f'floor, at {speed / 1e9:.0f} GFLOP/s':31}{floors.rstrip()}\n")

    print("capsule_layer is faster, by medians (by leasts), than")
    rivals = {
        "PyTorch, multiply and sum": ["PyTorch, multiply and sum"],
        "the fastest eager one": [name for name in runs if name.startswith("PyTorch")],
        "the fastest compiled one": [name for name in runs if name.startswith("compiled")],
        "plain NumPy": ["plain NumPy"],
    }
    for title, names in rivals.items():
        ratios = []
        for rule in RULES:
            median, least = (
                min(of(times[name, rule]) for name in names) / of(times["capsule_layer", rule])
                for of in (np.median, np.min)
            )
            ratios.append(f"{median:.1f} ({least:.1f}) times")
        print(f"  {title:28}" + "".join(f"{ratio:>24}" for ratio in ratios))


def cost_table(repeats: int) -> None:
    calls = {}
    for series, values in SERIES.items():
        for value in values:
            at = {**FIXED, series: value}
            given = problem(at["batch"], at["I"])
            for rule in RULES:
                calls[series, value, rule] = partial(layer, given, rule, at["r"])
    in_turns(calls, 1, "warm up")
    times = in_turns(calls, repeats, "cost")
    fixed = ", ".join(f"{name} = {value}" for name, value in FIXED.items())
    print(f"\ncapsule_layer, forward and backward, ms a call, least of {repeats}; {fixed} but for")
    for series, values in SERIES.items():
        print(f"\n{series:12}" + "".join(f"{value:9}" for value in values) + "    exponent")
        for rule in RULES:
            ms = np.array([1e3 * times[series, value, rule].min() for value in values])
            slope = np.polyfit(np.log(values), np.log(ms), 1)[0]
            print(f"{rule:12}" + "".join(f"{x:9.1f}" for x in ms) + f"{slope:12.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--batch", type=int, default=128, help="examples (default: 128)")
    parser.add_argument("--repeats", type=int, default=7, help="turns (default: 7)")
    parser.add_argument("--memory-of", help=argparse.SUPPRESS)
    options = parsed(parser)
    torch.set_num_threads(THREADS)
    if options.memory_of:
        report_memory(options.memory_of, options.batch)
        return
    try:
        layers_table(options.batch, options.repeats)
        cost_table(options.repeats)
    except KeyboardInterrupt:
        sys.exit("interrupted")


if __name__ == "__main__":
    main()
