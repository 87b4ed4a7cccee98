"""Which gradient? The experiment: both rules, with and without routing, told by what they reach.

Trains one capsule layer, and a small capsule network, on the digits that come with capsedu:

- frozen: the gradient with the couplings held;
- unrolled: the exact one;
- frozen, exact length: the direction of the frozen one, the length of the exact one, to tell apart
  what the direction does and what the step size;
- r = 1: no routing, where all three are the same.

A learning rate is chosen for each on 1,000 of the training digits, held out; then every seed is
trained once, and judged by the test digits. A seed gives all of them the same first W and the same
order of examples, so that differences are taken seed by seed. Finished runs are kept in the results
file, and the same command carries on; with all of them there, it only prints the tables.

By default a run goes to each core of this machine; with --scheduler, to the workers of a Dask
cluster (README.md beside this script says how to start one).
"""

import argparse
import itertools
import sys
import time
from collections.abc import Iterable
from concurrent.futures import Executor
from pathlib import Path

import numpy as np

import capsedu
from capsedu.capsule_network import CapsuleNetwork
from capsedu.data import load_digits_sample, shifted
from capsedu.figures.experiment import what_the_rules_reach
from capsedu.networks import CapsuleClassifier, initial_W
from capsedu.patches import PatchBasis
from capsedu.routing import entropy
from capsedu.squashing import length_and_direction
from capsedu.sweeps import paired_difference, run_all
from capsedu.training import Adam, Training

RESULTS = Path(__file__).with_name("which_gradient.jsonl")
VALIDATION = 1000  # training digits that are held out when a learning rate is chosen
ITERATIONS = (2, 3, 5)
RULES = ("unrolled", "frozen", "frozen, exact length")
RATES = {"layer": (0.0025, 0.005, 0.01, 0.02), "network": (0.0005, 0.001, 0.002, 0.004, 0.008)}
EPOCHS = {"layer": 10, "network": 8}
SEEDS = {"layer": 5, "network": 5}
CHOOSING = {"layer": 2, "network": 1}  # seeds that choose the learning rate
TESTED = (1, 2, 3, 5, 10)  # iterations at test time


class ExactLength(CapsuleClassifier):
    """The frozen gradient, made as long as the unrolled one."""

    def loss_and_gradients(self, u: np.ndarray, labels: np.ndarray) -> tuple[np.floating, dict]:
        """L, and ∂L/∂W by the frozen rule times ‖unrolled‖ / ‖frozen‖."""
        routing = self.forward(u)
        dv = capsedu.margin_loss_vjp(routing.v, labels)
        W = self.parameters["W"]
        frozen, exact = (
            capsedu.capsule_layer_vjp(W, u, routing, dv, rule)[0] for rule in ("frozen", "unrolled")
        )
        longer = np.linalg.norm(exact) / max(np.linalg.norm(frozen), np.finfo(frozen.dtype).tiny)
        return capsedu.margin_loss(routing.v, labels), {"W": frozen * longer.astype(frozen.dtype)}


def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    try:
        executor = cluster(options.scheduler) if options.scheduler else None
        for model in options.models:
            chosen = choose_rates(model, options.results, executor)
            results = judged(model, chosen, options.results, executor)
            print(report(model, results, chosen))
            if options.figure and model == "layer":
                what_the_rules_reach(results).save(options.results.with_suffix(".png"))
    except KeyboardInterrupt:
        sys.exit(f"stopped: finished runs are in {options.results}; the same command carries on")
    except (OSError, ValueError) as error:
        sys.exit(f"which_gradient.py: {error}")


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="*", metavar="layer|network", help="default: the layer")
    parser.add_argument("--results", type=Path, default=RESULTS, help="default: %(default)s")
    parser.add_argument(
        "--scheduler", metavar="ADDRESS", help="of a Dask cluster that makes the runs"
    )
    parser.add_argument(
        "--figure", action="store_true", help="draw the layer's results beside the results file"
    )
    options = parser.parse_args(arguments)
    options.models = options.models or ["layer"]
    for model in options.models:
        if model not in EPOCHS:
            parser.error(f"got {model!r}, want layer or network")
    return options


def cluster(address: str) -> Executor:
    """Return the executor of a Dask cluster."""
    try:
        from distributed import Client
    except ModuleNotFoundError:
        raise ValueError('--scheduler wants Dask: pip install -e ".[cluster]"') from None
    return Client(address).get_executor(pure=False)


def contestants(model: str) -> list[dict]:
    """Return what is compared: rule and iterations. Without routing there is only one gradient."""
    rules, iterations = (RULES, ITERATIONS) if model == "layer" else (RULES[:2], (3,))
    routed = [{"rule": rule, "iterations": r} for r in iterations for rule in rules]
    return [{"rule": "frozen", "iterations": 1}, *routed]


