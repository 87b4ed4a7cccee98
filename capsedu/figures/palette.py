"""One colour for each quantity, in every figure and formula: Okabe & Ito's, told apart by all."""

COLOURS = {
    "u": "#56B4E9",  # input capsules: sky blue
    "z": "#0072B2",  # prediction vectors: blue
    "c": "#D55E00",  # coupling coefficients: vermilion
    "s": "#CC79A7",  # total input: purple
    "v": "#009E73",  # output: green
    "frozen": "#E69F00",  # the gradient with the couplings held: orange, always dashed
    "unrolled": "#000000",  # the gradient through the routing: black, always solid
    "muted": "#767676",  # axes, guides, whatever is not the point
}
