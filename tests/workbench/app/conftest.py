"""One browser, and one server of the whole page, for all tests of a process."""

import pytest
from served_page import browser, looking, server


@pytest.fixture(scope="session")
def chromium():
    """A browser."""
    with browser() as launched:
        yield launched


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """The page as `genmend serve` has it, on a free port; one for each file: no job of another is in its queue."""
    with server(tmp_path_factory.mktemp("served") / "out") as running:
        yield running


@pytest.fixture
def look(chromium, served):
    """``with look(width=390) as looked``: the page in a session of its own; no error in the console by the end."""
    from contextlib import contextmanager

    @contextmanager
    def looked(**options):
        with looking(chromium, served, **options) as found:
            yield found
        assert found.errors == []

    return looked
