"""Foreign checkpoints as their makers write them, and malicious ones, made in a test's own folder."""

from __future__ import annotations

import os
import pickle
import sys
import types
from collections import OrderedDict

import torch
from torch import nn

SECRET = "this must not be written"


class WritesFile:
    """Unpickling this would write a file; nothing else would."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.system, (f"echo {SECRET} > {self.path}",)


def module_tree(state: dict[str, torch.Tensor], buffers=("w_avg", "resample_filter", "noise_const")) -> nn.Module:
    """Nested modules with the state dict given."""
    root = nn.Module()
    for name, tensor in state.items():
        *path, last = name.split(".")
        module = root
        for part in path:
            if part not in module._modules:
                module.add_module(part, nn.Module())
            module = module._modules[part]
        if last in buffers:
            module.register_buffer(last, tensor.clone())
        else:
            module.register_parameter(last, nn.Parameter(tensor.clone()))
    return root


def nvidia_pickle(path, state, init_kwargs=None, module_src="raise SystemExit('ran')") -> None:
    """``{"G_ema": ...}`` as torch_utils.persistence of stylegan2-ada-pytorch pickles it: rebuilt from source.

    The classes exist while this writes, and are gone afterwards, so that nobody could import them.
    """
    persistence, dnnlib = types.ModuleType("torch_utils.persistence"), types.ModuleType("dnnlib.util")

    def reconstruct(meta):
        raise AssertionError("called")

    class EasyDict(dict):
        pass

    EasyDict.__module__, EasyDict.__qualname__ = "dnnlib.util", "EasyDict"
    reconstruct.__module__, reconstruct.__qualname__ = "torch_utils.persistence", "_reconstruct_persistent_obj"
    persistence._reconstruct_persistent_obj, dnnlib.EasyDict = reconstruct, EasyDict

    class Persistent:
        def __init__(self, module, kwargs=None):
            self.state = dict(module.__dict__)
            self.state["_modules"] = OrderedDict((k, Persistent(m)) for k, m in module._modules.items())
            self.state |= {"_init_args": (), "_init_kwargs": EasyDict(kwargs or {})}

        def __reduce__(self):
            meta = {"type": "class", "version": 6, "module_src": module_src, "class_name": "G", "state": self.state}
            return reconstruct, (meta,)

    fake = {"torch_utils": types.ModuleType("torch_utils"), "torch_utils.persistence": persistence,
            "dnnlib": types.ModuleType("dnnlib"), "dnnlib.util": dnnlib}  # fmt: skip
    sys.modules.update(fake)
    try:
        content = {
            "G": None,
            "G_ema": Persistent(module_tree(state), init_kwargs),
            "training_set_kwargs": EasyDict(a=1),
        }
        with open(path, "wb") as file:
            pickle.dump(content, file)
    finally:
        for name in fake:
            del sys.modules[name]
