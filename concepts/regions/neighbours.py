"""Samples whose neurons are in nearly the same states: nearest by Hamming distance."""

from __future__ import annotations

import numpy as np

from genmend.concepts.regions.configurations import Configurations

__all__ = ["nearest_configurations"]


def nearest_configurations(reference: Configurations, query: Configurations, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k samples with the fewest neurons in another state.

    Parameters
    ----------
    reference, query
        Of the same neurons. The bits are read where they lie (by faiss), nothing is copied: a million samples of
        10,000 neurons are 1.25 GB.
    k
        Neighbours; a sample that is in both is its own nearest neighbour.

    Returns
    -------
    distances, numbers : ndarray
        How many neurons differ, and the numbers in `reference`, shape ``(n_query, k)``, nearest first.

    Raises
    ------
    ValueError
        If there are fewer than k samples, or the neurons are not the same.
    """
    if query.n_neurons != reference.n_neurons:
        raise ValueError(f"query has {query.n_neurons} neurons and reference {reference.n_neurons}: take one layer.")
    if not 1 <= k <= len(reference):
        raise ValueError(f"k is {k}, but there are {len(reference)} samples: give more samples, or a smaller k.")
    import faiss

    distances, numbers = faiss.knn_hamming(
        np.ascontiguousarray(query.bits), np.ascontiguousarray(reference.bits), k, variant="hc"
    )
    return distances, numbers
