"""Which pipeline is running a denoiser, at which step, and which rows of the call are conditional.

A hook gets the denoiser and its arguments, and neither the pipeline nor its guidance. Several pipelines may share one
denoiser, and the one that switched something on may be gone; so what holds is asked of the pipeline that makes the
present call, which is found on the call stack.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from genmend.diffusion.pipeline_parts import call_arguments, is_transformer, plain_module, sigma_of, timestep_of

__all__ = ["Group", "RunningPipeline", "noise_level", "row_groups", "row_indices", "running_pipeline", "step_of"]

#: What equal parts of a batch are; "perturbed": conditional too, with perturbed attention.
Group = Literal["unconditional", "conditional", "perturbed"]

_HALVES: tuple[Group, ...] = ("unconditional", "conditional")
# Of pipelines (by a part of the class's name) whose guided calls hold their rows in another order.
_OTHER_ORDERS: Mapping[str, tuple[Group, ...]] = {
    "InstructPix2Pix": ("conditional", "unconditional", "unconditional"),  # text and image, image alone, neither
    "StableCascade": ("conditional", "unconditional"),
    "Wuerstchen": ("conditional", "unconditional"),
    "LuminaPipeline": ("conditional", "unconditional"),
    "LuminaText2Img": ("conditional", "unconditional"),
    "ZImage": ("conditional", "unconditional"),
}


@dataclass(frozen=True)
class RunningPipeline:
    """The pipeline that makes the present call, and the local variables of the method that makes it."""

    pipe: Any
    names: Mapping[str, Any]

    @property
    def n_images(self) -> int | None:
        """How many images are drawn at once; None where the pipeline has no latents by that name."""
        latents = next((self.names.get(name) for name in _LATENTS if name in self.names), None)
        return len(latents) if isinstance(latents, Tensor | list) else None


_LATENTS = ("latents", "intermediate_images")


def running_pipeline(denoiser: nn.Module) -> RunningPipeline | None:
    """Return the pipeline below which the denoiser has been called, or None: then somebody's own loop calls it."""
    plain, frame = plain_module(denoiser), sys._getframe(1)
    found: RunningPipeline | None = None
    while frame is not None:
        if "self" in frame.f_code.co_varnames:
            names = frame.f_locals
            owner = names.get("self")
            if found is None and _holds(owner, plain):
                found = RunningPipeline(owner, names)
            if found is not None and owner is found.pipe and any(name in names for name in _LATENTS):
                return RunningPipeline(owner, names)
        frame = frame.f_back  # type: ignore[assignment]
    return found


def _holds(owner: Any, plain: nn.Module) -> bool:
    if owner is None or isinstance(owner, nn.Module):
        return False
    parts = getattr(owner, "__dict__", {})
    return "scheduler" in parts and any(
        plain_module(part) is plain for part in parts.values() if isinstance(part, nn.Module)
    )


def step_of(denoiser: nn.Module, inputs: tuple[Any, ...], named_inputs: dict[str, Any]) -> float:
    """Timestep of the present call as the scheduler counts it; NaN where there is none.

    Denoisers may get another number: Flux's the timestep / 1000, Lumina 2's 1 minus that.
    """
    return _step(running_pipeline(denoiser), denoiser, inputs, named_inputs)


def noise_level(pipe: Any, denoiser: nn.Module, inputs: tuple[Any, ...], named_inputs: dict[str, Any]) -> float:
    """Noise level of the present call by the running pipeline's scheduler; in a loop of one's own, by that of `pipe`.

    Raises
    ------
    ValueError
        If there is no scheduler, or it knows no such timestep.
    """
    run = running_pipeline(denoiser)
    scheduler = getattr(pipe if run is None else run.pipe, "scheduler", None)
    if scheduler is None:
        raise ValueError(
            "The denoiser runs outside any pipeline that has a scheduler, so its noise level is unknown; leave the "
            "schedule out, or run it in a pipeline."
        )
    step = _step(run, denoiser, inputs, named_inputs)
    if run is None and is_transformer(denoiser) and step <= 1 < float(max(scheduler.timesteps)):
        raise ValueError(
            f"{type(plain_module(denoiser)).__name__} got timestep {step:g}, which may be a share of the scheduler's; "
            "leave the schedule out, or run it in its pipeline."
        )
    return sigma_of(scheduler, step)


def _step(
    run: RunningPipeline | None, denoiser: nn.Module, inputs: tuple[Any, ...], named_inputs: dict[str, Any]
) -> float:
    step = None if run is None else run.names.get("t")  # so are the loops of diffusers written
    if isinstance(step, int | float) or (isinstance(step, Tensor) and step.numel() == 1):
        return float(step)
    return timestep_of(denoiser, inputs, named_inputs)


