"""Same output, three gradients, with other integers: a problem by hand for each student."""

from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import numpy as np

from capsedu.arguments import as_count
from capsedu.layer import capsule_layer, capsule_layer_vjp

CLASSIC = (((1, 2), (1, 0)), (1, 1))  # W and u
LARGEST = 4  # of the integers
CLEARLY = 0.25  # how far frozen and unrolled differ at least, beside the largest entry
PROBLEM = """\
Two input capsules, two output capsules, all of one dimension, two iterations of routing:

- u = {u}
- W = {W}, rows i, columns j
- L = v_1

0. Predict, before you work anything out: is v_1 larger after the second iteration than after the
   first, smaller, or the same? And the gradient dL/dW_12: is it 0?
1. Work out z, then s, v and b of the first iteration, then c, s and v of the second.
2. Work out dL/dW and dL/du three times: for one iteration; for two with the couplings frozen; for
   two with the routing unrolled. Give four decimals.
"""


@dataclass(frozen=True, eq=False)
class HandExample:
    """A problem that is solved by hand, and its answers.

    Attributes
    ----------
    W : ndarray, shape (2, 2, 1, 1)
    u : ndarray, shape (2, 1)
    text : str
        The problem in words.
    answers : dict of str to ndarray
        "z"; "s first" and "v first"; "b", "c", "s" and "v" of the second iteration; "dW one",
        "dW frozen", "dW unrolled" and the same of du. Axes of length 1 are left out.
    """

    W: np.ndarray
    u: np.ndarray
    text: str
    answers: dict[str, np.ndarray]

    def sheet(self) -> str:
        """Return the answers, a line each."""
        rounded = {name: (np.round(x, 4) + 0.0).tolist() for name, x in self.answers.items()}
        prediction = f"v_1 is the same, and dL/dW_12 is not 0: {rounded['dW unrolled'][0][1]}"
        lines = {"prediction": prediction} | rounded
        return "\n".join(f"{name:12} {answer}" for name, answer in lines.items())

    def __str__(self) -> str:
        return self.text

    __repr__ = __str__

    def _repr_markdown_(self) -> str:
        """Return the problem, without its answers."""
        return self.text


def hand_example(seed: int = 0) -> HandExample:
    """Return a problem like the one of four integers, with its answer sheet.

    z = [[a, a + d], [a, a − d]], so that s¹ = (a, a) and v_1 is the same in both iterations, as in
    notebook 00: the output does not tell which gradient a code computes, and the answers do.

    Parameters
    ----------
    seed : int
        0 is the example of notebook 00; each other is another one, and they repeat after some
        seventy.

    Raises
    ------
    ValueError
        If `seed` is no integer of at least 0.
    """
    return _example(*_problems()[as_count("seed", seed, least=0) % len(_problems())])


@lru_cache(maxsize=1)
def _problems() -> list[tuple]:
    """Return W and u of every problem: the one of notebook 00 first, the others shuffled."""
    found = []
    for a, d, *u in product((-2, -1, 1, 2), range(-4, 5), (-1, 1, 2), (-1, 1, 2)):
        z = np.array([[a, a + d], [a, a - d]])
        W, remainder = np.divmod(z, np.reshape(u, (2, 1)))
        problem = tuple(map(tuple, W.tolist())), tuple(u)
        if d == 0 or remainder.any() or abs(W).max() > LARGEST or problem == CLASSIC:
            continue  # for d = 0 the couplings stay ½: routing changes nothing
        answers = _example(*problem).answers
        frozen, unrolled = answers["dW frozen"], answers["dW unrolled"]
        if abs(frozen - unrolled).max() > CLEARLY * abs(unrolled).max():
            found.append(problem)
    order = np.random.default_rng(0).permutation(len(found))
    return [CLASSIC, *(found[k] for k in order)]


def _example(W: tuple, u: tuple) -> HandExample:
    """Return the problem of these integers, and its answers as the library computes them."""
    text = PROBLEM.format(u=u, W=[list(row) for row in W])
    W, u = np.reshape(W, (2, 2, 1, 1)), np.reshape(u, (2, 1))
    one, two = capsule_layer(W, u, 1), capsule_layer(W, u, 2)
    answers = {"z": W[..., 0, 0] * u, "s first": one.s, "v first": one.v}
    answers |= {"b": two.b, "c": two.c, "s": two.s, "v": two.v}
    gradients = {"one": (one, "frozen"), "frozen": (two, "frozen"), "unrolled": (two, "unrolled")}
    dv = np.array([[1.0], [0.0]])
    for name, (routing, rule) in gradients.items():
        dW, du = capsule_layer_vjp(W, u, routing, dv, rule)
        answers |= {f"dW {name}": dW, f"du {name}": du}
    answers = {name: x.reshape((2, 2) if x.size == 4 else 2) for name, x in answers.items()}
    return HandExample(W, u, text, answers)
