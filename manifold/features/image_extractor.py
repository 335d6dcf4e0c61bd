"""One way to call any image feature extractor: images in [0, 1] in, vectors out.

With what is recorded of an extractor, of images or audio: its versions and the digest of its weights.
"""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable, Iterator, Sequence
from importlib import metadata
from itertools import chain
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from genmend.manifold.features.extractor_device import at_extractor
from genmend.manifold.features.folding import folded
from genmend.manifold.features.onnx_export import TOLERANCE, Graph, exported_graph, largest_difference
from genmend.manifold.features.onnx_session import onnx_features, onnxruntime_version
from genmend.manifold.features.resizing import ANTIALIASED, MODES, resize
from genmend.storage.digests import sha256_of, sha256_of_json
from genmend.storage.progress import with_progress

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "ImageExtractor",
    "digest_of_network",
    "digest_of_pipeline",
    "extract",
    "name_of_class",
    "vectors_of",
    "versions_of",
]

_log = logging.getLogger(__name__)

# A thin strip, scaled until its shorter side fits, would grow without bound.
MOST_RESIZED_PIXELS = 1 << 26
# Prepared, images take half a megabyte each, several times over; onnxruntime takes them one by one.
_PREPARED_AT_ONCE = 4


class ImageExtractor(nn.Module):
    """A feature network together with the preprocessing that its weights were trained with.

    The preprocessing is part of the metric, so it is part of this module: resizing to `side` pixels (with antialiasing,
    unless a published pipeline had none), clamping to [0, 1], and the normalisation (x - mean) / std per channel.
    All of it is differentiable.

    Where nobody asks for gradients, the images are on the CPU and onnxruntime is installed, an extractor with `onnx`
    runs by onnxruntime, about twice as fast: the same features to 1e-4 of their length, whatever the batch size. By
    torch it runs with its batch norms folded into its convolutions, up to a third faster with gradients.

    Parameters
    ----------
    name : str
        Recorded in every result; a correction's gate asks for its extractor by this name. Cached features go by it
        too, with the layout and the weights of the network: change it with the code of a network of your own.
    network : nn.Module, or a function that builds one
        Takes normalised images (n, 3, side, side) and returns features (n, d). It is built when somebody wants more
        than the features that onnxruntime gives: gradients, its modules, its weights.
    side : int
        Pixels.
    mean, std : sequence of 3 floats
        In units of [0, 1] images.
    mode : "bicubic", "bilinear", "nearest" or "bilinear-tf1"
        The resizing kernel, as `genmend.manifold.features.resizing.resize` has it.
    antialias : bool
        Whether a bicubic or bilinear kernel widens where an image shrinks; the other two never do.
    shorter : int, optional
        Scale the shorter side to this many pixels and cut out the centre; by default the whole image is squeezed into
        the square.
    layer : str
        Which output of the network the features are: for the record.
    libraries : sequence of str
        Packages whose code is in the network: their versions are recorded.
    onnx : bool
        Whether the network may run by onnxruntime, from a graph that is exported once into the user's cache. Set it
        to False on an extractor to have torch alone. A network whose weights were changed since, or that has hooks,
        runs by torch.
    weights : str
        SHA-256 of the file that a built network's weights come from; with the name and the versions it finds the graph.
    """

    mean: Tensor
    std: Tensor
    network: nn.Module
    kind = "images"

    def __init__(
        self,
        name: str,
        network: nn.Module | Callable[[], nn.Module],
        side: int,
        mean: Sequence[float],
        std: Sequence[float],
        *,
        mode: str = "bicubic",
        antialias: bool = True,
        shorter: int | None = None,
        layer: str = "output",
        libraries: Sequence[str] = (),
        onnx: bool = False,
        weights: str = "",
    ) -> None:
        super().__init__()
        if mode not in MODES:
            raise ValueError(f"The resizing kernel is {mode!r}; {', '.join(map(repr, MODES))} are accepted.")
        if shorter is not None and shorter < side:
            raise ValueError(f"The shorter side is scaled to {shorter} pixels, but {side} are cut out; give {side}.")
        self.name = name
        self.side, self.mode, self.shorter = side, mode, shorter
        self.antialias = antialias and mode in ANTIALIASED
        self.layer, self.libraries, self.onnx = layer, tuple(libraries), onnx
        self._weights = weights
        self._graph: Graph | None = None
        self._looked_for_graph = False
        self._state: list[int] = []
        self._folded: tuple[list[int], nn.Module | None] | None = None
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1))
        if isinstance(network, nn.Module):
            self._take(network)
        else:
            self._build = network

    def _take(self, network: nn.Module) -> None:
        self.network = network.eval().requires_grad_(False)

    @property
    def _is_built(self) -> bool:
        return "network" in self._modules

    def __getattr__(self, name: str) -> Any:
        if name == "network" and not self._is_built and "_build" in self.__dict__:
            self._take(self._build().to(self.mean))
        return super().__getattr__(name)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """What `to` does to every tensor; a network that is not built yet is built where the others are."""
        return super()._apply(fn, recurse and self._is_built)

    def named_modules(self, *args: Any, **options: Any) -> Iterator[tuple[str, nn.Module]]:
        """As every module's; the network is built for it."""
        assert self.network is not None
        return super().named_modules(*args, **options)

    def named_children(self) -> Iterator[tuple[str, nn.Module]]:
        """As every module's; the network is built for it."""
        assert self.network is not None
        return super().named_children()

    def forward(self, images: Tensor) -> Tensor:
        """Features (n, d) of images (n, 3, h, w) in [0, 1]."""
        at_once = max(_PREPARED_AT_ONCE, torch.get_num_threads())
        if len(images) > at_once and self._may_skip_torch(images) and self._current_graph():
            return torch.cat([self.vectors(self.prepare(part)) for part in images.split(at_once)])
        return self.vectors(self.prepare(images))

    def vectors(self, pixels: Tensor) -> Tensor:
        """Features (n, d) of what `prepare` returned: by onnxruntime where that can be, else by the network itself."""
        if self._may_skip_torch(pixels) and (graph := self._current_graph()):
            return torch.from_numpy(onnx_features(graph.path, pixels.detach().contiguous().numpy()))
        features: Tensor = (self._folded_network(pixels) or self.network)(pixels)
        return features

    def _folded_network(self, pixels: Tensor) -> nn.Module | None:
        """The network with folded batch norms, where it gives what the network does; for extractors with `onnx`."""
        if not self.onnx or torch.compiler.is_compiling() or type(pixels) is not Tensor:
            return None
        if _is_touched(self.network) or any(values.requires_grad for values in self.network.parameters()):
            return None
        state = _state_of(self.network)
        if self._folded is None or self._folded[0] != state:
            copied = folded(self.network)
            same = _give_the_same(copied, self.network, pixels)
            self._folded = (state, copied if same else None)
        return self._folded[1]

    @property
    def engine(self) -> str:
        """What computes the features where no gradient is asked for, e.g. "onnxruntime 1.32.0"."""
        if self.runs_by_onnx:
            return f"onnxruntime {onnxruntime_version()}"
        return f"torch {versions_of('torch')['torch']}"

    @property
    def runs_by_onnx(self) -> bool:
        """Whether onnxruntime computes the features where no gradient is asked for."""
        return (
            self.onnx
            and self.mean.device.type == "cpu"
            and self.mean.dtype == torch.float32
            and self._current_graph() is not None
        )

    def _may_skip_torch(self, pixels: Tensor) -> bool:
        """Whether all that is asked for is the values of ordinary float32 images on the CPU."""
        return (
            self.onnx
            and type(pixels) is Tensor
            and pixels.device.type == "cpu"
            and pixels.dtype == torch.float32
            and len(pixels) > 0
            and not (torch.is_grad_enabled() and pixels.requires_grad)
            and forward_ad.unpack_dual(pixels).tangent is None
            and not torch.compiler.is_compiling()
        )

    def _current_graph(self) -> Graph | None:
        """The network's graph, unless somebody has hooked into the network, moved it or changed it."""
        if not self._looked_for_graph:
            if self._is_built:
                self._state = _state_of(self.network)
            self._looked_for_graph = True
            self._graph = self._found_graph()
        if self._graph is not None and self._is_built:
            self._state = self._state or _state_of(self.network)
            if _is_touched(self.network) or _state_of(self.network) != self._state:
                return None
        return self._graph

    def _found_graph(self) -> Graph | None:
        if importlib.util.find_spec("onnxruntime") is None:
            reason = "onnxruntime is not installed (pip install 'genmend[vision]')"
        else:
            made_of = {
                "extractor": self.name if self._weights else "",
                "weights": self._weights or digest_of_network(self.network),
                "side": self.side,
                "versions": versions_of("torch", *self.libraries),
            }
            try:
                return exported_graph(lambda: self.network, self.side, sha256_of_json(made_of), self._facts)
            except (ValueError, OSError) as error:
                reason = str(error)
        _log.warning("%s runs by torch, about half as fast as by onnxruntime: %s", self.name, reason)
        return None

    def _facts(self) -> dict[str, str]:
        return {"network": name_of_class(self.network), "weights": digest_of_network(self.network)}

    def prepare(self, images: Tensor) -> Tensor:
        """What the network is given: (n, 3, side, side), resized and normalised."""
        if images.ndim != 4 or images.shape[1] != 3:
            raise ValueError(
                f"Images have shape {tuple(images.shape)}; give (n, 3, height, width) with values in [0, 1]."
            )
        if not images.is_floating_point():
            raise ValueError(
                f"Images have dtype {images.dtype}; give floating-point values in [0, 1], e.g. images / 255."
            )
        height, width = self._resized_size(*images.shape[-2:])
        resized = resize(images, (height, width), self.mode, self.antialias)
        # Python's rounding, as torchvision's CenterCrop has it.
        top, left = round((height - self.side) / 2), round((width - self.side) / 2)
        cut = resized[..., top : top + self.side, left : left + self.side]
        return (cut.clamp(0, 1) - self.mean) / self.std

    def _resized_size(self, height: int, width: int) -> tuple[int, int]:
        if self.shorter is None:
            return self.side, self.side
        shortest = min(height, width)
        size = (int(self.shorter * height / shortest), int(self.shorter * width / shortest))
        if size[0] * size[1] > MOST_RESIZED_PIXELS:
            raise ValueError(
                f"Images of {width} x {height} pixels become {size[1]} x {size[0]} when the shorter side is scaled to "
                f"{self.shorter}; give images that are less elongated."
            )
        return size

    def pipeline(self) -> dict[str, Any]:
        """Everything that makes the feature space, ready for JSON."""
        engine = self.engine
        facts = self._graph.facts if self._graph is not None and not self._is_built else self._facts()
        return {
            "extractor": self.name,
            "network": facts["network"],
            "weights": facts["weights"],
            "layer": self.layer,
            "resize": {"side": self.side, "shorter": self.shorter, "mode": self.mode},
            "antialias": self.antialias,
            "normalisation": {"mean": self.mean.flatten().tolist(), "std": self.std.flatten().tolist()},
            "dtype": str(self._dtype()).removeprefix("torch."),
            "versions": versions_of("torch", "pillow", *self.libraries),
            "engine": engine,
        }

    def _dtype(self) -> torch.dtype:
        return next(self.network.parameters(), self.mean).dtype if self._is_built else self.mean.dtype


