"""A pipeline of the hub: what has to be downloaded, said before it begins, and nothing else; or what the cache has.

huggingface_hub is imported here when a hub name is meant. Its cache, login and environment variables hold (HF_HOME,
HF_TOKEN, HF_ENDPOINT, HF_HUB_OFFLINE), and a download that was interrupted goes on.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from genmend.diffusion.pipeline_weights import components_of, files_to_read, variant_of
from genmend.storage.hub.repository import HubError, told_in_one_sentence

__all__ = ["fetch_pipeline"]

_INDEX = "model_index.json"
_SPARE = 1.02  # of the disk: the file system's own share
_SECONDS = 15.0  # until a hub that does not answer counts as not reached


def fetch_pipeline(
    model: str, *, dtype: str = "float32", variant: str = "", say: Callable[[str], None] | None = None
) -> Path:
    """Return the folder of a pipeline of the hub, downloaded as far as the cache does not have it.

    Parameters
    ----------
    model
        ``owner/name``.
    dtype, variant
        As `variant_of` takes them: in 16 bits the fp16 files are taken where there are such, half as large.
    say
        Told, before a download begins, how large it is and where it goes.

    Raises
    ------
    HubError
        If the hub is not reached and the cache lacks the model, or the hub refuses; in one sentence.
    ValueError
        If the model is no pipeline of diffusers, has no weights as safetensors, or the disk is too full.
    """
    from huggingface_hub.constants import HF_HUB_OFFLINE

    if not HF_HUB_OFFLINE:
        try:
            with told_in_one_sentence(
                model, "fetched from", f"{model} has no {_INDEX}, so it is no diffusers pipeline"
            ):
                return _fetched(model, dtype, variant, say)
        except HubError as error:
            folder = _in_cache(model, dtype, variant)
            if folder is None or not error.not_reached:
                raise
            if say is not None:
                say(f"The hub is not reached; {model} is taken from the cache on this machine.")
            return folder
    folder = _in_cache(model, dtype, variant)
    if folder is None:
        raise HubError(
            f"{model} is not on this machine, or not all of it, and HF_HUB_OFFLINE is set; unset it, run "
            f"`hf download {model}` where there is a network, or give a folder."
        )
    return folder


def _fetched(model: str, dtype: str, variant: str, say: Callable[[str], None] | None) -> Path:
    import huggingface_hub as hub

    about = hub.HfApi(library_name="genmend").model_info(model, files_metadata=True, timeout=_SECONDS)
    index = Path(hub.hf_hub_download(model, _INDEX, library_name="genmend"))
    sizes = {one.rfilename: one.size or 0 for one in about.siblings or ()}
    wanted = _wanted(index, list(sizes), dtype, variant)
    missing = [name for name in wanted if not isinstance(_cached(model, name, about.sha), str)]
    n_bytes = sum(sizes[name] for name in missing)
    if missing:
        place = index.parents[3]
        free = shutil.disk_usage(place).free
        if n_bytes * _SPARE > free:
            raise ValueError(
                f"{model} takes {_gb(n_bytes)} more and {_gb(free)} are free in {place}; make room there, or set "
                "HF_HOME to a folder on a larger disk."
            )
        if say is not None:
            say(f"{model}: {_gb(n_bytes)} to download to {place}, where {_gb(free)} are free.")
        # Without a revision: the cache then knows the commit by name, also where there is no network.
        return Path(hub.snapshot_download(model, allow_patterns=[_INDEX, *wanted], library_name="genmend"))
    return index.parent


def _in_cache(model: str, dtype: str, variant: str) -> Path | None:
    """The folder, where the cache has all that is needed; None where not."""
    found = _cached(model, _INDEX, None)
    if not isinstance(found, str):
        return None
    folder = Path(found).parent
    index = json.loads((folder / _INDEX).read_text(encoding="utf-8"))
    names = [path.relative_to(folder).as_posix() for path in folder.glob("*/*") if path.is_file()]
    components = components_of(index)
    try:
        chosen = variant_of(names, components, dtype, variant)
    except ValueError:  # of the weights nothing is there yet
        return None
    read = files_to_read(names, components, chosen)
    with_weights = {name.split("/")[0] for name in read if name.endswith(".safetensors")}
    # What has a config.json is a model, and needs weights; folders whose files are all missing are told by the index.
    complete = all(
        (folder / component).is_dir()
        and (component in with_weights or not (folder / component / "config.json").is_file())
        for component in components
    )
    return folder if complete else None


def _cached(model: str, name: str, revision: str | None) -> Any:
    import huggingface_hub as hub

    return hub.try_to_load_from_cache(model, name, revision=revision)


def _wanted(index: Path, names: list[str], dtype: str, variant: str) -> list[str]:
    components = components_of(json.loads(index.read_text(encoding="utf-8")))
    return files_to_read(names, components, variant_of(names, components, dtype, variant))


def _gb(n_bytes: float) -> str:
    return f"{n_bytes / 1e9:.1f} GB" if n_bytes >= 5e7 else f"{n_bytes / 1e6:.1f} MB"
