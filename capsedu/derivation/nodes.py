"""The forward pass in index notation: five nodes and the loss. Everything else is derived."""

import sympy as sp

from capsedu.derivation.index_notation import SIZES, Node, index, total

a, i, j, l, p = map(index, "aijlp")
i_, j_, l_, p_ = (index(f"{letter}'") for letter in "ijlp")
W, u, z, b, c, s, v, T = (sp.IndexedBase(name, real=True) for name in "WuzbcsvT")
b_next = sp.IndexedBase("b_next", real=True)

PREDICTION = Node("prediction", z[a, i, j, l], total(W[i, j, l, p_] * u[a, i, p_], p_))

COUPLING = Node("coupling", c[a, i, j], sp.exp(b[a, i, j]) / total(sp.exp(b[a, i, j_]), j_))

TOTAL_INPUT = Node("total-input", s[a, j, l], total(c[a, i_, j] * z[a, i_, j, l], i_))

squared = total(s[a, j, l_] ** 2, l_)
SQUASH = Node("squash", v[a, j, l], sp.sqrt(squared) * s[a, j, l] / (1 + squared))

agreement = total(z[a, i, j, l_] * v[a, j, l_], l_)
AGREEMENT = Node("agreement", b_next[a, i, j], b[a, i, j] + agreement)

m_plus, m_minus, down_weight = sp.symbols("m_plus m_minus down_weight", positive=True)
a_ = index("a'")
length = sp.sqrt(total(v[a_, j_, l_] ** 2, l_))
present = T[a_, j_] * sp.Max(0, m_plus - length) ** 2
absent = down_weight * (1 - T[a_, j_]) * sp.Max(0, length - m_minus) ** 2
MARGIN_LOSS = Node(
    "margin-loss", sp.Symbol("L", real=True), total(present + absent, j_, a_) / SIZES["a"]
)

LAYER = (PREDICTION, COUPLING, TOTAL_INPUT, SQUASH, AGREEMENT)
