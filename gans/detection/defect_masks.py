"""Where samples are broken: masks by attribution, by hand-drawn boxes, or by brush; and how good they are.

Source: Tousi et al., arXiv 2104.06118, which takes Grad-CAM of a classifier of artifacts. The threshold of 0.5 after
min-max in each image is our reading of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from genmend.activations import Gate
from genmend.gans.detection.defect_classifier import DefectClassifier
from genmend.manifold.features import read_image
from genmend.manifold.features.extractor_device import at_extractor
from genmend.storage.progress import with_progress

__all__ = [
    "METHODS",
    "MOST_EXPLAINED",
    "GateScore",
    "MaskMaker",
    "MaskQuality",
    "attribution_masks",
    "box_masks",
    "brush_masks",
    "made_masks",
    "mask_quality",
]

# From the classifier, its feature layer, images and the artifact's class to a map (n, 1 or 3, any size).
_Attribution = Callable[[nn.Module, nn.Module, Tensor, int], Tensor]


MOST_EXPLAINED = 100  # broken samples: an explanation may take a minute each


class MaskMaker(Protocol):
    """What explains a score by masks, e.g. `genmend.concepts.ExplanationMasks`."""

    @property
    def name(self) -> str:
        """Names all that the masks depend on beside score and images."""
        ...

    @property
    def passes(self) -> int:
        """Runs of the score an image, forward and backward counted as one: for estimates of the time."""
        ...

    def __call__(self, score: nn.Module, images: Tensor) -> Tensor:
        """Masks (n, h, w) in 0..1 of what in images (n, 3, h, w) in 0..1 speaks for the score, (n,) of images."""
        ...


class GateScore(nn.Module):
    """The score of a gate as one module, from images (n, 3, h, w) in 0..1 to (n,): higher = more broken.

    As differentiable as the extractor is.
    """

    def __init__(self, gate: Gate, extractor: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.gate, self.extractor = gate, extractor
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        """Scores (n,)."""
        return self.gate.score(self.extractor(at_extractor(self.extractor, images)))


def made_masks(maker: MaskMaker, score: nn.Module, batches: Iterable[Tensor]) -> Tensor:
    """Masks (n, h, w) that a maker makes of images, batch by batch.

    Raises
    ------
    ValueError
        If it returns another shape, or no pixel of any image speaks for the score.
    """
    masks = []
    for images in batches:
        found = torch.as_tensor(maker(score, images)).float().cpu()
        if found.shape != (len(images), *images.shape[2:]):
            raise ValueError(
                f"{maker.name} gave masks of shape {tuple(found.shape)} for images {tuple(images.shape)}; "
                f"{(len(images), *images.shape[2:])} is needed."
            )
        masks.append(found)
    joined = torch.cat(masks)
    if not (joined >= 0.5).any():
        raise ValueError(
            f"By {maker.name} no pixel of the {len(joined)} broken samples speaks for the gate's score: take another "
            "method, or another extractor."
        )
    return joined


def attribution_masks(
    classifier: DefectClassifier,
    images: Tensor,
    method: str = "grad-cam",
    *,
    threshold: float | None = 0.5,
    batch_size: int = 8,
    progress: bool = False,
) -> Tensor:
    """Masks (n, h, w) float32 of what makes the classifier say artifact.

    Parameters
    ----------
    classifier : DefectClassifier
        Fitted.
    images : Tensor (n, 3, h, w)
        In 0..1.
    method : str
        - *grad-cam*: the last feature map, enlarged bilinearly;
        - *guided-grad-cam*: times guided backpropagation (plain gradients where a network has no nn.ReLU modules);
        - *integrated-gradients*: from black, 16 steps, the sum over the colours of the positive part;
        - *occlusion*: how much the artifact's logit falls under a grey square of a quarter of the side, in steps of an
          eighth, in relation to the other places: about 50 passes an image.
    threshold : float in [0, 1], optional
        1 where a map is at or above this share of the way from its least to its greatest value in this very image, else
        0. None: these shares themselves. A map that is constant marks nothing.
    batch_size : int
    progress : bool
        Show a progress bar.

    Raises
    ------
    NotFittedError
        If the classifier is not fitted.
    ValueError
        If there is no such method.
    ModuleNotFoundError
        If captum is not installed.
    """
    if method not in METHODS:
        raise ValueError(f"method is {method!r}; give one of {', '.join(map(repr, METHODS))}.")
    if threshold is not None and not 0 <= threshold <= 1:
        raise ValueError(f"threshold is {threshold}; give a share in [0, 1], or None for soft masks.")
    module = classifier.checked_module()
    layer = module.get_submodule(classifier.feature_layer_)
    artifact = classifier.classes_.index("artifact")
    masks = []
    batches = images.split(batch_size)
    for batch in with_progress(batches, method, len(batches), show=progress):
        raw = METHODS[method](module, layer, at_extractor(module, batch), artifact).detach().float().cpu()
        size = (batch.shape[2], batch.shape[3])
        raw = nn.functional.interpolate(raw, size=size, mode="bilinear", align_corners=False)
        masks.append(_shares(raw.sum(1)))
    soft = torch.cat(masks)
    return soft if threshold is None else ((soft >= threshold) & (soft > 0)).float()


def box_masks(boxes: NDArray[Any] | Sequence[Sequence[float]], height: int, width: int) -> Tensor:
    """Masks (n, height, width) float32 of boxes (n, 4): x0, y0, x1, y1 in pixels, x1 and y1 just outside.

    Raises
    ------
    ValueError
        If a box has another form, is empty, or lies outside the image.
    """
    corners = np.asarray(boxes, dtype=np.float64)
    if corners.ndim != 2 or corners.shape[1] != 4 or not np.isfinite(corners).all():
        raise ValueError(f"boxes have shape {corners.shape}; give (n, 4) finite numbers x0, y0, x1, y1.")
    masks = torch.zeros(len(corners), height, width)
    for row, (x0, y0, x1, y1) in enumerate(corners.round().astype(int)):
        if not (0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height):
            raise ValueError(
                f"Box {row} is {corners[row].tolist()}; give x0 < x1 and y0 < y1 inside {width} x {height} pixels."
            )
        masks[row, y0:y1, x0:x1] = 1
    return masks


def brush_masks(painted: Sequence[str | Path] | NDArray[Any] | Tensor, height: int, width: int) -> Tensor:
    """Masks (n, height, width) float32 in 0..1 painted by hand, white = broken, scaled to this size.

    `painted`: image files, or an array (n, h, w) (bool, 0..255 as uint8, or floating 0..1).

    Raises
    ------
    ValueError
        If an array has another shape or range, there is none, or a file is damaged.
    """
    if isinstance(painted, np.ndarray | Tensor):
        array = torch.as_tensor(painted).cpu()
    else:
        # Files may differ in size: each is scaled on its own.
        files = [read_image(path).mean(0) for path in painted]
        if not files:
            raise ValueError("There are no masks; give at least one file.")
        return torch.cat([brush_masks(mask[None], height, width) for mask in files])
    if array.dim() != 3 or not len(array):
        raise ValueError(f"Painted masks have shape {tuple(array.shape)}; give (n, height, width) with n >= 1.")
    masks = array.float() / (255 if array.dtype == torch.uint8 else 1)
    if not ((masks >= 0) & (masks <= 1)).all():
        raise ValueError("Painted masks have values outside 0..1 or NaN; give uint8 in 0..255, or 0..1.")
    return nn.functional.interpolate(masks[:, None], size=(height, width), mode="bilinear", align_corners=False)[:, 0]


@dataclass(frozen=True)
class MaskQuality:
    """How masks agree with hand-drawn ones; per sample (n,), higher = better.

    `iou` of both at 0.5, in 0..1; `hit`: whether the mask's greatest value lies inside the drawn one (pointing game,
    Zhang et al., arXiv 1608.00507); where several pixels share it, the share of them that do.
    """

    iou: NDArray[np.float64]
    hit: NDArray[np.float64]

    def to_dict(self) -> dict[str, float]:
        """Means for JSON."""
        return {"iou": float(self.iou.mean()), "pointing_game": float(self.hit.mean()), "n": len(self.iou)}


def mask_quality(masks: Tensor, drawn: Tensor, *, threshold: float = 0.5) -> MaskQuality:
    """Compare masks with drawn ones, both (n, h, w) in 0..1; soft masks are cut at `threshold` for the IoU.

    Raises
    ------
    ValueError
        If the shapes differ.
    """
    if masks.shape != drawn.shape or masks.dim() != 3:
        raise ValueError(
            f"masks have shape {tuple(masks.shape)} and drawn ones {tuple(drawn.shape)}; give both (n, h, w)."
        )
    masks, drawn = masks.cpu(), drawn.cpu()
    marked, inside = (masks >= threshold).flatten(1), (drawn >= 0.5).flatten(1)
    both, either = (marked & inside).sum(1).double(), (marked | inside).sum(1).double()
    flat = masks.flatten(1)
    highest = (flat == flat.amax(1, keepdim=True)) & (flat > 0)
    hits = (highest & inside).sum(1).double() / highest.sum(1).clamp(min=1)
    return MaskQuality((both / either.clamp(min=1)).numpy(), hits.numpy())


def _shares(maps: Tensor) -> Tensor:
    """Each map (n, h, w) between its own least and greatest value; a constant one becomes 0."""
    low, high = maps.amin((1, 2), keepdim=True), maps.amax((1, 2), keepdim=True)
    return torch.where(high > low, (maps - low) / (high - low), 0.0)


def _captum() -> Any:
    try:
        import captum.attr
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "Attributions need the package captum, which is not installed: pip install 'genmend[explain]'.",
            name="captum",
        ) from error
    return captum.attr


def _grad_cam(module: nn.Module, layer: nn.Module, images: Tensor, artifact: int) -> Tensor:
    found: Tensor = _captum().LayerGradCam(module, layer).attribute(images, target=artifact, relu_attributions=True)
    return found


def _guided_grad_cam(module: nn.Module, layer: nn.Module, images: Tensor, artifact: int) -> Tensor:
    explained = _captum().GuidedGradCam(module, layer)
    found: Tensor = explained.attribute(images, target=artifact, interpolate_mode="bilinear")
    return found.clamp(min=0)


def _integrated_gradients(module: nn.Module, layer: nn.Module, images: Tensor, artifact: int) -> Tensor:
    explained = _captum().IntegratedGradients(module)
    found: Tensor = explained.attribute(images, target=artifact, n_steps=16, internal_batch_size=16)
    return found.clamp(min=0)


@torch.no_grad()
def _occlusion(module: nn.Module, layer: nn.Module, images: Tensor, artifact: int) -> Tensor:
    height, width = images.shape[2:]
    window = (3, max(1, height // 4), max(1, width // 4))
    steps = (3, max(1, height // 8), max(1, width // 8))
    found: Tensor = (
        _captum()
        .Occlusion(module)
        .attribute(images, target=artifact, sliding_window_shapes=window, strides=steps, baselines=0.5)
    )
    return found


METHODS: dict[str, _Attribution] = {
    "grad-cam": _grad_cam,
    "guided-grad-cam": _guided_grad_cam,
    "integrated-gradients": _integrated_gradients,
    "occlusion": _occlusion,
}
