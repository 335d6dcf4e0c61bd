"""The compiled engine without Python (native_check.cpp): on this CPU, and on an emulated Arm CPU where there is one."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
NATIVE = HERE.parents[2] / "manifold" / "engine" / "native"
SOURCES = [*sorted(NATIVE.glob("tiles/*.cpp")), *(NATIVE / f"{name}.cpp" for name in (
    "kernels", "encode", "fine", "exact", "nearest", "pairs"))]  # fmt: skip


def check(folder, compiler, *emulator, flags=()):
    """What the check says of each kernel."""
    target = folder / "check"
    command = [compiler, "-std=c++17", "-O2", "-ffp-contract=off", *flags, f"-I{NATIVE}", f"{HERE}/native_check.cpp"]
    subprocess.run([*command, *map(str, SOURCES), "-o", str(target)], check=True, timeout=600)
    done = subprocess.run([*emulator, str(target)], capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout
    return dict(line.split() for line in done.stdout.splitlines())


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("g++"), reason="no g++")
def test_on_this_cpu(tmp_path):
    assert check(tmp_path, "g++")["int8-portable"] == "right"


@pytest.mark.slow
@pytest.mark.skipif(
    not (shutil.which("aarch64-linux-gnu-g++") and shutil.which("qemu-aarch64")),
    reason="no g++-aarch64-linux-gnu and qemu-user",
)
def test_on_arm(tmp_path):
    with_dot_products = check(tmp_path, "aarch64-linux-gnu-g++", "qemu-aarch64", flags=("-static",))
    assert with_dot_products == {"int8-neon": "right", "int8-portable": "right"}
    without = check(tmp_path, "aarch64-linux-gnu-g++", "qemu-aarch64", "-cpu", "cortex-a53", flags=("-static",))
    assert without == {"int8-portable": "right"}


@pytest.mark.slow
@pytest.mark.skipif(not (shutil.which("g++") and shutil.which("objdump")), reason="no g++ and objdump")
def test_avx_vnni_is_encoded_for_cpus_without_avx_512(tmp_path):
    """The same template in its EVEX form is tested where there is AVX-512 VNNI; here, that the other one is VEX."""
    target = tmp_path / "tiles.o"
    subprocess.run(["g++", "-std=c++17", "-O3", "-c", f"{NATIVE}/tiles/vnni_256.cpp", "-o", str(target)], check=True)
    shown = subprocess.run(["objdump", "-d", str(target)], check=True, capture_output=True, text=True).stdout
    functions = dict(re.findall(r"<(\S+)>:\n((?:.+\n)+)", shown))
    if not any("tile_avx_vnni" in name for name in functions):
        pytest.skip("not an x86 compiler")
    vex, evex = (
        next(body for name, body in functions.items() if part in name) for part in ("tile_avx_vnni", "tile_vnni_256")
    )
    assert "zmm" not in vex
    for body, first_byte in ((vex, "c4"), (evex, "62")):
        products = [line.split("\t") for line in body.splitlines() if "vpdpbusd" in line]
        assert len(products) >= 12
        assert {line[1].split()[0] for line in products} == {first_byte}
    # nothing else of the function has the prefix of AVX-512 either
    assert not [line for line in vex.splitlines() if re.match(r"\s*[0-9a-f]+:\t62 ", line)]