def choose_rates(
    model: str, path: Path, executor: Executor | None = None
) -> dict[tuple[str, int], float]:
    """Return for each contestant the rate with the best mean accuracy on the validation digits."""
    settings = [
        {"model": model, **each, "rate": rate, "seed": seed, "judge": "validation"}
        for seed, rate, each in itertools.product(
            range(CHOOSING[model]), RATES[model], contestants(model)
        )
    ]
    found: dict[tuple[str, int], dict[float, list[float]]] = {}
    for result in run_all(run, settings, path, executor):
        of_rate = found.setdefault((result["rule"], result["iterations"]), {})
        of_rate.setdefault(result["rate"], []).append(result["accuracy"])
    return {
        each: max(of_rate, key=lambda rate: np.mean(of_rate[rate]))
        for each, of_rate in found.items()
    }


def judged(
    model: str,
    chosen: dict[tuple[str, int], float],
    path: Path,
    executor: Executor | None = None,
) -> list[dict]:
    """Return every seed of every contestant, at its own rate, judged by the test digits."""
    settings = [
        {
            "model": model,
            **each,
            "rate": chosen[each["rule"], each["iterations"]],
            "seed": seed,
            "judge": "test",
        }
        for seed, each in itertools.product(range(SEEDS[model]), contestants(model))
    ]
    return run_all(run, settings, path, executor)


def run(setting: dict) -> dict:
    """Train once. The seed's generator makes the first weights, and then the order of examples."""
    x, y, x_judge, y_judge = load_digits_sample()
    if setting["judge"] == "validation":
        x, x_judge = x[:-VALIDATION], x[-VALIDATION:]
        y, y_judge = y[:-VALIDATION], y[-VALIDATION:]
    generator = np.random.default_rng(setting["seed"])
    rule, r = setting["rule"], setting["iterations"]
    if setting["model"] == "layer":
        basis = PatchBasis.fit(x)
        encode = basis.encode
        kind = ExactLength if rule == "frozen, exact length" else CapsuleClassifier
        W = initial_W(encode(x), seed=generator)
        model = kind({"W": W}, r, rule.partition(",")[0])
        options = {}
    else:
        encode = np.asarray
        model = CapsuleNetwork.start(x[:200], iterations=r, rule=rule, seed=generator)
        options = {"batch_size": 64, "decay": 0.9, "vary": shifted}
    training = Training(
        model,
        (encode(x), y),
        (encode(x_judge), y_judge),
        Adam(setting["rate"]),
        seed=generator,
        **options,
    )
    start = time.process_time()
    history = training.run(EPOCHS[setting["model"]], progress=False)
    seconds = time.process_time() - start
    steps = routed(training.model, encode(x_judge), max(TESTED))
    pairs, pair_labels = overlapping(x_judge, y_judge)
    return {
        "loss": history[-1].loss,
        "train accuracy": history[-1].train_accuracy,
        "accuracy": history[-1].test_accuracy,
        "accuracy by epoch": [epoch.test_accuracy for epoch in history],
        "accuracy at r": {k: recognised(steps[k - 1], y_judge[:, None]) for k in TESTED},
        "both of two": recognised(routed(training.model, encode(pairs), r)[-1], pair_labels),
        "entropy at r": {k: float(entropy(steps[k - 1].c).mean()) for k in TESTED},
        "untrained entropy at r": {
            k: float(entropy(step.c).mean())
            for k, step in enumerate(routed(model, encode(x_judge), max(TESTED)), start=1)
            if k in TESTED
        },
        "processor seconds": round(seconds, 2),
    }


def routed(model: object, inputs: np.ndarray, iterations: int) -> tuple:
    """Return every iteration of the model's capsule layer, run for that many."""
    u = inputs if isinstance(model, CapsuleClassifier) else model.forward(inputs).u
    return capsedu.capsule_layer(model.parameters["W"], u, iterations).steps


def recognised(step: object, labels: np.ndarray) -> float:
    """Return the share of examples whose longest outputs are just those of its labels."""
    lengths = length_and_direction(step.v)[0][..., 0]
    longest = np.argsort(-lengths, axis=-1)[:, : labels.shape[1]]
    return float((np.sort(longest) == np.sort(labels)).all(axis=-1).mean())


