"""Write a repair into a Piper voice: the new file is a Piper voice like any other, and mends one combination of sounds.

Where the tokens around a place are those of the combination, a constant vector is added to one layer's output there.
Everywhere else nothing is added, and the voice speaks as it did.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from genmend.storage.atomic import whole_file
from genmend.tts.mending.combination import CombinationRepair
from genmend.tts.voices.piper import PiperVoice
from genmend.tts.voices.piper_graph import layer_tensors

__all__ = ["write_into_piper"]


def write_into_piper(voice: PiperVoice, repairs: Sequence[CombinationRepair], path: str | Path) -> None:
    """Write a copy of the voice with the repairs in it, and its .json beside it.

    Raises
    ------
    ValueError
        If there is nothing to write, a layer is not of this voice, or `path` is the voice itself.
    """
    from onnx import ModelProto

    path = Path(path)
    if not repairs:
        raise ValueError("There is no repair to write: nothing was moved; repair a sentence with flagged tokens first.")
    if path.resolve() == voice.path.resolve():
        raise ValueError(f"{path} is the voice itself, which is never overwritten; give another file name.")
    voice.check_layers([repair.layer for repair in repairs])
    model = ModelProto()
    model.CopyFrom(voice.model)
    for layer in dict.fromkeys(repair.layer for repair in repairs):
        _add_repairs(model.graph, layer_tensors(voice.model)[layer], [r for r in repairs if r.layer == layer])
    with whole_file(path) as temporary:
        temporary.write_bytes(model.SerializeToString())
    shutil.copyfile(voice.path.with_name(voice.path.name + ".json"), path.with_name(path.name + ".json"))


def _add_repairs(graph: Any, tensor: str, repairs: Sequence[CombinationRepair]) -> None:
    """The layer + sum over repairs of (1 where the combination is, else 0) * vector."""
    from onnx import helper, numpy_helper

    def constant(name: str, value: Any) -> str:
        graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    root, final, total = f"/genmend/{tensor}", f"{tensor}/repaired", tensor
    for node in graph.node:
        for i, name in enumerate(node.input):
            if name == tensor:
                node.input[i] = final
    nodes = []
    for number, repair in enumerate(repairs):
        at = f"{root}/{number}"
        matches = []
        for offset, token in enumerate(repair.ids, start=-repair.place):
            # input[t + offset] == token: -1 is no token's number, so that nothing matches beyond the ends.
            pads = constant(f"{at}/{offset}/pads", np.array([0, max(-offset, 0), 0, max(offset, 0)], np.int64))
            fill = constant(f"{at}/{offset}/fill", np.int64(-1))
            nodes.append(helper.make_node("Pad", ["input", pads, fill], [f"{at}/{offset}/padded"]))
            starts = constant(f"{at}/{offset}/starts", np.array([max(offset, 0)], np.int64))
            ends = constant(f"{at}/{offset}/ends", np.array([offset if offset < 0 else 2**31 - 1], np.int64))
            axis = constant(f"{at}/{offset}/axis", np.array([1], np.int64))
            nodes.append(helper.make_node("Slice", [f"{at}/{offset}/padded", starts, ends, axis], [f"{at}/{offset}"]))
            wanted = constant(f"{at}/{offset}/token", np.int64(token))
            nodes.append(helper.make_node("Equal", [f"{at}/{offset}", wanted], [f"{at}/{offset}/same"]))
            matches.append(f"{at}/{offset}/same")
        together = matches[0]
        for i, other in enumerate(matches[1:]):
            nodes.append(helper.make_node("And", [together, other], [f"{at}/and/{i}"]))
            together = f"{at}/and/{i}"
        nodes.append(helper.make_node("Cast", [together], [f"{at}/weight"], to=1))
        nodes.append(helper.make_node("Unsqueeze", [f"{at}/weight", constant(f"{at}/axis", np.array([1], np.int64))],
                                      [f"{at}/row"]))  # fmt: skip
        vector = constant(f"{at}/vector", repair.vector.astype(np.float32)[None, :, None])
        nodes.append(helper.make_node("Mul", [f"{at}/row", vector], [f"{at}/added"]))
        target = final if number == len(repairs) - 1 else f"{at}/sum"
        nodes.append(helper.make_node("Add", [total, f"{at}/added"], [target]))
        total = target
    position = next(i for i, node in enumerate(graph.node) if tensor in node.output)
    for offset, node in enumerate(nodes, start=1):
        graph.node.insert(position + offset, node)