def row_groups(
    pipe: Any,
    denoiser: nn.Module,
    inputs: tuple[Any, ...],
    named_inputs: dict[str, Any],
    guided: bool | None = None,
) -> tuple[Group, ...]:
    """Return what the equal parts of the present call's batch are, in order; call it from a hook of the denoiser.

    Parameters
    ----------
    pipe
        What the user gave: of a bare denoiser that runs in no pipeline all rows are conditional.
    denoiser, inputs, named_inputs
        The call.
    guided
        In place of what the pipeline says: whether its calls hold unconditional rows too.

    Raises
    ------
    ValueError
        If the pipeline does not say, or its rows are in an order that is not known.
    """
    run = running_pipeline(denoiser)
    if run is None:
        if guided is None and not isinstance(pipe, nn.Module):
            raise ValueError(
                "The denoiser is called outside any pipeline, so which rows are conditional is unknown; take all rows, "
                "give the bare denoiser in place of the pipeline, or where there is such an option guided=."
            )
        return _HALVES if guided else ("conditional",)
    given = call_arguments(denoiser, inputs, named_inputs)
    text = next((given[name] for name in ("encoder_hidden_states", "cap_feats") if name in given), None)
    n_rows, n_images = _n_rows(given, inputs), run.n_images
    said = _guidance(run) if guided is None else guided
    if n_images is None or n_rows == 0:
        if said is None:
            raise _unsaid(run.pipe)
        return _HALVES if said else ("conditional",)
    if n_rows == n_images:
        return (_whole_call(run, text, said, guided),)
    if guided is False:
        return ("conditional",)
    if said is None:
        raise _unsaid(run.pipe)
    groups = _by_text(run, text, n_images) or _by_class(run.pipe, bool(said))
    if len(groups) * n_images != n_rows:
        raise ValueError(
            f"{type(run.pipe).__name__} calls the denoiser with {n_rows} rows for {n_images} images, and which of them "
            "are conditional is not known; take all rows."
        )
    return groups


def row_indices(groups: Sequence[Group], n_rows: int, wanted: Group = "conditional") -> list[int]:
    """Return the rows, out of `n_rows`, that lie in the wanted groups.

    Raises
    ------
    ValueError
        If the rows are no multiple of the groups.
    """
    size, rest = divmod(n_rows, len(groups))
    if rest:
        raise ValueError(
            f"There are {n_rows} rows, which are not an unconditional and a conditional half (or {len(groups)} equal "
            "groups); give guided=False."
        )
    return [row for row in range(n_rows) if groups[row // size] == wanted]


def _guidance(run: RunningPipeline) -> bool | None:
    """Whether the call is guided, as the pipeline says or, in older ones, its method."""
    names = ("do_true_cfg", "do_classifier_free_guidance")  # the first: Flux's, Qwen-Image's
    locally = next((run.names[name] for name in names if name in run.names), None)
    said = getattr(run.pipe, "do_classifier_free_guidance", locally)
    return None if said is None else bool(said)


def _n_rows(given: Mapping[str, Any], inputs: tuple[Any, ...]) -> int:
    names = ("sample", "hidden_states", "x")
    first = next((given[name] for name in names if given.get(name) is not None), inputs[0] if inputs else ())
    return len(first) if isinstance(first, Tensor | list) else 0


def _whole_call(run: RunningPipeline, text: Any, said: bool | None, guided: bool | None) -> Group:
    """What the rows of a call with one row for each image are: all the same."""
    heard = next((name.lower() for name, value in run.names.items() if text is not None and value is text), "")
    if "neg" in heard or "uncond" in heard:
        return "unconditional"
    against = any(isinstance(value, Tensor) and "neg" in name for name, value in run.names.items())
    if said is False or (heard and (said or against)):
        return "conditional"
    if said is None:
        raise _unsaid(run.pipe)
    raise ValueError(
        f"{type(run.pipe).__name__} calls the denoiser apart for conditional and unconditional rows and does not say "
        "which call is which; take all rows."
    )


def _by_text(run: RunningPipeline, text: Any, n_images: int) -> tuple[Group, ...] | None:
    """The groups told from their text, where the pipeline still has the negative one by itself."""
    negative = run.names.get("negative_prompt_embeds")
    if not (isinstance(text, Tensor) and isinstance(negative, Tensor)) or len(text) % n_images:
        return None
    if negative.shape != (n_images, *text.shape[1:]) or negative.device != text.device:
        return None
    negative = negative.to(text.dtype)
    groups: tuple[Group, ...] = tuple(
        "unconditional" if torch.equal(part, negative) else "conditional" for part in text.split(n_images)
    )
    return groups if set(groups) == set(_HALVES) and groups.count("conditional") == 1 else None


def _by_class(pipe: Any, guided: bool) -> tuple[Group, ...]:
    if getattr(pipe, "do_perturbed_attention_guidance", False):
        return (*_HALVES[: int(guided)], "conditional", "perturbed")
    if not guided:
        return ("conditional",)
    names = " ".join(cls.__name__ for cls in type(pipe).__mro__)
    return next((order for part, order in _OTHER_ORDERS.items() if part in names), _HALVES)


def _unsaid(pipe: Any) -> ValueError:
    return ValueError(
        f"{type(pipe).__name__} does not say whether its rows are conditional; take all rows, or where there is such "
        "an option give guided=True (the first half of the batch is unconditional) or guided=False."
    )
