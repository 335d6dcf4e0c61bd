"""Tables of ``genmend score --by-class``: each class apart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from genmend.manifold.metrics.meanings import meaning_of
from genmend.workbench.pages.page import Table

__all__ = ["class_tables"]


def class_tables(by_class: Mapping[str, Any]) -> list[Any]:
    """Precision and recall, or what else was asked for, of each class in every set; by the name of the set."""
    known = {name: one for name, one in by_class.items() if one is not None}
    if not known:
        return []
    classes = list(dict.fromkeys(label for one in known.values() for label in one.classes))
    first = next(iter(next(iter(known.values())).classes.values()))
    k = next(iter(first.at), None)
    tables: list[Any] = []
    if k is not None:
        totals = [name for name in ("precision", "recall", "coverage") if name in first[k].totals]
        for total in totals or list(first[k].totals)[:1]:
            rows = []
            for label in classes:
                found = [one.classes.get(label) for one in known.values()]
                sizes = next((one.n_reference, one.n_query) for one in found if one is not None)
                rows.append([label, *sizes, *(None if one is None else one[k].totals[total] for one in found)])
            heads = list(known) if len(known) > 1 else [total]
            caption = f"{total}, k = {k}, class by class: {meaning_of(total).words}"
            tables.append(Table(caption, ["class", "reference", "query", *heads], rows, searchable=len(rows) > 12))
    left = list(dict.fromkeys((label, why) for one in known.values() for label, why in one.left_out.items()))
    if left:
        tables.append(Table("Classes with too few samples to be told alone.", ["class", "why"], left))
    return tables
