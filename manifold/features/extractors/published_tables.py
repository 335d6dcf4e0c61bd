"""Which published tables the features of an extractor can stand beside."""

from __future__ import annotations

__all__ = ["published_tables"]

# By the beginning of an extractor's name.
_TABLES = (
    (
        "torch_fidelity:inception-v3-compat",
        "tables of FID and KID, and of precision and recall on Inception features, of as many samples (often 50,000)",
    ),
    ("dinov2:vitl14-reg", "none: published values on DINOv2 are of ViT-L/14 without registers (dinov2:vitl14)"),
    (
        "dinov2:vitl14",
        "tables of FD-DINOv2, and of precision, recall, density, coverage and the clipped pair on DINOv2 ViT-L/14 (as "
        "dgm-eval computes them), of as many samples (often 50,000) and the same k",
    ),
    ("dinov2:", "none: published values on DINOv2 are of ViT-L/14 (dinov2:vitl14)"),
    (
        "timm:vit_large_patch14_dinov2",
        "none: timm resamples DINOv2's position embeddings in another way than published tables do (dinov2:vitl14)",
    ),
    (
        "vgg16-fc2:",
        "tables of precision, recall, density, coverage and rarity on VGG16's second layer, with the preprocessing "
        "that the name says, of as many samples and the same k",
    ),
    ("clip-vit-b16", "none: published values of CMMD are of ViT-L/14 at 336 pixels"),
    ("efficientnet-lite0", "none: no paper publishes values of features by efficientnet-lite0"),
    ("mobilenet-v2", "none: no paper publishes values of features by mobilenet-v2"),
    ("whisper-tiny", "none: no paper publishes values of features by whisper-tiny"),
)


def published_tables(extractor: str | None) -> str:
    """What values of this extractor's features compare with beside each other; empty where that is not known."""
    return next((tables for name, tables in _TABLES if (extractor or "").startswith(name)), "")
