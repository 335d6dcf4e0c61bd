"""Where the figures, pictures and sounds of a run go: one protocol, for files, TensorBoard and Weights & Biases."""

from __future__ import annotations

import json
import os
import wave
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from genmend.storage.atomic import whole_file

__all__ = ["FileLogger", "Logger", "TensorBoardLogger", "WandbLogger", "logger_for"]


@runtime_checkable
class Logger(Protocol):
    """Takes what a run reports. Anything with these three methods is one."""

    def scalar(self, name: str, value: float, step: int) -> None:
        """Take one figure."""

    def image(self, name: str, pixels: NDArray[np.uint8], step: int) -> None:
        """Take one picture, (h, w, 3) in 0 to 255."""

    def audio(self, name: str, samples: NDArray[np.float32], sample_rate: int, step: int) -> None:
        """Take one mono recording, (n,) in -1 to 1; the sample rate is in hertz."""


class FileLogger:
    """Keep everything in a folder: ``log.jsonl``, a line a figure, and PNG and WAV files that its lines name.

    Parameters
    ----------
    folder
        Made where there is none; what an earlier run wrote stays, and new lines follow.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)

    def scalar(self, name: str, value: float, step: int) -> None:
        """Write ``{"step", "name", "value"}``; the value is null where it is NaN or infinite."""
        self._line(name, step, value=float(value) if np.isfinite(value) else None)

    def image(self, name: str, pixels: NDArray[np.uint8], step: int) -> None:
        """Write ``NAME-STEP.png`` and the line that names it."""
        from PIL import Image

        with whole_file(self._file(name, step, ".png")) as temporary:
            Image.fromarray(_checked_pixels(pixels)).save(temporary, format="png")
        self._line(name, step, file=self._file(name, step, ".png").name)

    def audio(self, name: str, samples: NDArray[np.float32], sample_rate: int, step: int) -> None:
        """Write ``NAME-STEP.wav`` with 16 bits, and the line that names it."""
        numbers = (np.clip(_checked_wave(samples), -1, 1) * 32767).round().astype("<i2")
        with whole_file(self._file(name, step, ".wav")) as temporary, wave.open(str(temporary), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(int(sample_rate))
            file.writeframes(numbers.tobytes())
        self._line(name, step, file=self._file(name, step, ".wav").name)

    def _file(self, name: str, step: int, suffix: str) -> Path:
        plain = "".join(character if character.isalnum() or character in "-_." else "-" for character in name)
        return self.folder / f"{plain.lstrip('.')}-{step:08d}{suffix}"

    def _line(self, name: str, step: int, **what: Any) -> None:
        # One write a line: two processes that log to one folder never mix within a line.
        with open(self.folder / "log.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps({"step": int(step), "name": name, **what}) + "\n")


class TensorBoardLogger:
    """Pass on to a `torch.utils.tensorboard.SummaryWriter`, which stays the caller's to close."""

    def __init__(self, writer: Any) -> None:
        self.writer = writer

    def scalar(self, name: str, value: float, step: int) -> None:
        """Call `add_scalar`."""
        self.writer.add_scalar(name, float(value), step)

    def image(self, name: str, pixels: NDArray[np.uint8], step: int) -> None:
        """Call `add_image`."""
        self.writer.add_image(name, _checked_pixels(pixels), step, dataformats="HWC")

    def audio(self, name: str, samples: NDArray[np.float32], sample_rate: int, step: int) -> None:
        """Call `add_audio`."""
        self.writer.add_audio(name, _checked_wave(samples)[None], step, sample_rate=int(sample_rate))


class WandbLogger:
    """Pass on to a run of Weights & Biases, which stays the caller's to finish.

    The step is logged as the figure ``genmend_step``, which all others are drawn against: wandb's own step may not go
    back, and the training's own calls move it on.
    """

    def __init__(self, run: Any) -> None:
        self.run = run
        run.define_metric("genmend_step", hidden=True)

    def scalar(self, name: str, value: float, step: int) -> None:
        """Log the figure."""
        self._log(name, float(value), step)

    def image(self, name: str, pixels: NDArray[np.uint8], step: int) -> None:
        """Log a `wandb.Image`."""
        import wandb

        self._log(name, wandb.Image(_checked_pixels(pixels)), step)

    def audio(self, name: str, samples: NDArray[np.float32], sample_rate: int, step: int) -> None:
        """Log a `wandb.Audio`."""
        import wandb

        self._log(name, wandb.Audio(_checked_wave(samples), sample_rate=int(sample_rate)), step)

    def _log(self, name: str, value: Any, step: int) -> None:
        self.run.define_metric(name, step_metric="genmend_step")
        self.run.log({name: value, "genmend_step": int(step)})


def logger_for(target: Any) -> Logger:
    """Return the logger of a folder, a TensorBoard writer or a run of Weights & Biases; a logger is returned as it is.

    Parameters
    ----------
    target
        A path; anything with `add_scalar` and `add_image`, as `SummaryWriter`; a run that `wandb.init` returned; or
        anything with the three methods of `Logger`.

    Raises
    ------
    TypeError
        For anything else.
    """
    if isinstance(target, str | os.PathLike):
        return FileLogger(target)
    if isinstance(target, Logger):
        return target
    if hasattr(target, "add_scalar") and hasattr(target, "add_image"):
        return TensorBoardLogger(target)
    if hasattr(target, "define_metric") and hasattr(target, "log"):
        return WandbLogger(target)
    raise TypeError(
        f"{type(target).__name__} is no logger; give a folder, a TensorBoard SummaryWriter, a run of wandb.init, or an "
        f"object with the methods scalar, image and audio."
    )


def _checked_pixels(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
        raise ValueError(f"The picture is {pixels.dtype} {pixels.shape}; give uint8 (h, w, 3).")
    return pixels


def _checked_wave(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    if samples.ndim != 1 or not np.isfinite(samples).all():
        raise ValueError(f"The recording has shape {samples.shape}; give one channel (n,) of finite numbers.")
    return samples
