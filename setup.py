"""Maps the rooms at the top of the tree to genmend.*, and builds the optional native engine.

Everything else is in pyproject.toml. Without a compiler the engine is left out, which is said, and the wheel is one for
any machine.
"""

import sys
import tempfile
from glob import glob
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext

ROOMS = ("storage", "activations", "manifold", "gans", "diffusion", "tts", "concepts", "workbench")
folders = [Path(file).parent for room in ROOMS for file in sorted(glob(f"{room}/**/__init__.py", recursive=True))]

# No contraction to fused multiply-adds: distances equal numpy's bit for bit. Clang contracts unless it is told.
UNIX_FLAGS = ["-std=c++17", "-O3", "-g0", "-ffp-contract=off", "-fvisibility=hidden"]
MSVC_FLAGS = ["/std:c++17", "/O2", "/fp:precise"]
OPENMP = "-fopenmp"
# One wheel for every Python from this one on: the engine uses the stable interface alone.
STABLE = "cp311"

native = Extension(
    "genmend.manifold.engine._native",
    sources=sorted(glob("manifold/engine/native/**/*.cpp", recursive=True)),
    depends=sorted(glob("manifold/engine/native/**/*.h", recursive=True)),
    language="c++",
    define_macros=[("Py_LIMITED_API", "0x030B0000")],
    py_limited_api=True,
    optional=True,
)


class BuildEngine(build_ext):
    """Builds with the flags of the compiler that is there, with threads where it has OpenMP."""

    def build_extensions(self):
        """Choose the flags, now that the compiler is known."""
        unix = self.compiler.compiler_type == "unix"
        threads = [OPENMP] if unix and self._compiles(OPENMP) else []
        for extension in self.extensions:
            extension.extra_compile_args = [*(UNIX_FLAGS if unix else MSVC_FLAGS), *threads]
            extension.extra_link_args = threads
        super().build_extensions()

    def run(self):
        """Build; what could not be built is no part of the distribution."""
        super().run()
        if not Path(self.get_ext_fullpath(native.name)).exists():
            self.distribution.ext_modules = []
            print(
                "genmend: the compiled engine was not built (no C++17 compiler that works, see above): genmend does "
                "without it, slower on large sets, with the same results.",
                file=sys.stderr,
            )

    def _compiles(self, flag):
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder, "empty.cpp")
            source.write_text("#include <omp.h>\nint main() { return omp_get_max_threads() < 1; }\n")
            try:
                objects = self.compiler.compile([str(source)], output_dir=folder, extra_postargs=[flag])
                self.compiler.link_executable(
                    objects, "empty", output_dir=folder, extra_postargs=[flag], target_lang="c++"
                )
            except Exception:  # each compiler has errors of its own
                return False
        return True


class TaggedWheel(bdist_wheel):
    """A wheel for any machine where the engine was not built, for this one where it was."""

    def run(self):
        """Build first, for only then it is known."""
        self.run_command("build")
        self.root_is_pure = not self.distribution.has_ext_modules()
        self.py_limited_api = False if self.root_is_pure else STABLE
        super().run()


setup(
    package_dir={"genmend": "src/genmend", **{f"genmend.{room}": room for room in ROOMS}},
    packages=["genmend", *(".".join(["genmend", *folder.parts]) for folder in folders)],
    ext_modules=[native],
    cmdclass={"build_ext": BuildEngine, "bdist_wheel": TaggedWheel},
)