def _state_of(network: nn.Module) -> list[int]:
    """Numbers that change when a parameter or buffer is written to or replaced."""
    tensors = [*network.parameters(), *network.buffers()]
    return [number for values in tensors for number in (values.data_ptr(), values._version)]


@torch.no_grad()
def _give_the_same(found: nn.Module, wanted: nn.Module, pixels: Tensor) -> bool:
    """Whether two networks give the same features of one image to `TOLERANCE`."""
    image = pixels.detach()[:1]
    difference = largest_difference(vectors_of(found(image), len(image)), vectors_of(wanted(image), len(image)))
    return difference <= TOLERANCE


def _is_touched(network: nn.Module) -> bool:
    """Whether a forward pass would do more, or something else, than it did in eval mode after loading."""
    return any(module.training or module._forward_hooks or module._forward_pre_hooks for module in network.modules())


@torch.no_grad()
def extract(
    extractor: Callable[[Tensor], Tensor],
    images: Tensor,
    *,
    batch_size: int = 16,
    progress: bool = False,
) -> NDArray[np.float32]:
    """Features of many images, batch by batch; an `nn.Module` on another device gets them there.

    Parameters
    ----------
    extractor : callable
        As `load_extractor` returns it.
    images : Tensor (n, 3, h, w)
        Values in [0, 1].
    batch_size : int
        Images a forward pass.
    progress : bool
        Show a progress bar.

    Returns
    -------
    ndarray (n, d) float32

    Raises
    ------
    ValueError
        If there are no images, or the extractor returns something else than one finite vector per image.
    """
    if len(images) == 0:
        raise ValueError("There are no images to extract features from: give at least one.")
    batches = images.split(batch_size)
    parts = [
        vectors_of(extractor(at_extractor(extractor, batch)), len(batch))
        for batch in with_progress(batches, "features", len(batches), show=progress)
    ]
    joined = np.concatenate(parts)
    if not np.isfinite(joined).all():
        row = int(np.flatnonzero(~np.isfinite(joined).all(axis=1))[0])
        raise ValueError(f"The features of image {row} are not finite: check that the images lie in [0, 1].")
    return joined


