"""The sketch of prediction vectors: arrows, sums and names are where the arrays say they belong."""

import numpy as np
import pytest
import svg as read
from reference import loop_layer

from capsedu.figures.palette import COLOURS
from capsedu.sketches.predictions import sketch_predictions

ROUNDING = 0.08  # pixels: they are written to a tenth


@pytest.fixture(params=[(3, 2, 1.0), (1, 1, 0.3), (4, 3, 2.0)], ids=str)
def example(request):
    """u, W and what the independent loops make of them with one iteration, so that c = 1/J."""
    I, J, size = request.param
    rng = np.random.default_rng(I)
    u, W = size * rng.normal(size=(I, 2)), rng.normal(size=(I, J, 2, 2))
    _, c, s, v = loop_layer(W, u, 1)[1][0]
    z = np.array([[W[i, j] @ u[i] for j in range(J)] for i in range(I)])
    return u, z, c, s, v


def drawn_at(shape, ring):
    """The numbers at which a shape's points are drawn in the plane whose unit circle is `ring`."""
    centre, unit = ring
    return (shape.points - centre) * (1, -1) / unit


def test_arrows_end_where_the_vectors_do(example):
    u, z, c, s, v = example
    svg = sketch_predictions(u, z, c).svg()
    inputs, *outputs = read.circles(svg)
    assert len(outputs) == len(s)
    digits = "₁₂₃₄"
    wanted = {f"u{digits[i]}": (inputs, u[i]) for i in range(len(u))}
    for j, ring in enumerate(outputs):
        wanted |= {f"s{digits[j]}": (ring, s[j]), f"v{digits[j]}": (ring, v[j])}
        wanted |= {f"z{digits[i]}{digits[j]}": (ring, z[i, j]) for i in range(len(u))}
    for name, (ring, vector) in wanted.items():
        (arrow,) = read.arrows(svg, name)
        assert arrow.colour == COLOURS[name[0]]
        centre, unit = ring
        want = centre + unit * vector * (1, -1)
        assert arrow.tip == pytest.approx(want, abs=ROUNDING + 0.01 * np.linalg.norm(vector))
    written = [
        shape.text for shape in read.shapes(svg) if shape.text and "capsule" not in shape.text
    ]
    long = [name for name, (ring, vector) in wanted.items() if ring[1] * np.linalg.norm(vector) > 9]
    assert sorted(written) == sorted(long)


def test_the_dashed_path_adds_what_the_couplings_leave_of_the_predictions(example):
    u, z, c, s, _ = example
    svg = sketch_predictions(u, z, c).svg()
    rings = read.circles(svg)[1:]
    terms = [shape for shape in read.shapes(svg) if shape.dash and shape.colour == COLOURS["c"]]
    assert len(terms) == c.size
    for j, ring in enumerate(rings):
        end = np.zeros(2)
        for i, term in enumerate(terms[j * len(u) : (j + 1) * len(u)]):
            points = drawn_at(term, ring)
            assert points[0] == pytest.approx(end, abs=0.02)
            assert points[1] - points[0] == pytest.approx(c[i, j] * z[i, j], abs=0.02)
            end = points[1]
        assert end == pytest.approx(s[j], abs=0.02)


def test_nothing_lies_outside_and_the_numbers_are_told(example):
    u, z, c, s, v = example
    sketch = sketch_predictions(u, z, c)
    for shape in read.shapes(sketch.svg()):
        assert (shape.points >= 0).all()
        assert (shape.points <= (sketch.width, sketch.height)).all()
    alt = sketch.picture().alt
    assert f"Input capsules: {len(u)}, output capsules: {len(s)}." in alt
    for j in range(len(s)):
        told = "{}_{} = ({:.2f}, {:.2f})".format
        assert f"{told('s', j + 1, *s[j])} is squashed to {told('v', j + 1, *v[j])}" in alt


def test_wrong_shapes_are_refused():
    u, z, c = np.ones((3, 2)), np.ones((3, 4, 2)), np.ones((3, 4))
    for name, wrong in (
        ("u", (u[:2], z, c)),
        ("z", (u, z[..., :1], c)),
        ("c", (u, z, c.T)),
    ):
        with pytest.raises(ValueError, match=f"^{name}: got shape"):
            sketch_predictions(*wrong)
