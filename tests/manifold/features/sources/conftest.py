"""Every test of a form of a set has a cache of its own."""

import pytest


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GENMEND_CACHE", str(tmp_path / "cache"))