def overlapping(images: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return pairs of different digits, one over the other, moved 4 pixels apart; their labels."""
    generator = np.random.default_rng(0)
    other = generator.permutation(len(labels))
    different = labels != labels[other]
    one, two = images[different], images[other][different]
    pairs = np.maximum(np.roll(one, (-2, -2), axis=(1, 2)), np.roll(two, (2, 2), axis=(1, 2)))
    return pairs, np.stack([labels, labels[other]], axis=1)[different]


def report(model: str, results: list[dict], chosen: dict[tuple[str, int], float]) -> str:
    """Return the tables: each contestant; paired differences; entropies; r at test time."""
    runs = {
        (name := (each["rule"], each["iterations"])): [
            result for result in results if (result["rule"], result["iterations"]) == name
        ]
        for each in contestants(model)
    }
    timed = model == "layer"  # of the network's time the rule decides little
    at_r = " | ".join(f"r = {k}" for k in TESTED)
    lines = [
        f"\n{model}: {SEEDS[model]} seeds, {EPOCHS[model]} epochs, mean ± standard deviation\n",
        f"| gradient | r | rate | accuracy, % | both of two, % | training loss |{timed * ' s |'}",
        f"|---|---|---|---|---|---|{timed * '---|'}",
    ]
    for (rule, r), of_name in runs.items():
        seconds = f" {_mean(of_name, 'processor seconds'):.1f} |"
        lines.append(
            f"| {rule if r > 1 else 'no routing'} | {r} | {chosen[rule, r]:g} "
            f"| {_spread(of_name, 'accuracy')} | {_spread(of_name, 'both of two')} "
            f"| {_mean(of_name, 'loss'):.4f} |{timed * seconds}"
        )
    lines += [
        "\nPaired differences, percent of the digits, with an interval of 95 % over the seeds\n",
        f"| difference | both of two | accuracy |{timed * ' an epoch earlier | in the same s |'}",
        f"|---|---|---|{timed * '---|---|'}",
    ]
    for one, other in pairs(runs):
        differences = [
            _interval(runs[one], runs[other], "both of two"),
            _interval(runs[one], runs[other], "accuracy"),
        ]
        if timed:
            earlier = [after(EPOCHS[model] - 1, runs[name]) for name in (one, other)]
            at_once = in_the_same_seconds(runs[one], runs[other])
            differences += [_interval(*both, "accuracy") for both in (earlier, at_once)]
        lines.append(f"| {_name(one)} − {_name(other)} | {' | '.join(differences)} |")
    lines += [
        "\nMean entropy of the couplings at iteration r, 1 for undecided\n",
        f"| trained with | {at_r} |",
        f"|---|{'---|' * len(TESTED)}",
        f"| untrained | {_at_r(results, 'untrained entropy at r', '.3f')} |",
        *(
            f"| {_name(name)} | {_at_r(of_name, 'entropy at r', '.3f')} |"
            for name, of_name in runs.items()
        ),
        "\nAccuracy, %, with other iterations at test time than in training\n",
        f"| trained with | {at_r} |",
        f"|---|{'---|' * len(TESTED)}",
        *(
            f"| {_name(name)} | {_at_r(of_name, 'accuracy at r', '.2%').replace('%', '')} |"
            for name, of_name in runs.items()
        ),
    ]
    return "\n".join(lines)


def pairs(names: Iterable[tuple[str, int]]) -> list[tuple]:
    """Return what is set against what: the rules at each r, and routing against none."""
    names = list(names)
    routed = [name for name in names if name[1] > 1]
    at = {r: [name for name in routed if name[1] == r] for _, r in routed}
    return [
        *((("unrolled", r), other) for r, of_r in at.items() for other in of_r[1:]),
        *((name, names[0]) for name in routed if name[0] == "unrolled"),
    ]


def in_the_same_seconds(one: list[dict], other: list[dict]) -> list[list[dict]]:
    """Return both as they stood when the faster one ended: after the whole epochs that fit."""
    seconds = [_mean(results, "processor seconds") for results in (one, other)]
    epochs = len(one[0]["accuracy by epoch"])
    return [
        after(max(1, int(epochs * (min(seconds) / took))), results)
        for results, took in zip((one, other), seconds, strict=True)
    ]


def after(epochs: int, results: list[dict]) -> list[dict]:
    """Return the results with the accuracy that they had after so many epochs."""
    return [result | {"accuracy": result["accuracy by epoch"][epochs - 1]} for result in results]


def _name(name: tuple[str, int]) -> str:
    rule, r = name
    return f"{rule}, r = {r}" if r > 1 else "no routing"


def _mean(results: list[dict], key: str) -> float:
    return float(np.mean([result[key] for result in results]))


def _spread(results: list[dict], key: str) -> str:
    percent = [100 * result[key] for result in results]
    return f"{np.mean(percent):.2f} ± {np.std(percent, ddof=1):.2f}"


def _at_r(results: list[dict], key: str, form: str) -> str:
    """Return the means at each number of iterations, as cells of a table."""
    means = [np.mean([result[key][str(k)] for result in results]) for k in TESTED]
    return " | ".join(format(mean, form) for mean in means)


def _interval(one: list[dict], other: list[dict], key: str) -> str:
    mean, half = paired_difference(one, other, key)
    return f"{100 * mean:+.2f} ± {100 * half:.2f}"


if __name__ == "__main__":
    main()
