"""The two Jacobians of the series, derived as index expressions with Kronecker deltas."""

import sympy as sp

from capsedu.derivation.index_notation import Node, contract, index, jacobian, tidy, total
from capsedu.derivation.nodes import PREDICTION, SQUASH, TOTAL_INPUT, W, a, i, j, l, p, s, v, z

j_, l_, l__, l___ = map(index, ("j'", "l'", "l''", "l'''"))


def derive_squash_jacobian(squash: Node = SQUASH) -> sp.Expr:
    """J[l, l'] = ∂v_j[l]/∂s_j[l'] = g δ_ll' + h s_j[l] s_j[l'].

    Parameters
    ----------
    squash : Node
        The formula of v.

    Returns
    -------
    Expr
        In the indices a, j, l, l'.

    Notes
    -----
    Equation `squash-jacobian`: notebook 01.
    """
    return jacobian(squash, v[a, j, l], s[a, j, l_])


def derive_frozen_jacobian(squash: Node = SQUASH) -> sp.Expr:
    """∂v_j'[l']/∂W_ij[l, p] = δ_jj' c_ij J_j[l', l] u_i[p], the couplings c held.

    The chain rule: from v_j' over s_j' and z_ij', summed over the entries of both, to W_ij.

    Parameters
    ----------
    squash : Node
        The formula of v.

    Returns
    -------
    Expr
        In the indices a, j', l', i, j, l, p.

    Notes
    -----
    Equation `frozen-jacobian`: notebooks 02 and 04.
    """
    dv_ds = jacobian(squash, v[a, j_, l_], s[a, j_, l__])
    ds_dz = jacobian(TOTAL_INPUT, s[a, j_, l__], z[a, i, j_, l___])
    dz_dW = jacobian(PREDICTION, z[a, i, j_, l___], W[i, j, l, p])
    return tidy(contract(total(dv_ds * ds_dz * dz_dW, l__, l___)))