def vectors_of(features: Tensor, n: int) -> NDArray[np.float32]:
    """What an extractor returned for `n` images as (n, d) float32, or an error if it isn't one vector an image."""
    if features.ndim != 2 or len(features) != n:
        raise ValueError(
            f"The extractor returned shape {tuple(features.shape)} for {n} images; "
            "it has to return one vector per image, (n, d)."
        )
    found: NDArray[np.float32] = features.float().cpu().numpy()
    return found


def digest_of_network(network: nn.Module) -> str:
    """SHA-256 over the printed layout and every parameter and buffer (name, dtype, shape, bytes)."""
    named = sorted(network.state_dict().items())
    described = ((f"{name} {values.dtype} {tuple(values.shape)};", values) for name, values in named)
    return sha256_of(chain([repr(network)], chain.from_iterable(described)))


def digest_of_pipeline(pipeline: dict[str, Any]) -> str:
    """SHA-256 of a pipeline's JSON with sorted keys, whatever the engine: all give the same features to `TOLERANCE`."""
    return sha256_of_json({name: value for name, value in pipeline.items() if name != "engine"})


def name_of_class(instance: object) -> str:
    """The dotted name of an object's class, or its ``cached_as``: its name in keys of features kept before a move."""
    return str(getattr(instance, "cached_as", f"{type(instance).__module__}.{type(instance).__qualname__}"))


def versions_of(*packages: str) -> dict[str, str]:
    """Versions of installed packages, without a local part such as "+cu130"."""
    return {package: metadata.version(package).partition("+")[0] for package in sorted(set(packages))}
