"""Ray as the tests have it: on the loopback, with no reports home and a key of this run's own."""

import shutil
import tempfile
from secrets import token_hex

import pytest


@pytest.fixture(scope="session")
def ray_folder():
    """Where Ray's files are, with a short name: it holds sockets."""
    folder = tempfile.mkdtemp(prefix="ray")
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def installed_ray(ray_folder):
    """The module."""
    environment = {
        "USAGE_STATS_ENABLED": "0",
        "AUTH_MODE": "token",  # read when Ray is imported, so one key for all tests
        "AUTH_TOKEN": token_hex(32),
        "TMPDIR": ray_folder,
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(f"RAY_{name}", value)
        yield pytest.importorskip("ray", reason="ray is not installed: pip install genmend[ray]")
