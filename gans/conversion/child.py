"""The process that opens a foreign file: without network, with limits, and nothing in it but what reading needs.

`convert` runs it as ``python -I child.py SOURCE FOLDER PACKAGES``, where PACKAGES is the folder that holds the genmend
package. It writes ``arrays.safetensors`` and ``contents.json`` into FOLDER. The first imports are the
standard library's alone, because the network is left before any other starts threads.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
from pathlib import Path
from typing import Any

__all__ = ["leave_network", "limit_resources", "main", "read_arrays", "read_or_explain"]

CPU_SECONDS = 900

_NEW_USER, _NEW_NETWORK = 0x10000000, 0x40000000


def main(source: Path, folder: Path, packages: Path) -> None:
    """Leave the network, take the limits, read the file's arrays and write them down."""
    network = leave_network()
    sys.path.insert(0, str(packages))  # -I leaves PYTHONPATH out, and genmend may be found by that alone
    from safetensors.torch import save_file

    import genmend.gans.conversion.archives  # before the limits: they count what is imported  # noqa: F401

    isolation = {"process": "a child of its own", "network": network, "limits": limit_resources(source.stat().st_size)}
    contents = read_or_explain(source) | {"isolation": isolation}
    if "arrays" in contents:
        save_file(contents.pop("arrays"), folder / "arrays.safetensors")
    (folder / "contents.json").write_text(json.dumps(contents), encoding="utf-8")


def leave_network() -> str:
    """Go into an empty network namespace of our own, and say in words whether that worked."""
    try:
        unshare = ctypes.CDLL(None, use_errno=True).unshare
    except (OSError, AttributeError):
        return "not isolated: this system has no network namespaces"
    if unshare(_NEW_NETWORK) == 0 or unshare(_NEW_USER | _NEW_NETWORK) == 0:
        return "isolated: an empty network namespace"
    return f"not isolated: {os.strerror(ctypes.get_errno())}"


def limit_resources(file_bytes: int) -> str:
    """Cap processor time, memory and what may be written, by the file's size, and say in words what the caps are."""
    try:
        import resource
    except ImportError:
        return "not limited: this system has no resource limits"
    more = 6 * file_bytes + 2**30
    memory = _memory_in_use() + more
    written = 4 * file_bytes + 2**26
    limits = {
        resource.RLIMIT_CPU: CPU_SECONDS,
        resource.RLIMIT_AS: memory,
        resource.RLIMIT_FSIZE: written,
        resource.RLIMIT_CORE: 0,
    }
    for kind, value in limits.items():
        hard = resource.getrlimit(kind)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (value, value))
    # Without what the process had before, which differs from run to run.
    return f"processor {CPU_SECONDS} s, memory {more >> 20} MiB more than it began with, files {written >> 20} MiB"


def _memory_in_use() -> int:
    """Bytes of address space that this process has already."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except OSError:
        return 2**34
    return pages * os.sysconf("SC_PAGE_SIZE")


def read_or_explain(path: Path) -> dict[str, Any]:
    """Return what `read_arrays` returns, or under ``error`` why the file can't be read."""
    try:
        return read_arrays(path)
    except (ValueError, MemoryError, OSError, RuntimeError) as error:
        return {"error": (str(error).strip().splitlines() or [type(error).__name__])[0]}


def read_arrays(path: Path) -> dict[str, Any]:
    """Read a checkpoint by torch's safe loader, or as data where that loader refuses it; nothing in it is run.

    Returns
    -------
    dict
        ``arrays``: tensors by name; ``settings``: of each module, by its name; ``reader``: how the file was read;
        ``refused``: classes and functions that the file asks for and that were never looked up; and, where torch's
        loader refused the file, ``refusal``: why.

    Raises
    ------
    ValueError
        If the file is damaged or of another kind.
    """
    import torch

    from genmend.gans.conversion.archives import explain_kind, is_safetensors, read_checkpoint
    from genmend.gans.conversion.arrays import flat_arrays, is_harmless
    from genmend.gans.conversion.unpickling import PickleError

    explain_kind(path)
    if is_safetensors(path):
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            arrays = load_file(path)
        except SafetensorError as error:
            raise PickleError(f"it is no whole safetensors file ({error})") from error
        return {"arrays": arrays, "settings": {}, "reader": "safetensors, which hold no code", "refused": []}
    try:
        root = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a crafted file can make it raise anything; reading as data answers all of it
        refusal = " ".join(str(error).split())[:500]
    else:
        arrays, settings = flat_arrays(root, _no_storage)
        return {"arrays": arrays, "settings": settings, "reader": "torch.load(weights_only=True)", "refused": []}
    root, names, storage = read_checkpoint(path)
    try:
        arrays, settings = flat_arrays(root, storage)
    except (TypeError, IndexError, AttributeError, RuntimeError) as error:
        raise PickleError(f"an array in it is not as torch or numpy write them ({error})") from error
    return {
        "arrays": arrays,
        "settings": settings,
        "reader": "as data, without running anything",
        "refusal": refusal,
        "refused": sorted(str(name) for name in names if not is_harmless(name)),
    }


def _no_storage(value: Any) -> Any:
    raise TypeError("torch.load gives tensors whole")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
