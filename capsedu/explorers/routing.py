"""The routing explorer: iterations 1, 2, 3, … of made-up clusters, of a digit, or of your own z."""

import functools

import ipywidgets as widgets
import numpy as np

from capsedu.arguments import as_count
from capsedu.data import load_digits_sample
from capsedu.explorers.shell import Explorer
from capsedu.predictions import predict
from capsedu.routing import Routing, route
from capsedu.sketches.routing import check_one_example, clusters, sketch_routing
from capsedu.sketches.sketch import Sketch
from capsedu.trained_layer import load_trained_layer

CLUSTERS = "made-up clusters"
DIGITS = {"a digit 7": 10, "a digit 2": 33, "a digit 4": 2}  # among the test images of the sample
NAMES = [f"digit {j}" for j in range(10)]


def routing_explorer(z: np.ndarray | None = None, iterations: int = 10) -> Explorer:
    """Routing by agreement under a slider: `sketch_routing(route(z, iterations), k)`.

    Parameters
    ----------
    z : array_like, shape (I, J, m), optional
        Prediction vectors of one example; for m > 2 each output shows the plane along which its
        predictions are longest. If not given, the reader chooses: clusters with a handle on how
        alike their predictions are, or a handwritten digit in the trained layer.
    iterations : int
        The slider goes from 1 to here.

    Returns
    -------
    Explorer
        Without a kernel: the iterations 1, 3 and the last, one below the other; where the reader
        chooses, the last iteration of three examples.

    Raises
    ------
    ValueError
        If z has another shape or is not finite, or `iterations` is less than 1.
    """
    iterations = as_count("iterations", iterations)
    slider = widgets.SelectionSlider(options=range(1, iterations + 1), description="iteration")
    if z is not None:
        check_one_example(z)
        routing = route(z, iterations)
        chosen = sorted({1, min(3, iterations), iterations})
        return Explorer(
            lambda iteration: sketch_routing(routing, iteration),
            {"iteration": slider},
            {f"Iteration {k}": {"iteration": k} for k in chosen},
            beforehand="iteration",
        )

    routed = functools.lru_cache(32)(functools.partial(_route, iterations=iterations))

    def draw(source: str, alike: float, iteration: int) -> Sketch:
        if source == CLUSTERS:
            return sketch_routing(routed(source, alike)[0], iteration)
        routing, image = routed(source, 1.0)  # a digit's parts agree as they do
        return sketch_routing(routing, iteration, image, NAMES)

    controls = {
        "iteration": slider,
        "source": widgets.Dropdown(options=[CLUSTERS, *DIGITS], description="example"),
        "alike": widgets.FloatSlider(value=0.8, min=0, max=1, step=0.05, description="alike"),
    }

    def only_for_clusters(change: dict) -> None:
        controls["alike"].disabled = change["new"] != CLUSTERS

    controls["source"].observe(only_for_clusters, "value")
    last = {"iteration": iterations}
    stills = {
        f"made-up clusters, alike 0.8, iteration {iterations}": last,
        f"made-up clusters, alike 0, iteration {iterations}": {"alike": 0.0, **last},
        f"a digit 7, iteration {iterations}": {"source": "a digit 7", **last},
    }
    return Explorer(draw, controls, stills, beforehand="iteration")


def _route(source: str, alike: float, iterations: int) -> tuple[Routing, np.ndarray | None]:
    """Return the routing of the clusters, or of a digit with its image."""
    if source == CLUSTERS:
        return route(clusters(alike), iterations), None
    basis, W = load_trained_layer()
    image = load_digits_sample()[2][DIGITS[source]]
    return route(predict(W, basis.encode(image)), iterations), image
