"""The rules of tests/conftest.py hold, and can fail."""

import gc
import os
import socket
import sys

import conftest
import pytest
import torch
from pytest_socket import SocketConnectBlockedError

from genmend.activations.compiled import compiled_and_run
from genmend.manifold.features import load_extractor


class Item:
    """As much of a pytest item as the rules look at."""

    nodeid = "test_x"

    def __init__(self, *marks):
        self.marks, self.added = [mark.mark for mark in marks], []

    def iter_markers(self, name):
        return (mark for mark in self.marks if mark.name == name)

    def get_closest_marker(self, name):
        return next(self.iter_markers(name), None)

    def add_marker(self, marker):
        self.added.append(marker.mark)


def test_a_test_cannot_reach_the_network():
    # A documentation address: nobody answers there even where the block fails.
    with pytest.warns(UserWarning, match="tried to use"), pytest.raises(SocketConnectBlockedError):
        socket.create_connection(("192.0.2.1", 9), timeout=0.5)


def test_loopback_and_unix_sockets_work():
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname(), timeout=5):
        pass
    first, second = socket.socketpair()
    with first, second:
        first.sendall(b"x")
        assert second.recv(1) == b"x"


def test_threads_are_limited():
    assert int(os.environ["OMP_NUM_THREADS"]) >= 1


class Twice(torch.nn.Module):
    def forward(self, x):
        return 2 * x


def test_what_a_test_compiled_is_forgotten(request):
    """And what was imported before is no matter for the garbage collector."""
    assert gc.get_freeze_count() > 10_000
    net = Twice()
    compiled = torch.compile(net, backend="eager")
    compiled(torch.ones(1))
    assert compiled_and_run([net]) is net
    conftest.pytest_runtest_teardown(request.node, request.node)
    assert compiled_and_run([net]) is None


def test_modules_and_names_of_a_file_are_forgotten_with_it(tmp_path, monkeypatch):
    (tmp_path / "house_own.py").write_text("def build():\n    return abs\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert load_extractor("house_own:build") is abs
    conftest.forget_own_modules(tmp_path)
    assert "house_own" not in sys.modules
    (tmp_path / "house_own.py").write_text("def build():\n    return callable\n")
    assert load_extractor("house_own:build") is callable
    conftest.forget_own_modules(tmp_path)


def test_missing_weights_skip_a_test_with_the_command_as_the_reason(monkeypatch, tmp_path):
    monkeypatch.setenv("GENMEND_CACHE", str(tmp_path))
    plain, real, clip = Item(), Item(pytest.mark.real("faces", "efficientnet-lite0")), Item(pytest.mark.clip)
    conftest.pytest_collection_modifyitems([plain, real, clip, Item(pytest.mark.real)])
    assert plain.added == []
    assert [mark.kwargs["reason"] for mark in real.added] == [
        "weights missing: run `genmend fetch faces efficientnet-lite0`"
    ]
    assert [mark.kwargs["reason"] for mark in clip.added] == ["weights missing: run `genmend fetch clip-vit-b16`"]


def test_weights_that_are_here_skip_nothing(monkeypatch):
    monkeypatch.setattr(conftest, "find_weights", lambda name: name)
    item = Item(pytest.mark.real("faces"))
    conftest.pytest_collection_modifyitems([item])
    assert item.added == []


def test_a_misspelt_weights_name_is_an_error_and_not_a_skip():
    with pytest.raises(pytest.UsageError, match="marked real for face: name weights"):
        conftest.needed_weights(Item(pytest.mark.real("face")))
