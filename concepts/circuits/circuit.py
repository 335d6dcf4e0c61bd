"""The circuits of one sample: a graph of units, from which each root's part is cut."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genmend.storage.atomic import whole_file
from genmend.storage.tables import write_json

if TYPE_CHECKING:
    import networkx

__all__ = ["CircuitGraph", "Edge", "Unit", "merge_alike", "read_graph"]

Unit = tuple[int, int]
"""Number of the block, number of the unit in it."""


@dataclass(frozen=True)
class Edge:
    """What one unit does to a unit of the next block.

    Attributes
    ----------
    source, target : Unit
    effect : float
        How far the target falls when the source is replaced, signed, in units of the target's activation.
    sensitivity : float
        The share of this effect in all that the source excites (or, below 0, inhibits), -1..1.
    flow : float
        Share of the target's top samples that are the source's too, 0..1.
    """

    source: Unit
    target: Unit
    effect: float
    sensitivity: float
    flow: float

    @property
    def is_identity(self) -> bool:
        """Whether it leads to the unit of the same number, as the identity path of a residual block does."""
        return self.source[1] == self.target[1]


@dataclass(frozen=True)
class CircuitGraph:
    """All circuits of one sample.

    Attributes
    ----------
    blocks : tuple of str
    roots : tuple of Unit
        Units of which the sample is a top one; each is the root of a circuit.
    edges : tuple of Edge
    settings : dict
        How it was made.
    on_target : dict of Unit to float
        Units of the last block that change the score of the class asked for, and how far it falls without each,
        signed; empty where no class was asked for.
    """

    blocks: tuple[str, ...]
    roots: tuple[Unit, ...]
    edges: tuple[Edge, ...]
    settings: dict[str, Any] = field(default_factory=dict)
    on_target: dict[Unit, float] = field(default_factory=dict)

    @cached_property
    def after(self) -> dict[Unit, list[Edge]]:
        """The edges that leave each unit."""
        found: dict[Unit, list[Edge]] = {}
        for edge in self.edges:
            found.setdefault(edge.source, []).append(edge)
        return found

    @cached_property
    def units(self) -> tuple[Unit, ...]:
        """All units, in order."""
        ends = {unit for edge in self.edges for unit in (edge.source, edge.target)}
        return tuple(sorted(ends | set(self.roots) | set(self.on_target)))

    def circuit(self, root: Unit) -> CircuitGraph:
        """What can be reached from one root.

        Raises
        ------
        ValueError
            If it is not a root.
        """
        if root not in self.roots:
            raise ValueError(f"{root} is no root of the graph; the roots are {list(self.roots)[:8]}...")
        reached, waiting = {root}, [root]
        kept: list[Edge] = []
        while waiting:
            for edge in self.after.get(waiting.pop(), []):
                kept.append(edge)
                if edge.target not in reached:
                    reached.add(edge.target)
                    waiting.append(edge.target)
        kept.sort(key=lambda edge: (edge.source, edge.target))
        return self._part({root}, kept, reached)

    def towards_target(self) -> CircuitGraph:
        """The circuits that speak for the class: units from which excitation leads to a unit that raises its score.

        Raises
        ------
        ValueError
            If no class was asked for: `find_circuits` has ``target=``.
        """
        if "target" not in self.settings:
            raise ValueError("The graph was made for no class: give find_circuits target=, a class.")
        reaching = {unit for unit, effect in self.on_target.items() if effect > 0}
        kept = []
        for edge in sorted(self.edges, key=lambda edge: edge.source, reverse=True):  # later blocks first
            if edge.effect > 0 and edge.target in reaching:
                reaching.add(edge.source)
                kept.append(edge)
        return self._part(reaching, kept[::-1], reaching)

    def _part(self, roots: set[Unit], edges: Iterable[Edge], units: set[Unit]) -> CircuitGraph:
        """Some of the graph; its roots are those among `roots`."""
        on_target = {unit: effect for unit, effect in self.on_target.items() if unit in units}
        own = tuple(root for root in self.roots if root in roots)
        return CircuitGraph(self.blocks, own, tuple(edges), self.settings, on_target)

    def circuits(self, *, at_least: int = 2) -> list[CircuitGraph]:
        """The circuit of each root that has at least some units, the largest first."""
        found = [self.circuit(root) for root in self.roots]
        return sorted((each for each in found if len(each.units) >= at_least), key=lambda each: -len(each.units))

    def name(self, unit: Unit) -> str:
        """A unit in words, ``block:unit``."""
        return f"{self.blocks[unit[0]]}:{unit[1]}"

    def to_dict(self) -> dict[str, Any]:
        """JSON's view."""
        return {
            "blocks": list(self.blocks),
            "roots": [self.name(root) for root in self.roots],
            "edges": [
                {
                    "source": self.name(edge.source),
                    "target": self.name(edge.target),
                    "effect": edge.effect,
                    "sensitivity": edge.sensitivity,
                    "flow": edge.flow,
                    "identity": edge.is_identity,
                }
                for edge in self.edges
            ],
            "on_target": {self.name(unit): effect for unit, effect in self.on_target.items()},
            "settings": self.settings,
        }

    def to_networkx(self) -> networkx.DiGraph:
        """The graph as networkx has it; nodes are named as `name` does, edges carry effect, sensitivity and flow."""
        import networkx

        graph = networkx.DiGraph()
        for unit in self.units:
            graph.add_node(self.name(unit), block=self.blocks[unit[0]], unit=unit[1], root=unit in self.roots)
            if unit in self.on_target:
                graph.nodes[self.name(unit)]["on_target"] = self.on_target[unit]
        for edge in self.edges:
            graph.add_edge(
                self.name(edge.source),
                self.name(edge.target),
                effect=edge.effect,
                sensitivity=edge.sensitivity,
                flow=edge.flow,
                identity=edge.is_identity,
            )
        return graph

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it as .json or .graphml, by the name's end, whole or not at all.

        Raises
        ------
        ValueError
            If the name ends otherwise.
        """
        path = Path(path)
        if path.suffix == ".json":
            write_json(path, self.to_dict())
        elif path.suffix == ".graphml":
            import networkx

            with whole_file(path) as temporary:
                networkx.write_graphml(self.to_networkx(), temporary)
        else:
            raise ValueError(f"{path.name} ends with neither .json nor .graphml: name one of these.")


def read_graph(values: Mapping[str, Any]) -> CircuitGraph:
    """The graph that `CircuitGraph.to_dict` gave.

    Raises
    ------
    KeyError, ValueError
        If it is another dictionary.
    """
    blocks = tuple(str(name) for name in values["blocks"])
    numbers = {name: number for number, name in enumerate(blocks)}

    def unit(name: str) -> Unit:
        block, _, own = name.rpartition(":")
        return numbers[block], int(own)

    edges = tuple(
        Edge(unit(edge["source"]), unit(edge["target"]), edge["effect"], edge["sensitivity"], edge["flow"])
        for edge in values["edges"]
    )
    on_target = {unit(name): float(effect) for name, effect in values["on_target"].items()}
    return CircuitGraph(blocks, tuple(map(unit, values["roots"])), edges, dict(values["settings"]), on_target)


def merge_alike(circuits: Iterable[CircuitGraph], *, jaccard: float = 0.5) -> list[CircuitGraph]:
    """Join circuits that share most of their units, so that each concept comes once.

    Parameters
    ----------
    circuits
        Of one graph, the largest first.
    jaccard
        Units in both over units in either, 0..1, from which two are joined; one joins the first that it is like.
    """
    merged: list[CircuitGraph] = []
    for circuit in circuits:
        own = set(circuit.units)
        for place, other in enumerate(merged):
            theirs = set(other.units)
            if len(own & theirs) >= jaccard * len(own | theirs):
                edges = sorted({*other.edges, *circuit.edges}, key=lambda edge: (edge.source, edge.target))
                roots = tuple(sorted({*other.roots, *circuit.roots}))
                on_target = {**other.on_target, **circuit.on_target}
                merged[place] = CircuitGraph(other.blocks, roots, tuple(edges), other.settings, on_target)
                break
        else:
            merged.append(circuit)
    return merged
