"""What holds for every test: no network, two threads, real weights only where they are, and nothing of another's."""

import gc
import os
import sys
from pathlib import Path

# Before anything imports torch or numpy; child processes inherit it. What the caller chose stays.
os.environ.setdefault("OMP_NUM_THREADS", "2")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import pytest

from genmend.storage.weights import PACKAGES, MissingWeightsError, find_weights

LOOPBACK = "127.0.0.1,::1,localhost"
REGISTERED = {}


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config):
    """Have pytest-socket admit loopback and unix sockets only (--force-enable-socket lifts it)."""
    if config.option.allow_hosts is None:
        config.option.allow_hosts = LOOPBACK
        config.option.allow_unix_socket = True


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """Leave what is imported out of garbage collection: it stays, and each look at it would take a second."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.freeze()


def registries():
    """What the library keeps by a user's names, by module: extractors, and classes of edits."""
    names = {"genmend.manifold.features.extractors.loading": "_own", "genmend.activations.contract": "_classes"}
    return {module: vars(sys.modules[module])[name] for module, name in names.items() if module in sys.modules}


def pytest_collection_finish():
    """Remember what the files registered when they were imported."""
    REGISTERED.update({module: set(kept) for module, kept in registries().items()})


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item, nextitem):
    """Forget compiled graphs, and at the end of a file the modules and names of its own.

    While a graph is left, each attachment looks for its module among all objects there are.
    """
    dynamo = sys.modules.get("torch._dynamo")
    if dynamo and "torch._dynamo.convert_frame" in sys.modules and dynamo.convert_frame.input_codes.seen:
        dynamo.reset()
    if nextitem is None or nextitem.path != item.path:
        forget_own_modules(item.config._tmp_path_factory.getbasetemp())


def forget_own_modules(folder):
    """Forget what was imported from `folder` and registered since collection: another file may use the same names."""
    for module, kept in registries().items():
        for name in set(kept) - REGISTERED.get(module, set()):
            del kept[name]
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__dict__", {}).get("__file__")
        if isinstance(file, str) and Path(file).is_relative_to(folder):
            del sys.modules[name]


def needed_weights(item):
    """Names in the item's `real` markers, in order, and CLIP's for `clip`."""
    names = [name for marker in item.iter_markers("real") for name in marker.args]
    if item.get_closest_marker("clip"):
        names.append("clip-vit-b16")
    unknown = set(names) - set(PACKAGES)
    if unknown:
        raise pytest.UsageError(
            f"{item.nodeid} is marked real for {', '.join(sorted(unknown))}: "
            f"name weights of genmend.storage.weights.PACKAGES ({', '.join(PACKAGES)})."
        )
    return list(dict.fromkeys(names))


def missing_weights(names):
    """Those of `names` that are not on this machine."""
    missing = []
    for name in names:
        try:
            find_weights(name)
        except MissingWeightsError:
            missing.append(name)
    return missing


def pytest_collection_modifyitems(items):
    """Skip a test whose weights are not here, with the command that gets them as the reason."""
    for item in items:
        missing = missing_weights(needed_weights(item))
        if missing:
            item.add_marker(pytest.mark.skip(reason=f"weights missing: run `genmend fetch {' '.join(missing)}`"))
