"""The whole mathematics once more, with every known mistake beside the line where it is made."""

from collections.abc import Callable

import numpy as np

from capsedu.predictions import predict
from capsedu.routing import Iteration, Routing, softmax

EPSILONS = (1e-3, 1e-4)  # smaller ones show only where vectors are short


def per_output(s_or_z: np.ndarray) -> np.ndarray:
    """Give a (…, J, m) array an axis of inputs i, to meet a (…, I, J, m) one."""
    return s_or_z[..., None, :, :]


def dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Σ_a a[…, a] b[…, a]."""
    return (a * b).sum(axis=-1)


class Variation:
    """Every task, under the name and with the signature of the library's function.

    Right if no way of going wrong is named; otherwise with those mistakes, and no others.

    Parameters
    ----------
    *ways : str
        Of the catalogue: a mistake's id, or id/how where there are several ways to make it.
    views : int
        How many leading axes hold views of one batch or example, each to be taken for itself.
    """

    def __init__(self, *ways: str, views: int = 0):
        self.ways, self.views = frozenset(ways), views

    def has(self, *ways: str) -> bool:
        """Whether one of these ways of going wrong is on."""
        return not self.ways.isdisjoint(ways)

    # Squash: v = f(t) s with t = ‖s‖, so that J = f I + (f′/t) s sᵀ; right is f = t/(1+t²).

    def epsilon(self, where: str) -> float:
        """ε: "norm" and "radicand", beside ‖s‖ and under its root; else where s is divided."""
        return sum(x for x in EPSILONS if self.has(f"epsilon-bias/{where}/{x:g}"))

    def sums(self, x: np.ndarray, alone: str = "squash-wrong-axis/norm") -> np.ndarray:
        """Σ over the entries of each vector, their axis kept."""
        axis: int | tuple[int, ...] = -1
        if self.has("squash-wrong-axis", alone):
            axis = -2
        if self.has("squash-wrong-axis/batch"):
            axis = self.views
        if self.has("squash-norm-of-everything"):
            axis = tuple(range(self.views, x.ndim))
        return x.sum(axis=axis, keepdims=True)

    def shape(self, s: np.ndarray) -> tuple[np.ndarray, ...]:
        """t, f and f′/t, where t is made 1 if it is 0."""
        n = np.sqrt(self.sums(s * s) + self.epsilon("radicand")) + self.epsilon("norm")
        t = np.where(n == 0, 1, n)
        one, divisor = 1 + t * t, np.sqrt(t * t + self.epsilon("under")) + self.epsilon("beside")
        if self.has("squash-plain-normalisation"):
            return t, 1 / t, -1 / t**3
        if self.has("squash-norm-squared"):
            return t, t * t / one, 2 / one**2
        if self.has("squash-norm-forgotten"):
            return t, 1 / one, -2 / one**2
        if self.has("squash-squares-missing"):
            return t, 1 / (1 + t), -1 / (t * (1 + t) ** 2)
        return t, n / one * (n / divisor), (1 - t * t) / (t * one**2)

    def squash(self, s: np.ndarray) -> np.ndarray:
        """v = f(‖s‖) s."""
        return s if self.has("squash-forgotten") else self.shape(s)[1] * s

    def parts(self, s: np.ndarray) -> tuple[np.ndarray, ...]:
        """s, and the factors a, b of J = a I + b s sᵀ."""
        if self.has("squash-jacobian-at-v"):
            s = self.squash(s)
        t, f, h = self.shape(s)
        if self.has("squash-jacobian-norm-constant"):
            h = np.zeros_like(h)
        if self.has("squash-jacobian-sign"):
            h = -h
        if self.has("squash-norm-squared/jacobian"):
            f = t * f
        if self.has("squash-norm-squared/denominator"):
            h = h / t
        if self.has("squash-jacobian-radial-only"):
            f, h = np.zeros_like(f), h + f / t**2
        if self.has("squash-jacobian-tangential-only"):
            h = -f / t**2
        if self.has("squash-jacobian-forgotten"):
            f, h = np.ones_like(f), np.zeros_like(h)
        return s, f, h

    def squash_jacobian(self, s: np.ndarray) -> np.ndarray:
        """J = a I + b s sᵀ."""
        m = s.shape[-1]
        s, f, h = self.parts(s)
        f, h = (np.broadcast_to(x, s.shape)[..., None] for x in (f, h))
        J = f * np.eye(m) + h * (s[..., :, None] * s[..., None, :])
        return J * np.eye(m) if self.has("squash-jacobian-diagonal-only") else J

    def squash_vjp(self, s: np.ndarray, dv: np.ndarray) -> np.ndarray:
        """ds = a dv + b (s·dv) s."""
        if self.has("upstream-ignored"):
            dv = np.ones_like(dv)
        s, f, h = self.parts(s)
        if self.has("squash-jacobian-diagonal-only"):
            return (f + h * s * s) * dv
        return f * dv + h * self.sums(s * dv, "squash-wrong-axis/product") * s

    # Softmax.

    def over(self, x: np.ndarray, reduce: Callable = np.sum) -> np.ndarray:
        """Σ over the output capsules, their axis kept."""
        axis: int | tuple[int, ...] = -1
        if self.has("softmax-over-inputs", "softmax-over-inputs/forward"):
            axis = -2
        if self.has("softmax-over-batch") and x.ndim > 2 + self.views:
            axis = self.views
        if self.has("softmax-over-everything"):
            axis = tuple(range(self.views, x.ndim))
        return reduce(x, axis=axis, keepdims=True)

    def softmax(self, b: np.ndarray) -> np.ndarray:
        """c = exp(b) / Σ exp(b)."""
        if self.has("softmax-not-normalised"):
            return np.exp(b)
        if self.has("softmax-applied-twice"):
            b = softmax(b)
        exp_b = np.exp(b - self.over(b, np.max))
        return exp_b if self.has("softmax-not-normalised/shifted") else exp_b / self.over(exp_b)

    def softmax_vjp(self, c: np.ndarray, dc: np.ndarray) -> np.ndarray:
        """db = c (dc − Σ c dc)."""
        if self.has("softmax-applied-twice"):
            c = softmax(c)
        if self.has("upstream-ignored"):
            return c * (1 - c)
        if self.has("softmax-jacobian-diagonal-only"):
            return c * (1 - c) * dc
        if self.has("softmax-jacobian-without-sum"):
            return c * dc
        if self.has("softmax-jacobian-identity"):
            return dc
        if self.has("softmax-jacobian-cross-entropy"):
            return c - dc
        if self.has("softmax-jacobian-unweighted-sum"):
            return c * (dc - self.over(dc))
        return c * (dc - self.over(c * dc))

    # Predictions.

    def predict_vjp(self, W: np.ndarray, u: np.ndarray, dz: np.ndarray) -> tuple:
        """dW_ij = Σ_batch dz_ij u_iᵀ, du_i = Σ_j W_ijᵀ dz_ij."""
        if self.has("upstream-ignored"):
            dz = np.ones_like(dz)
        return self.weights_vjp(W, u, dz), self.inputs_vjp(W, dz)

    def weights_vjp(self, W: np.ndarray, u: np.ndarray, dz: np.ndarray) -> np.ndarray:
        """dW_ij = Σ_batch dz_ij u_iᵀ."""
        dW = self.outer(W, u, dz)
        examples = dW.reshape(-1, *dW.shape[-4:])
        if self.has("mean-for-sum"):
            return examples.mean(axis=0)
        if self.has("first-example-only"):
            return examples[0]
        if self.has("last-example-only"):
            return examples[-1]
        return dW if self.has("batch-not-summed") else examples.sum(axis=0)

    def outer(self, W: np.ndarray, u: np.ndarray, dz: np.ndarray) -> np.ndarray:
        """dz_ij u_iᵀ."""
        inputs = predict(W, u) if self.has("prediction-for-input") else u[..., :, None, :]
        return dz[..., :, None] * inputs[..., None, :]

    def inputs_vjp(self, W: np.ndarray, dz: np.ndarray) -> np.ndarray:
        """du_i = Σ_j W_ijᵀ dz_ij."""
        transposed = W if self.has("W-for-its-transpose") else np.swapaxes(W, -1, -2)
        du = (transposed @ dz[..., None])[..., 0]
        if self.has("mean-for-sum/inputs"):
            du = du / np.size(dz[..., 0, 0, 0])
        if self.has("j-not-summed"):
            return du
        if self.has("j-not-summed/first"):
            return du[..., 0, :]
        if self.has("j-not-summed/last"):
            return du[..., -1, :]
        return du.mean(axis=-2) if self.has("mean-for-sum/j") else du.sum(axis=-2)

    # Routing.

    def route(self, z: np.ndarray, iterations: int = 3) -> Routing:
        """r times: c = softmax(b), s_j = Σ_i c_ij z_ij, v_j = squash(s_j), b_ij += z_ij·v_j."""
        b = np.zeros(z.shape[:-1])
        if self.has("logits-shared-over-batch/carried") and z.ndim > 3 and len(z) > 1:
            before = self.route(z[:-1], iterations)
            b[1:] = self.update(before.z, *before.steps[-1])
        iterations += self.has("one-iteration-too-many") - self.has("one-iteration-too-few")
        if self.has("always-one-iteration"):
            iterations = 1
        if self.has("squash-before-sum/early", "squash-before-sum/again"):
            z = self.squash(z)
        steps = []
        for k in range(iterations):
            if steps:
                b = self.update(z, *steps[-1])
            c = b if self.has("agreement-added-to-coupling") and steps else self.softmax(b)
            in_turn = self.has("outputs-updated-in-turn") and k < iterations - 1
            if in_turn or self.has("outputs-updated-in-turn/last"):
                c = self.couplings_in_turn(z, b)
            steps.append(Iteration(b, c, *self.outputs(z, c)))
        return Routing(tuple(steps), z)

    def outputs(self, z: np.ndarray, c: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """s_j = Σ_i c_ij z_ij and v_j = squash(s_j)."""
        if self.has("coupling-forgotten/forward"):
            c = np.ones_like(c)
        early = self.has("squash-before-sum", "squash-before-sum/twice")
        s = (c[..., None] * (self.squash(z) if early else z)).sum(axis=-3)
        if self.has("inputs-averaged"):
            s = s / z.shape[-3]
        done = self.has("squash-before-sum", "squash-before-sum/early")
        return s, s if done else self.squash(s)

    def update(self, z: np.ndarray, b: np.ndarray, c: np.ndarray, s: np.ndarray, v: np.ndarray):
        """Return b_ij + z_ij·v_j."""
        agreement = dot(z, per_output(s if self.has("agreement-before-squash") else v))
        shared = ("logits-shared-over-batch", np.mean), ("logits-shared-over-batch/sum", np.sum)
        for way, over in shared if z.ndim > 3 else ():
            if self.has(way):
                agreement = np.broadcast_to(over(agreement, axis=0), agreement.shape)
        if self.has("logits-not-accumulated"):
            return agreement
        if self.has("agreement-added-to-coupling", "agreement-added-to-coupling/softmax"):
            return c + agreement
        return b + agreement

    def couplings_in_turn(self, z: np.ndarray, b: np.ndarray) -> np.ndarray:
        """c if each output's logits are updated before the next output's couplings are taken."""
        b, taken = b.copy(), self.softmax(b)
        for j in range(z.shape[-2]):
            taken[..., j] = self.softmax(b)[..., j]
            _, v = self.outputs(z, taken)
            b[..., j] += dot(z, per_output(v))[..., j]
        return taken

    def coupling(self, steps: tuple[Iteration, ...], k: int, z: np.ndarray) -> tuple:
        """c of iteration k: the weight of z_ij, and what the softmax's vjp is given."""
        b, c, _, v = steps[k]
        if self.has("coupling-forgotten"):
            return np.ones_like(c), c
        if self.has("coupling-squared"):
            return c * c, c
        if self.has("logits-for-couplings"):
            return b, c
        stale, fresh = steps[max(k - 1, 0)].c, self.softmax(b + dot(z, per_output(v)))
        for way, other in (("coupling-stale", stale), ("coupling-updated-once-more", fresh)):
            if self.has(way):
                return other, c
            if self.has(f"{way}/everywhere"):
                return other, other
        return c, c

    def route_vjp(self, routing: Routing, dv: np.ndarray, rule: str = "unrolled") -> np.ndarray:
        """dz, the sum over the iterations, last to first; frozen, the last alone."""
        z, steps = routing.z, routing.steps
        if self.has("upstream-ignored"):
            dv = np.ones_like(dv)
        frozen = self.has("couplings-held-constant" if rule == "unrolled" else "couplings-not-held")
        frozen = frozen != (rule == "frozen")
        inner = Variation(*self.ways - {"upstream-ignored"}, views=self.views)
        first = len(steps) - 2 if self.has("earlier-iterations-missing") else 0
        dz = db = 0.0
        for k in reversed(range(len(steps))):
            at = len(steps) - 1 if self.has("last-iteration-everywhere") else k
            weight, c = inner.coupling(steps, at, z)
            ds = inner.squash_vjp(steps[at].s, dv)
            dz = 0.0 if self.has("iterations-not-added") else dz
            dz = dz + weight[..., None] * per_output(ds)
            if frozen or k <= max(first, 0):
                break
            carried = 0 if self.has("logits-not-accumulated") else db
            if self.has("softmax-jacobian-at-logits"):
                c = steps[at].b
            db = carried + inner.softmax_vjp(c, dot(z, per_output(ds)))
            met = k if self.has("agreement-with-later-output") else k - 1
            if not self.has("direct-path-missing"):
                dz = dz + db[..., None] * per_output(steps[met].v)
            if self.has(f"earlier-iterations-missing/{k}"):
                break
            dv = 0.0 if self.has("path-through-v-missing") else (db[..., None] * z).sum(axis=-3)
        return dz

    # The layer.

    def capsule_layer_vjp(
        self,
        W: np.ndarray,
        u: np.ndarray,
        routing: Routing,
        dv: np.ndarray,
        rule: str = "unrolled",
    ) -> tuple[np.ndarray, np.ndarray]:
        """dW and du from the dz of routing."""
        routing = Routing(routing.steps, predict(W, u))
        if self.has("softmax-over-inputs/forward"):
            routing = self.route(routing.z, len(routing.steps))
        dz = self.route_vjp(routing, dv, rule)
        return self.weights_vjp(W, u, dz), self.inputs_vjp(W, dz)

    def dv_dW(
        self, W: np.ndarray, u: np.ndarray, iterations: int = 3, rule: str = "unrolled"
    ) -> np.ndarray:
        """∂v_k[a]/∂W_ij[l, p], a view for each dv that asks for one entry of v."""
        z = predict(W, u)
        steps = self.route(z, iterations).steps
        _, J, m = z.shape
        dv = np.eye(J * m).reshape(J * m, J, m)
        views = [
            Iteration(*(np.broadcast_to(x, (J * m, *x.shape)) for x in step)) for step in steps
        ]
        dz = Variation(*self.ways, views=1).route_vjp(Routing(views, z), dv, rule)
        jacobian = self.outer(W, u, dz)
        jacobian = jacobian.reshape(J, m, *jacobian.shape[1:])
        if self.has("other-outputs-missing"):
            jacobian = jacobian * np.eye(J)[:, None, None, :, None, None]
        return jacobian

    # The loss.

    def margins(self, v, labels, m_plus, m_minus, down_weight) -> tuple[np.ndarray, ...]:
        """‖v_k‖, both hinges and their weights T and λ (1 − T), and the size of the mean."""
        T = (np.asarray(labels)[..., None] == np.arange(v.shape[-2])).astype(float)
        length = np.sqrt(dot(v, v) + self.epsilon("radicand"))
        measured = length**2 if self.has("loss-of-squared-length") else length
        if self.has("loss-terms-swapped"):
            T = 1 - T
        if self.has("loss-margins-swapped"):
            m_plus, m_minus = m_minus, m_plus
        if self.has("down-weight-missing"):
            down_weight = 1
        present, absent = T, down_weight * (1 - T)
        if self.has("down-weight-on-present"):
            present, absent = down_weight * T, 1 - T
        hinges = m_plus - measured, measured - m_minus
        if not self.has("loss-hinge-missing"):
            hinges = tuple(np.maximum(0, hinge) for hinge in hinges)
        size = 1 if self.has("sum-over-batch") else np.size(labels)
        if self.has("mean-over-classes"):
            size = size * v.shape[-2]
        return length, *hinges, present, absent, size

    def margin_loss(self, v, labels, m_plus=0.9, m_minus=0.1, down_weight=0.5) -> float:
        """L = mean Σ_k T_k max(0, m⁺ − ‖v_k‖)² + λ (1 − T_k) max(0, ‖v_k‖ − m⁻)²."""
        given = v, labels, m_plus, m_minus, down_weight
        _, short, long, present, absent, size = self.margins(*given)
        power = 1 if self.has("loss-squares-missing") else 2
        return (present * short**power + absent * long**power).sum() / size

    def margin_loss_vjp(self, v, labels, m_plus=0.9, m_minus=0.1, down_weight=0.5) -> np.ndarray:
        """dv_k = (−2 T_k max(0, m⁺ − ‖v_k‖) + 2 λ (1 − T_k) max(0, ‖v_k‖ − m⁻)) v_k/‖v_k‖ / B."""
        given = v, labels, m_plus, m_minus, down_weight
        length, short, long, present, absent, size = self.margins(*given)
        if self.has("loss-squares-missing"):
            short, long = (short > 0) / 2, (long > 0) / 2
        sign = -1 if self.has("loss-terms-same-sign") else 1
        slope = 2 * (absent * long - sign * present * short)
        if self.has("loss-of-squared-length"):
            slope = slope * 2 * length
        slope, length = slope[..., None], length[..., None]
        if self.has("loss-direction-missing"):
            return slope * np.ones_like(v) / size
        if self.has("loss-direction-not-unit"):
            return slope * v / size
        return slope * v / np.where(length == 0, 1, length) / size
