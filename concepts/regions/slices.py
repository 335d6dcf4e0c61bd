"""How regions look in a plane through three samples: a 2-D slice of the space that a model takes its inputs from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from genmend.activations.recording import record
from genmend.concepts.regions.configurations import Configurations, preactivations
from genmend.concepts.regions.layer_states import best_classes
from genmend.concepts.regions.neighbours import nearest_configurations
from genmend.concepts.regions.region import JoinedRegion, Region
from genmend.concepts.scalar_target import as_module, check_inputs
from genmend.storage.digests import sha256_of_array
from genmend.storage.pieces import Work

__all__ = ["RegionSlice", "slice_regions", "span_a_plane"]

PIECE = 128
_FLAT = 1e-5  # of the sides: below it three points are one line


@dataclass(frozen=True)
class RegionSlice:
    """What a layer does at the points of a grid in a plane.

    Attributes
    ----------
    across, up : ndarray
        Coordinates of the points, float64 of shapes ``(columns,)`` and ``(rows,)``; 1 is the distance of the first two
        anchors. The grid has the same step both ways, and angles are those of the inputs' space.
    anchors : ndarray
        Coordinates of the three anchors, shape ``(3, 2)``: the first at (0, 0), the second at (1, 0).
    configurations : Configurations
        Of the points, row by row, from the lowest `up`.
    classes : ndarray
        Whole numbers ``(rows, columns)``: the class that the model gives the highest score; -1 if it returns no scores.

    Examples
    --------
    >>> net = nn.Sequential(nn.Linear(2, 2), nn.ReLU()).eval()
    >>> _ = net[0].load_state_dict({"weight": torch.eye(2), "bias": torch.zeros(2)})
    >>> from genmend.concepts.regions.configurations import configurations
    >>> anchors = torch.tensor([[-1.0, -1.0], [1.0, -1.0], [-1.0, 1.0]])
    >>> found = slice_regions(net, anchors, configurations(net, "1", anchors), n=5, margin=0)
    >>> found.contains(Region("1", (0,), (True,), 1, (0.0,))).astype(int)[0]  # where the first neuron is on
    array([0, 0, 0, 1, 1])
    """

    across: np.ndarray
    up: np.ndarray
    anchors: np.ndarray
    configurations: Configurations
    classes: np.ndarray

    def agreeing(self, region: Region) -> np.ndarray:
        """How many neurons of a rule are in its states, whole numbers ``(rows, columns)``; errors as the region's."""
        return region.agreeing(self.configurations).reshape(self.classes.shape)

    def contains(self, region: Region | JoinedRegion) -> np.ndarray:
        """Which points are in a region, booleans ``(rows, columns)``; errors as the region's."""
        return region.contains(self.configurations).reshape(self.classes.shape)

    def differing(self, query: Configurations) -> np.ndarray:
        """How many neurons are in other states than in one sample, whole numbers ``(rows, columns)``.

        The points of 0 have the query's configuration; those of at most t are within t of it.
        """
        if len(query) != 1:
            raise ValueError(
                f"query holds {len(query)} samples, but one is needed: configurations[number : number + 1]."
            )
        distances, _ = nearest_configurations(query, self.configurations, 1)
        return distances[:, 0].reshape(self.classes.shape)


def span_a_plane(anchors: Tensor) -> bool:
    """Whether three inputs ``(3, ...)`` are different points that do not lie on one line."""
    return _axes(anchors) is not None


