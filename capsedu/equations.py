"""Every equation of the series, once: its id, what it says, where it is derived, what computes it.

The same id stands in the notebook and in the docstring of the function.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module


@dataclass(frozen=True)
class Equation:
    """One equation.

    Attributes
    ----------
    id : str
        Its name everywhere.
    statement : str
        What it says, as text.
    notebook : str
        The notebook that derives it, without its ending.
    function : str
        Dotted public name of the function that computes it.
    """

    id: str
    statement: str
    notebook: str
    function: str

    def resolve(self) -> Callable:
        """Return what stands at the dotted name now."""
        module, _, name = self.function.rpartition(".")
        return getattr(import_module(module), name)


EQUATIONS = (
    Equation("squash", "v = ‖s‖ s / (1 + ‖s‖²)", "01_squash", "capsedu.squash"),
    Equation(
        "squash-jacobian",
        "∂v/∂s = ‖s‖/(1+‖s‖²) I + (1−‖s‖²)/(‖s‖(1+‖s‖²)²) s sᵀ",
        "01_squash",
        "capsedu.squash_jacobian",
    ),
    Equation("squash-vjp", "ds = (∂v/∂s)ᵀ dv", "01_squash", "capsedu.squash_vjp"),
    Equation("prediction", "z_ij = W_ij u_i", "02_prediction_vectors", "capsedu.predict"),
    Equation(
        "prediction-vjp",
        "dW_ij = Σ_batch dz_ij u_iᵀ, du_i = Σ_j W_ijᵀ dz_ij",
        "02_prediction_vectors",
        "capsedu.predict_vjp",
    ),
    Equation(
        "frozen-jacobian",
        "∂v_k[a]/∂W_ij[l,p] = δ_jk c_ij J_j[a,l] u_i[p]",
        "02_prediction_vectors",
        "capsedu.dv_dW",
    ),
    Equation(
        "coupling",
        "c_ij = exp(b_ij) / Σ_l exp(b_il)",
        "03_routing_by_agreement",
        "capsedu.softmax",
    ),
    Equation("total-input", "s_j = Σ_i c_ij z_ij", "03_routing_by_agreement", "capsedu.route"),
    Equation("agreement", "b_ij ← b_ij + z_ij·v_j", "03_routing_by_agreement", "capsedu.route"),
    Equation(
        "routing",
        "b = 0; r times: coupling, total-input, squash, and agreement but the last time",
        "03_routing_by_agreement",
        "capsedu.route",
    ),
    Equation(
        "frozen-vjp", "dz_ij = c_ij J(s_j) dv_j", "04_constant_couplings", "capsedu.route_vjp"
    ),
    Equation(
        "margin-loss",
        "L = mean Σ_k T_k max(0, m⁺−‖v_k‖)² + λ (1−T_k) max(0, ‖v_k‖−m⁻)²",
        "04_constant_couplings",
        "capsedu.margin_loss",
    ),
    Equation(
        "margin-loss-vjp",
        "dv_k = (−2 T_k max(0, m⁺−‖v_k‖) + 2λ (1−T_k) max(0, ‖v_k‖−m⁻)) v_k/‖v_k‖ / batch",
        "04_constant_couplings",
        "capsedu.margin_loss_vjp",
    ),
    Equation(
        "coupling-vjp",
        "db_ij = c_ij (dc_ij − Σ_l c_il dc_il)",
        "06_through_the_routing",
        "capsedu.softmax_vjp",
    ),
    Equation(
        "total-input-vjp",
        "dc_ij = z_ij·ds_j, dz_ij = c_ij ds_j",
        "06_through_the_routing",
        "capsedu.route_vjp",
    ),
    Equation(
        "agreement-vjp",
        "db_ij = db⁺_ij, dz_ij = db⁺_ij v_j, dv_j = Σ_i db⁺_ij z_ij",
        "06_through_the_routing",
        "capsedu.route_vjp",
    ),
    Equation(
        "unrolled-vjp",
        "dz_ij = Σ_k (c_ij J(s_j) dv_j)ᵏ + Σ_k db_ijᵏ v_jᵏ",
        "06_through_the_routing",
        "capsedu.route_vjp",
    ),
    Equation(
        "unrolled-jacobian",
        "∂v_k[a]/∂W_ij[l,p] = ∂v_k[a]/∂z_ij[l] u_i[p], for k = j and k ≠ j",
        "06_through_the_routing",
        "capsedu.dv_dW",
    ),
    Equation("layer", "v = routing(z), z_ij = W_ij u_i", "00_start_here", "capsedu.capsule_layer"),
    Equation(
        "layer-vjp",
        "dW_ij = Σ_batch dz_ij u_iᵀ, du_i = Σ_j W_ijᵀ dz_ij, dz by either rule",
        "00_start_here",
        "capsedu.capsule_layer_vjp",
    ),
)
