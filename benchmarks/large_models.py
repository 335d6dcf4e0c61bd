"""How much memory and time the commands take on a StyleGAN2 of true widths: random weights, small counts.

Every command runs in a process of its own, by the path of a converted folder, as a user runs it; its peak resident
memory is what the system says at its end. The counts are small, because memory is not to depend on them: what a
command holds at these counts it holds at its defaults, but for the features of its samples and the images it shows.

    python benchmarks/large_models.py                    # 256 x 256 and 1024 x 1024: make large
    python benchmarks/large_models.py --side 256 --command detect
    python benchmarks/large_models.py --save             # also in benchmarks/results/large-<CPU>.json

It ends with status 1 where a command failed or held more than its limit.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from machine import conditions, result_file

LIMITS = {256: 3.0, 1024: 8.0}  # GB
# What the public models of each size have (channel_base 16384 of stylegan2-ada's 256, 32768 of its 1024).
WIDTHS = {
    256: {4: 512, 8: 512, 16: 512, 32: 512, 64: 256, 128: 128, 256: 64},
    1024: {4: 512, 8: 512, 16: 512, 32: 512, 64: 512, 128: 256, 256: 128, 512: 64, 1024: 32},
}
# The fewest that each command accepts, or a few more.
COUNTS = {
    "detect": "--latents latents.npy --n-statistics 4 --n-reference 10",
    "correct": "--latents latents.npy --n-statistics 10 --n-reference 40",
    "dissect": "--n-statistics 8 --n-images 8",
    "rare": "--n-statistics 10 --n-reference 54 --no-artifact-limit --n-references 1 --n-versions 2 --steps 1 "
    "--k-reference 10",
}


@dataclass(frozen=True)
class Measured:
    """One command on one model: its peak memory and processor time, and its exit status."""

    side: int
    command: str
    options: str
    gigabytes: float
    limit: float
    cpu_seconds: float
    status: int

    @property
    def kept(self) -> bool:
        """Whether it ended well within its limit."""
        return self.status == 0 and self.gigabytes <= self.limit


def main() -> None:
    """Build the models, measure, print, and save where asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, choices=WIDTHS, action="append")
    parser.add_argument("--command", choices=COUNTS, action="append")
    parser.add_argument("--folder", type=Path, help="Where the models and results lie; a temporary folder by default.")
    parser.add_argument("--save", action="store_true")
    parser.add_argument("--build", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.build is not None:
        build(options.build, options.folder)
        return
    print(conditions("torch", "numpy"), flush=True)
    print(f"{'side':>5} {'command':8} {'GB':>6} {'limit':>6} {'CPU s':>8}  options", flush=True)
    found = []
    with tempfile.TemporaryDirectory() as temporary:
        for side in options.side or WIDTHS:
            folder = (options.folder or Path(temporary)) / str(side)
            folder.mkdir(parents=True, exist_ok=True)
            # In a process of its own: a child's peak is not to be this one's.
            own = [sys.executable, __file__, "--build", str(side), "--folder", str(folder)]
            subprocess.run(own, check=True)
            for command in options.command or COUNTS:
                found.append(measure(side, command, folder))
                if options.save:
                    save(found[-1])
    sys.exit(not all(row.kept for row in found))


def measure(side: int, command: str, folder: Path) -> Measured:
    """Run one command in a child process, and say what it took."""
    arguments = [sys.executable, "-m", "genmend", command, "model", "--out", command, *COUNTS[command].split()]
    with (folder / f"{command}.log").open("w") as log:
        child = subprocess.Popen([*arguments, "--no-resume"], cwd=folder, stdout=log, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, kilobytes elsewhere
    row = Measured(
        side,
        command,
        COUNTS[command],
        round(usage.ru_maxrss * unit / 1e9, 2),
        LIMITS[side],
        round(usage.ru_utime + usage.ru_stime),
        child.returncode,
    )
    verdict = "" if row.kept else f"  TOO MUCH, or failed: {(folder / command).with_suffix('.log')}"
    print(f"{side:5} {command:8} {row.gigabytes:6.2f} {row.limit:6.1f} {row.cpu_seconds:8.0f}  {row.options}{verdict}",
          flush=True)  # fmt: skip
    if row.status:
        print((folder / f"{command}.log").read_text()[-2000:], flush=True)
    return row


def save(row: Measured) -> None:
    """Put this row in the result file of this processor, in place of what it says of the same command."""
    path = result_file("large", ".json")
    known = json.loads(path.read_text())["rows"] if path.exists() else []
    rows = {(one["side"], one["command"]): one for one in [*known, asdict(row)]}
    content = {"machine": conditions("torch", "numpy"), "rows": [rows[key] for key in sorted(rows)]}
    path.write_text(json.dumps(content, indent=1) + "\n")


def build(side: int, folder: Path) -> None:
    """Write a StyleGAN2 of this side with random weights, as `genmend convert` writes one, and a few latents."""
    import numpy as np

    from genmend.gans.conversion.folder import save_generator
    from genmend.gans.families import LAYOUTS

    layout = LAYOUTS["stylegan2-nvidia"]
    module, config = random_stylegan2(WIDTHS[side])
    facts = {"source": f"random-{side}.pkl", "source_sha256": "", "group": "", "reader": "", "refused": []}
    options = dict(layout.options)
    save_generator(
        folder / "model",
        module,
        {**facts, "isolation": {}, "family": layout.name, "config": config, "options": options},
    )
    np.save(folder / "latents.npy", np.random.default_rng(1).standard_normal((4, 512)).astype(np.float32))


def random_sdxl(place: Path, small: bool) -> Path:
    """The folder ``sdxl-turbo``, as save_pretrained writes it: SDXL's layout, random weights, in 16 bits if large."""
    import torch
    from diffusers import (
        AutoencoderKL,
        EulerAncestralDiscreteScheduler,
        StableDiffusionXLPipeline,
        UNet2DConditionModel,
    )
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

    letters = "abcdefghijklmnopqrstuvwxyz"
    words = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{letter}</w>" for letter in letters)]
    (place / "vocab.json").write_text(json.dumps({word: number for number, word in enumerate(words)}))
    (place / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = CLIPTokenizer(str(place / "vocab.json"), str(place / "merges.txt"), model_max_length=77)

    def text(width: int, heads: int, layers: int) -> CLIPTextConfig:
        sizes = {"hidden_size": width, "intermediate_size": 4 * width, "projection_dim": width}
        ids = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
        vocabulary = 64 if small else 49408
        return CLIPTextConfig(
            num_attention_heads=heads,
            num_hidden_layers=layers,
            vocab_size=vocabulary,
            hidden_act="gelu",
            **sizes,
            **ids,
        )

    texts = (text(32, 4, 1), text(32, 4, 1)) if small else (text(768, 12, 12), text(1280, 20, 32))
    sides = sum(config.hidden_size for config in texts)
    widths, groups = ((32, 64, 64), 8) if small else ((320, 640, 1280), 32)
    torch.manual_seed(0)
    with torch.device("cuda" if torch.cuda.device_count() else "cpu"):  # a billion random weights
        unet = UNet2DConditionModel(
            sample_size=16 if small else 64,
            block_out_channels=widths,
            norm_num_groups=groups,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            transformer_layers_per_block=(1, 1, 2) if small else (1, 2, 10),
            attention_head_dim=(2, 4, 8) if small else (5, 10, 20),
            cross_attention_dim=sides,
            use_linear_projection=True,
            addition_embed_type="text_time",
            addition_time_embed_dim=8 if small else 256,
            projection_class_embeddings_input_dim=texts[1].projection_dim + 6 * (8 if small else 256),
        )
        vae = AutoencoderKL(
            block_out_channels=(32, 64) if small else (128, 256, 512, 512),
            down_block_types=("DownEncoderBlock2D",) * (2 if small else 4),
            up_block_types=("UpDecoderBlock2D",) * (2 if small else 4),
            layers_per_block=1 if small else 2,
            latent_channels=4,
            scaling_factor=0.13025,
        )
        encoders = CLIPTextModel(texts[0]), CLIPTextModelWithProjection(texts[1])
    pipe = StableDiffusionXLPipeline(
        vae=vae,
        text_encoder=encoders[0],
        text_encoder_2=encoders[1],
        tokenizer=tokenizer,
        tokenizer_2=tokenizer,
        unet=unet,
        scheduler=EulerAncestralDiscreteScheduler(timestep_spacing="trailing"),
        add_watermarker=False,
    )
    pipe.to(torch.float32 if small else torch.bfloat16).save_pretrained(place / "sdxl-turbo")
    return place / "sdxl-turbo"


def random_stylegan2(widths: dict[int, int]) -> tuple[Any, dict[str, Any]]:
    """The module of a StyleGAN2 with these channels by side, and its config; as with NVIDIA's files."""
    import torch

    from genmend.gans.families import LAYOUTS

    config = {
        "z_width": 512,
        "w_width": 512,
        "widths": {str(place): width for place, width in widths.items()},
        "n_mapping": 8,
        "n_classes": 0,
        "embedded": 0,
        "channels": 3,
        "clamp": None,
        "mapping_rate": 0.01,
    }
    module = LAYOUTS["stylegan2-nvidia"].build(config)
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, values in [*module.named_parameters(), *module.named_buffers()]:
            if name.endswith("affine.bias"):
                values.fill_(1)
            elif name.endswith("noise_strength"):
                values.fill_(0.1)
            elif name.endswith("bias"):
                # Biases of trained models differ from unit to unit: of equal ones no neuron would be rarely active.
                values.copy_(torch.randn(values.shape, generator=draw) - 1)
            elif not name.endswith(("resample_filter", "w_avg")):
                scale = 100 if name.startswith("mapping.fc") else 1
                values.copy_(torch.randn(values.shape, generator=draw) * scale)
    return module, config


if __name__ == "__main__":
    main()
