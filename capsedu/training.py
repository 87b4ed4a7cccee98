"""Training: Adam, and a loop that can be interrupted and carried on."""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from capsedu.arguments import as_count, as_number

JUDGED = 5000  # training examples that an epoch's accuracy is taken on: more would take long


@dataclass(eq=False)
class Adam:
    """θ ← θ − η m̂ / (√v̂ + ε),  with m̂ = m / (1 − β₁ᵗ) and v̂ = v / (1 − β₂ᵗ) at step t.

    m and v are moving averages of the gradient g and its square, entry by entry, 0 at the start::

        m ← β₁ m + (1 − β₁) g
        v ← β₂ v + (1 − β₂) g²

    Attributes
    ----------
    learning_rate : float
        η, above 0: about how far an entry moves in a step.
    beta1, beta2 : float
        β₁ and β₂, in [0, 1).
    epsilon : float
        ε, above 0: a gradient below it moves little.
    steps : int
        t, the steps taken so far, so 1 in the first.
    moments : dict
        m and v of each parameter, by its name.

    Raises
    ------
    ValueError
        If a number is out of its range.

    Notes
    -----
    Kingma & Ba 2015, algorithm 1.
    """

    learning_rate: float = 0.005
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    steps: int = 0
    moments: dict[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("learning_rate", "epsilon"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name}: got {getattr(self, name)!r}, want a number above 0")
        for name in ("beta1", "beta2"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name}: got {getattr(self, name)!r}, want a number in [0, 1)")

    def step(self, parameters: dict[str, np.ndarray], gradients: dict[str, np.ndarray]) -> None:
        """Put new arrays in the place of `parameters`; the old ones are not written to."""
        self.steps += 1
        for name, g in gradients.items():
            m, v = self.moments.get(name, (0.0, 0.0))
            m = self.beta1 * m + (1 - self.beta1) * g
            v = self.beta2 * v + (1 - self.beta2) * g * g
            self.moments[name] = m, v
            m_hat = m / (1 - self.beta1**self.steps)
            v_hat = v / (1 - self.beta2**self.steps)
            update = self.learning_rate * m_hat / (np.sqrt(v_hat) + self.epsilon)
            parameters[name] = parameters[name] - update


class Epoch(NamedTuple):
    """One line of the history."""

    epoch: int  # from 1
    loss: float  # mean over the training examples, each as it was met
    train_accuracy: float  # from 0 to 1, at the end of the epoch, on the first JUDGED examples
    test_accuracy: float


class Begun(NamedTuple):
    """Where a training began: what an epoch changes, and a checkpoint is held to."""

    learning_rate: float
    generator: dict  # its state


@dataclass(eq=False)
class State:
    """All that an epoch changes, and so all that carrying on needs."""

    model: Any  # whatever has the four names of `capsedu.networks`
    optimiser: Adam
    generator: np.random.Generator
    history: list[Epoch]


class Training:
    """A model, its optimiser, the random numbers and the history, moved on epoch by epoch.

    An epoch goes once through the training examples in a new random order. It works on a copy of
    the state, which takes the state's place when the epoch is finished. So an interruption at any
    moment leaves the last finished epoch whole, `run` carries on from there as if nothing had
    happened, and the model that was handed in stays as it was: the trained one is `.model`.

    Parameters
    ----------
    model : object
        With `parameters`, `classes`, `loss_and_gradients` and `classify`, as
        `capsedu.networks.CapsuleClassifier` has them.
    train, test : (inputs, labels)
        Inputs with the examples along their first axis, and one integer label for each, in
        0 … classes−1.
    optimiser : Adam, optional
        Adam() if none is given.
    batch_size : int
        Examples in a step, at least 1; the last batch of an epoch may be smaller.
    seed : int or Generator
        Where the order of the examples, and what `vary` draws, comes from.
    decay : float
        What the learning rate is multiplied by after each epoch, above 0 and at most 1.
    vary : callable, optional
        (inputs of a batch, Generator) -> other inputs that mean the same, to learn from instead.

    Raises
    ------
    ValueError
        If inputs and labels don't fit each other or the model, `batch_size` is less than 1 or
        `decay` is out of its range.
    """

    def __init__(
        self,
        model: Any,
        train: tuple[np.ndarray, np.ndarray],
        test: tuple[np.ndarray, np.ndarray],
        optimiser: Adam | None = None,
        batch_size: int = 32,
        seed: int | np.random.Generator = 0,
        decay: float = 1.0,
        vary: Callable[[np.ndarray, np.random.Generator], np.ndarray] | None = None,
    ) -> None:
        self.decay, self.vary = as_number("decay", decay), vary
        if not 0 < self.decay <= 1:
            raise ValueError(f"decay: got {decay!r}, want a number above 0, at most 1")
        self.train = _checked("train", *train, model.classes)
        self.test = _checked("test", *test, model.classes)
        self.batch_size = as_count("batch_size", batch_size)
        self.state = State(model, optimiser or Adam(), np.random.default_rng(seed), [])
        self.begun = Begun(
            self.state.optimiser.learning_rate, self.state.generator.bit_generator.state
        )

    @property
    def model(self) -> Any:
        """The model as the last finished epoch left it."""
        return self.state.model

    @property
    def history(self) -> list[Epoch]:
        """One `Epoch` for each finished epoch."""
        return self.state.history

    def run(self, epochs: int, progress: bool = True) -> list[Epoch]:
        """Train `epochs` epochs more, and return the whole history.

        Parameters
        ----------
        epochs : int
            At least 1.
        progress : bool
            Whether to show a progress bar; it disappears at the end.

        Raises
        ------
        ValueError
            If `epochs` is less than 1.
        FloatingPointError
            If the loss is no longer finite; the last finished epoch is kept.
        KeyboardInterrupt
            On Ctrl-C; the last finished epoch is kept, and another `run` carries on.
        """
        steps = as_count("epochs", epochs) * math.ceil(len(self.train[1]) / self.batch_size)
        with tqdm(total=steps, leave=False, disable=not progress) as bar:
            for _ in range(epochs):
                self.state = self._epoch_after(copy.deepcopy(self.state), bar)
        return self.history

    def _epoch_after(self, state: State, bar: tqdm) -> State:
        """Return `state` one epoch further on."""
        inputs, labels = self.train
        number = len(state.history) + 1
        bar.set_description(f"epoch {number}")
        order = state.generator.permutation(len(labels))
        total = 0.0
        for start in range(0, len(order), self.batch_size):
            batch = order[start : start + self.batch_size]
            x = inputs[batch] if self.vary is None else self.vary(inputs[batch], state.generator)
            loss, gradients = state.model.loss_and_gradients(x, labels[batch])
            if not np.isfinite(loss):
                raise FloatingPointError(
                    f"loss: got {loss} in epoch {number}, want a finite number: "
                    "look for NaN in the inputs, or try a smaller learning rate"
                )
            state.optimiser.step(state.model.parameters, gradients)
            total += float(loss) * len(batch)
            bar.update()
        done = Epoch(
            number,
            total / len(order),
            accuracy(state.model, inputs[:JUDGED], labels[:JUDGED]),
            accuracy(state.model, *self.test),
        )
        state.history.append(done)
        state.optimiser.learning_rate *= self.decay
        bar.set_postfix_str(f"loss {done.loss:.4f}, test accuracy {done.test_accuracy:.3f}")
        return state


def accuracy(model: Any, inputs: np.ndarray, labels: np.ndarray) -> float:
    """Share of the examples whose predicted label is the right one, from 0 to 1."""
    block = 256  # examples at a time: their prediction vectors are many times larger than they are
    right = sum(
        np.count_nonzero(model.classify(inputs[k : k + block]) == labels[k : k + block])
        for k in range(0, len(labels), block)
    )
    return float(right) / len(labels)


def _checked(
    name: str, inputs: np.ndarray, labels: np.ndarray, classes: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return inputs and labels as arrays that fit each other and the model, or raise ValueError."""
    inputs, labels = np.asarray(inputs), np.asarray(labels)
    if labels.ndim != 1 or not labels.size or inputs.shape[:1] != labels.shape:
        raise ValueError(
            f"{name}: got inputs of shape {inputs.shape} and labels of shape {labels.shape}, "
            "want (N, …) and (N,), N at least 1"
        )
    if labels.dtype.kind not in "iu" or labels.min() < 0 or labels.max() >= classes:
        raise ValueError(
            f"{name}: got labels of dtype {labels.dtype} from {labels.min()} to {labels.max()}, "
            f"want integers from 0 to {classes - 1}"
        )
    return inputs, labels
