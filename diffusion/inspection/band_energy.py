"""How the energy of feature maps is shared between bands of frequencies: by block and step, before and after edits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from genmend.activations import record
from genmend.activations.contract import working_dtype
from genmend.activations.layers import find_layer
from genmend.activations.outputs import first_tensor
from genmend.diffusion.amplification.frequency_bands import CutoffUnit, check_band
from genmend.diffusion.amplification.low_pass import Band, low_change
from genmend.diffusion.pipeline_parts import block_layers, denoiser_of, plain_module, timestep_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["BANDS", "BandEnergies", "RunningEnergies", "band_energy"]

BANDS = ("mean", "low", "high")


@dataclass(frozen=True, eq=False)
class BandEnergies:
    """Mean square of what a block returns, split into bands.

    Attributes
    ----------
    blocks : tuple of str
        Slots or layer names.
    timesteps : tuple of float
        As the denoiser got them, in the order of the run; several runs with the same timesteps are averaged.
    before, after : Tensor
        ``(timesteps, blocks, 3)`` float64, energy per value of the mean of each map, of the other frequencies below the
        cutoff, and of those from it on; of the block's own output, and after the edits of it.
    cutoff : float
    cutoff_unit : "bins" or "nyquist"
    """

    blocks: tuple[str, ...]
    timesteps: tuple[float, ...]
    before: Tensor
    after: Tensor
    cutoff: float
    cutoff_unit: CutoffUnit

    @property
    def shares_before(self) -> Tensor:
        """Shares of the bands in the whole energy, ``(timesteps, blocks, 3)``, before edits; NaN for a zero output."""
        return self.before / self.before.sum(-1, keepdim=True)

    @property
    def shares_after(self) -> Tensor:
        """The same after edits."""
        return self.after / self.after.sum(-1, keepdim=True)

    def to_dict(self) -> dict[str, Any]:
        """Energies and shares by block and band, one value for each timestep."""

        def by_block(values: Tensor) -> dict[str, dict[str, list[float | None]]]:
            return {
                block: {
                    band: [float(v) if v == v else None for v in values[:, i, j]]  # NaN is no JSON
                    for j, band in enumerate(BANDS)
                }
                for i, block in enumerate(self.blocks)
            }

        return {
            "cutoff": self.cutoff,
            "cutoff_unit": self.cutoff_unit,
            "timesteps": list(self.timesteps),
            "energy_before": by_block(self.before),
            "energy_after": by_block(self.after),
            "share_before": by_block(self.shares_before),
            "share_after": by_block(self.shares_after),
        }

    def plot(self) -> Figure:
        """One panel for each block: shares over the steps, dashed before and solid after edits."""
        from matplotlib.figure import Figure

        n = len(self.blocks)
        figure = Figure(figsize=(max(2.2 * n, 3.2), 2.8), layout="constrained")
        panels = figure.subplots(1, n, sharey=True, squeeze=False)[0]
        steps = range(1, len(self.timesteps) + 1)
        for i, (ax, block) in enumerate(zip(panels, self.blocks, strict=True)):
            for j, (band, colour) in enumerate(zip(BANDS, ("C0", "C1", "C2"), strict=True)):
                ax.plot(steps, self.shares_before[:, i, j].numpy(), ".--", color=colour, linewidth=1)
                ax.plot(steps, self.shares_after[:, i, j].numpy(), ".-", color=colour, label=band)
            ax.set(title=block, xlabel="step", ylim=(0, 1))
            ax.xaxis.get_major_locator().set_params(integer=True)
        panels[0].set_ylabel("share of energy")
        panels[-1].legend(fontsize="small", frameon=False)
        return figure


class RunningEnergies:
    """What `band_energy` yields: sums; `result` may be called at any time after the first step."""

    def __init__(self, blocks: Sequence[str], band: Band) -> None:
        self._blocks, self._band = tuple(blocks), band
        self._sums: dict[float, Tensor] = {}  # timestep -> [before and after, blocks, bands and number of values]
        self._step = float("nan")

    def result(self) -> BandEnergies:
        """Return the energies so far.

        Raises
        ------
        RuntimeError
            If the denoiser has not run.
        """
        if not self._sums:
            raise RuntimeError("The denoiser has not run yet; run the pipeline inside the block first.")
        sums = torch.stack(list(self._sums.values()))
        before, after = (sums[..., :3] / sums[..., 3:]).unbind(1)
        return BandEnergies(self._blocks, tuple(self._sums), before, after, self._band.cutoff, self._band.unit)

    def begin_step(self, timestep: float) -> None:
        """Take what follows as this step."""
        self._step = timestep
        self._sums.setdefault(timestep, torch.zeros(2, len(self._blocks), 4, dtype=torch.float64))

    @torch.no_grad()
    def add(self, output: Any, block: int, after: int) -> None:
        """Take a block's output: its maps are gone when this returns."""
        name = self._blocks[block]
        x = first_tensor(output, name)
        if x.dim() != 4:
            raise ValueError(
                f"Block {name!r} returned shape {tuple(x.shape)}, but maps (n, channels, height, width) are needed; "
                "name other blocks."
            )
        x = x.to(working_dtype(x, name))
        mean = x.mean((-2, -1), keepdim=True)
        low = low_change(x, self._band, 1.0)
        parts = (mean.expand_as(x), low - mean, x - low)
        found = [float(part.square().sum((-2, -1)).double().sum()) for part in parts]
        self._sums[self._step][after, block] += torch.tensor([*found, x.numel()], dtype=torch.float64)


