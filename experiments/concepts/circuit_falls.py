"""What a score loses without a part of a query's circuits, and without as many other units."""

from __future__ import annotations

from typing import Any, Literal

from torch import Tensor, nn

from genmend.concepts.circuits.ablation import ablation_drop
from genmend.concepts.circuits.circuit import CircuitGraph
from genmend.concepts.circuits.unit_index import UnitIndex


def parts_of(graph: CircuitGraph) -> dict[str, CircuitGraph]:
    """All circuits of a query, those that lead to the class, and of these what lies before the last block."""
    towards = graph.towards_target()
    last = len(graph.blocks) - 1
    before = tuple(edge for edge in towards.edges if edge.target[0] < last)
    return {"all": graph, "class": towards, "earlier": CircuitGraph(graph.blocks, (), before, graph.settings)}


def fall(
    model: nn.Module,
    index: UnitIndex,
    part: CircuitGraph,
    sample: Tensor,
    target: int | None,
    n_draws: int,
    patch: Literal["zero", "mean"] = "zero",
) -> dict[str, Any]:
    """Falls of a score without a part's units, without random ones, and without others that answer; 0 for no part."""
    if not part.units:
        return {"circuit": 0.0, "random": 0.0, "outside": 0.0, "n_units": 0}
    found = ablation_drop(model, part, index, sample, target, patch=patch, n_draws=n_draws)
    return {
        "circuit": found.circuit,
        "random": float(found.random.mean()),
        "outside": float(found.outside.mean()),
        "n_units": found.n_units,
    }
