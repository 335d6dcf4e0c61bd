"""Which rows of a denoiser's batch belong to the images: under classifier-free guidance only the second half."""

from __future__ import annotations

from typing import Any

from torch import nn

__all__ = ["conditional_rows", "is_guided"]


def conditional_rows(pipe: Any, n_rows: int, guided: bool | None = None) -> slice:
    """Return the rows that are conditional, out of `n_rows`; call it while the pipeline runs.

    Parameters
    ----------
    pipe
        A pipeline, which is asked whether its present call is guided; of a bare denoiser all rows are taken.
    n_rows
        Rows of the batch.
    guided
        In place of what the pipeline says: whether the first half is unconditional.

    Raises
    ------
    ValueError
        If the pipeline does not say, or there is no half of the rows.
    """
    if guided is None:
        guided = not isinstance(pipe, nn.Module) and is_guided(pipe)
    if not guided:
        return slice(0, n_rows)
    if n_rows % 2:
        raise ValueError(
            f"The denoiser got {n_rows} rows, which are not an unconditional and a conditional half; give guided=False."
        )
    return slice(n_rows // 2, n_rows)


def is_guided(pipe: Any) -> bool:
    """Whether the pipeline's present call holds unconditional rows before the conditional ones.

    Raises
    ------
    ValueError
        If the pipeline does not say.
    """
    if not hasattr(pipe, "do_classifier_free_guidance"):
        raise ValueError(
            f"{type(pipe).__name__} does not say whether its rows are conditional; take all rows, or where there is "
            "such an option give guided=True (the first half of the batch is unconditional) or guided=False."
        )
    return bool(pipe.do_classifier_free_guidance)
