"""Builds the optional native engine; everything else is in pyproject.toml. Without a compiler it is left out."""

import sys
from glob import glob

from setuptools import Extension, setup

gnu = sys.platform.startswith("linux")
native = Extension(
    "manifold._native",
    sources=sorted(glob("manifold/native/*.cpp")),
    depends=sorted(glob("manifold/native/*.h")),
    language="c++",
    # No contraction to fused multiply-adds: distances equal numpy's bit for bit.
    extra_compile_args=(
        ["-std=c++17", "-O3", "-g0", "-ffp-contract=off", "-fopenmp", "-fvisibility=hidden"] if gnu else []
    ),
    extra_link_args=["-fopenmp"] if gnu else [],
    optional=True,
)
setup(ext_modules=[native])
