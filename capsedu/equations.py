"""Every equation of the series, once: its id, what it says, where it is derived, what computes it.

The same id stands in the notebook and in the docstring of the function.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pkgutil import resolve_name


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
        return resolve_name(self.function)


# For each notebook, a line an equation: its id, the function in capsedu, what it says.
BY_NOTEBOOK = {
    "01_squash": """
        squash             squash             v = ‖s‖ s / (1 + ‖s‖²)
        squash-jacobian    squash_jacobian    ∂v/∂s = ‖s‖/(1+‖s‖²) I + (1−‖s‖²)/(‖s‖(1+‖s‖²)²) s sᵀ
        squash-vjp         squash_vjp         ds = (∂v/∂s)ᵀ dv
    """,
    "02_prediction_vectors": """
        prediction         predict            z_ij = W_ij u_i
        prediction-vjp     predict_vjp        dW_ij = Σ_batch dz_ij u_iᵀ, du_i = Σ_j W_ijᵀ dz_ij
        frozen-jacobian    dv_dW              ∂v_k[a]/∂W_ij[l,p] = δ_jk c_ij J_j[a,l] u_i[p]
    """,
    "03_routing_by_agreement": """
        coupling           softmax            c_ij = exp(b_ij) / Σ_l exp(b_il)
        total-input        route              s_j = Σ_i c_ij z_ij
        agreement          route              b_ij ← b_ij + z_ij·v_j
        routing            route              b = 0; r times: coupling, total-input, squash, and agreement but the last time
    """,
    "04_constant_couplings": """
        frozen-vjp         route_vjp          dz_ij = c_ij J(s_j) dv_j
        margin-loss        margin_loss        L = mean Σ_k T_k max(0, m⁺−‖v_k‖)² + λ (1−T_k) max(0, ‖v_k‖−m⁻)²
        margin-loss-vjp    margin_loss_vjp    dv_k = (−2 T_k max(0, m⁺−‖v_k‖) + 2λ (1−T_k) max(0, ‖v_k‖−m⁻)) v_k/‖v_k‖ / batch
    """,
    "06_through_the_routing": """
        coupling-vjp       softmax_vjp        db_ij = c_ij (dc_ij − Σ_l c_il dc_il)
        total-input-vjp    route_vjp          dc_ij = z_ij·ds_j, dz_ij = c_ij ds_j
        agreement-vjp      route_vjp          db_ij = db⁺_ij, dz_ij = db⁺_ij v_j, dv_j = Σ_i db⁺_ij z_ij
        unrolled-vjp       route_vjp          dz_ij = Σ_k (c_ij J(s_j) dv_j)ᵏ + Σ_k db_ijᵏ v_jᵏ
        unrolled-jacobian  dv_dW              ∂v_k[a]/∂W_ij[l,p] = ∂v_k[a]/∂z_ij[l] u_i[p], for k = j and k ≠ j
    """,
    "00_start_here": """
        layer              capsule_layer      v = routing(z), z_ij = W_ij u_i
        layer-vjp          capsule_layer_vjp  dW_ij = Σ_batch dz_ij u_iᵀ, du_i = Σ_j W_ijᵀ dz_ij, dz by either rule
    """,
}

EQUATIONS = tuple(
    Equation(id, statement, notebook, f"capsedu.{function}")
    for notebook, table in BY_NOTEBOOK.items()
    for id, function, statement in (line.split(maxsplit=2) for line in table.strip().splitlines())
)
