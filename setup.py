"""Maps the rooms at the top of the tree to genmend.*, and builds the optional native engine.

Everything else is in pyproject.toml. Without a compiler the engine is left out.
"""

import sys
from glob import glob
from pathlib import Path

from setuptools import Extension, setup

ROOMS = ("storage", "activations", "manifold", "gans", "diffusion", "tts", "workbench")
folders = [Path(file).parent for room in ROOMS for file in sorted(glob(f"{room}/**/__init__.py", recursive=True))]

gnu = sys.platform.startswith("linux")
native = Extension(
    "genmend.manifold.engine._native",
    sources=sorted(glob("manifold/engine/native/*.cpp")),
    depends=sorted(glob("manifold/engine/native/*.h")),
    language="c++",
    # No contraction to fused multiply-adds: distances equal numpy's bit for bit.
    extra_compile_args=(
        ["-std=c++17", "-O3", "-g0", "-ffp-contract=off", "-fopenmp", "-fvisibility=hidden"] if gnu else []
    ),
    extra_link_args=["-fopenmp"] if gnu else [],
    optional=True,
)
setup(
    package_dir={"genmend": "src/genmend", **{f"genmend.{room}": room for room in ROOMS}},
    packages=["genmend", *(".".join(["genmend", *folder.parts]) for folder in folders)],
    ext_modules=[native],
)