@contextmanager
def band_energy(
    pipe: Any, cutoff: float, *, cutoff_unit: CutoffUnit = "bins", blocks: Sequence[str] | None = None
) -> Iterator[RunningEnergies]:
    """Measure the energy of bands in blocks of a U-Net while it runs.

    Parameters
    ----------
    pipe
        A diffusers pipeline with a U-Net, or any denoiser if `blocks` are names of layers.
    cutoff, cutoff_unit
        Where the low band ends, as in `AmplifyLowFrequencies`.
    blocks
        Slots such as ``"mid"``, or names of layers; None: all slots.

    Yields
    ------
    RunningEnergies
        ``energies.result()`` is the result.

    Notes
    -----
    Open it inside `amplified`: then "before" is what a block returns and "after" what the edits of this block make of
    it. (Edits of earlier blocks are in both.) Only sums are kept. A compiled denoiser runs uncompiled inside the block.

    Raises
    ------
    UnknownLayerError, TypeError, ValueError
        If a name is neither slot nor layer, or the band is none.
    """
    check_band(cutoff, cutoff_unit, 0.0)
    denoiser = denoiser_of(pipe)
    plain = plain_module(denoiser)
    slots = block_layers(plain) if blocks is None or hasattr(plain, "down_blocks") else {}
    chosen = tuple(slots) if blocks is None else tuple(blocks)
    layers = [find_layer(plain, slots.get(block, block)) for block in chosen]
    running = RunningEnergies(chosen, Band(cutoff, cutoff_unit))
    last: list[RemovableHandle] = []

    def hook(block: int, after: int) -> Any:
        return lambda module, inputs, output: running.add(output, block, after)

    def come_last() -> None:
        leave()
        last.extend(layer.register_forward_hook(hook(i, 1)) for i, layer in enumerate(layers))

    def leave() -> None:
        while last:
            last.pop().remove()

    def begin_step(module: nn.Module, inputs: tuple[Any, ...], named_inputs: dict[str, Any]) -> None:
        running.begin_step(timestep_of(module, inputs, named_inputs))
        come_last()  # amplification may have attached its edits anew for this step

    with ExitStack() as hooks:
        hooks.enter_context(record(plain, []))  # hooks placed on a compiled module would be ignored
        hooks.callback(leave)
        for i, layer in enumerate(layers):
            hooks.callback(layer.register_forward_hook(hook(i, 0), prepend=True).remove)
        hooks.callback(denoiser.register_forward_pre_hook(begin_step, with_kwargs=True).remove)
        yield running