def slice_regions(
    model: nn.Module,
    anchors: Tensor,
    like: Configurations,
    *,
    n: int = 25,
    margin: float = 0.25,
    classes: bool = True,
    run: Callable[[Tensor], Any] | None = None,
    batch_size: int = 32,
    work: Work | None = None,
    facts: Sequence[Any] = (),
) -> RegionSlice:
    """Run a model at the points of a plane through three inputs, and see which neurons of a layer are on.

    Parameters
    ----------
    model
        As for `configurations`.
    anchors
        Three inputs, shape ``(3, ...)``: samples, or one and two steps from it,
        ``torch.stack([x, x + first, x + second])``. A point of the plane is ``a[0] + s * (a[1] - a[0]) + t * (a[2] -
        a[0])``: of images a blend, which is no photograph; of latents another sample.
    like
        Configurations whose layer, thresholds and pooling hold here too, e.g. those that a region was found in.
    n
        Points on the longer side, at least 2.
    margin
        How far the grid goes beyond the anchors, as a share of the longer side.
    classes
        Whether the model is run to its end and gives classes; else only as far as the layer.
    run
        See `preactivations`.
    batch_size
        Points run together.
    work, facts
        Where pieces are kept, and all that the weights depend on.

    Raises
    ------
    UnknownLayerError, ValueError
        As `configurations`; and if the anchors are not three, lie on one line, or are of another size than the samples
        of `like`.
    """
    if n < 2:
        raise ValueError(f"n is {n}, but a side has at least 2 points.")
    module, anchors = as_module(model), check_inputs(anchors).detach()
    if len(anchors) != 3:
        raise ValueError(f"There are {len(anchors)} anchors, but a plane goes through 3.")
    axes = _axes(anchors)
    if axes is None:
        raise ValueError("The three anchors lie on one line, or two of them are alike: choose others.")
    first, second, places = axes
    across, up = _grid(places, n, margin)
    points = np.stack(np.meshgrid(across, up), axis=-1).reshape(-1, 2)

    def compute(start: int, stop: int) -> dict[str, np.ndarray]:
        bits: list[np.ndarray] = []
        best: list[np.ndarray] = []

        def running(inputs: Tensor) -> None:
            if classes:
                best.append(best_classes((run or module)(inputs), len(inputs)))
                return
            best.append(np.full(len(inputs), -1))
            with record(module, [like.layer], stop=True):
                (run or module)(inputs)

        for some in np.array_split(points[start:stop], -(-(stop - start) // batch_size)):
            steps = torch.as_tensor(some, dtype=torch.float64, device=anchors.device)
            inputs = anchors[0].double().flatten() + steps @ torch.stack([first, second])
            inputs = inputs.to(anchors.dtype).reshape(-1, *anchors.shape[1:])
            values = preactivations(module, like.layer, inputs, pooled=like.pooled, run=running).reshape(len(some), -1)
            if values.shape[1] != like.n_neurons:
                raise ValueError(
                    f"layer {like.layer!r} has {values.shape[1]} neurons for these anchors and {like.n_neurons} for "
                    "the samples: give anchors of their size."
                )
            bits.append(np.packbits(values > like.thresholds, axis=1))
        return {"bits": np.concatenate(bits), "classes": np.concatenate(best)}

    known = [
        *map(str, facts),
        like.layer,
        like.pooled,
        classes,
        sha256_of_array(like.thresholds),
        sha256_of_array(anchors),
    ]
    found = (work or Work()).pieces(compute, len(points), PIECE, inputs=[*known, points], description="a plane")
    seen = Configurations(
        found["bits"], like.n_neurons, like.thresholds, like.threshold, like.layer, like.shape, like.pooled
    )
    return RegionSlice(across, up, places, seen, found["classes"].reshape(len(up), len(across)))


def _axes(anchors: Tensor) -> tuple[Tensor, Tensor, np.ndarray] | None:
    """Two steps at right angles, as long as from the first anchor to the second, and where the anchors are by them."""
    flat = anchors.double().flatten(1)
    first, other = flat[1] - flat[0], flat[2] - flat[0]
    length = first.norm()
    along = other @ first / length**2
    rest = other - along * first
    if not length > 0 or not rest.norm() > _FLAT * max(length, other.norm()):
        return None
    second = rest / rest.norm() * length
    places = np.array([[0.0, 0.0], [1.0, 0.0], [float(along), float(rest.norm() / length)]])
    return first, second, places


def _grid(places: np.ndarray, n: int, margin: float) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates along both axes, with one step for both and `n` points on the longer side."""
    low, high = places.min(0), places.max(0)
    beyond = margin * (high - low).max()
    low, high = low - beyond, high + beyond
    step = (high - low).max() / (n - 1)
    across, up = (
        start + step * np.arange(round((stop - start) / step) + 1) for start, stop in zip(low, high, strict=True)
    )
    return across, up
