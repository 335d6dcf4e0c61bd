"""A server of the page in a process of its own, and a browser that looks at it."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
SECONDS = 150.0  # the longest that anything may take, on a machine that is busy


@dataclass
class Served:
    """A running server."""

    url: str
    out: Path
    process: subprocess.Popen


@dataclass
class Looked:
    """A page of a browser, and what its console complained of."""

    page: object
    errors: list = field(default_factory=list)

    def open_tab(self, label):
        """Click a tab and wait until it is shown."""
        self.page.get_by_role("tab", name=label, exact=True).click()
        self.page.locator(f"#tab-{label.lower()}").wait_for(state="visible")

    def reload(self):
        """Load the page anew. What the page that is left says of its cut-off streams is no error of the new one."""
        known = list(self.errors)
        self.page.reload()
        self.page.get_by_role("tab").first.wait_for()
        cut = ("aborted", "Connection errored out")
        self.errors[:] = known + [e for e in self.errors[len(known) :] if not any(word in e for word in cut)]


@contextmanager
def server(out, *, code=None, environment=None, arguments=()):
    """Serve on a free port of this machine; the process ends with the block. `code` in place of small_server.py."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    script = [str(Path(__file__).with_name("small_server.py"))] if code is None else ["-c", code]
    command = [sys.executable, *script, "serve", *arguments, "--out", str(out), "--port", str(port)]
    log = Path(out).parent / f"{Path(out).name}.log"
    with log.open("w") as said:
        process = subprocess.Popen(
            command, stdout=said, stderr=said, env={**os.environ, **(environment or {})}, start_new_session=True
        )
    url = f"http://127.0.0.1:{port}"
    try:
        until = time.monotonic() + SECONDS
        while "The page: " not in log.read_text():
            if process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"the server did not start: {log.read_text()[-3000:]}")
            time.sleep(0.1)
        urllib.request.urlopen(f"{url}/", timeout=SECONDS).read()
        yield Served(url, Path(out), process)
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def browser():
    """Chromium without a window, or a skip where there is none."""
    if CHROMIUM is None:
        pytest.skip("needs Chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        launched = driver.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        )
        try:
            yield launched
        finally:
            launched.close()


@contextmanager
def looking(browser, served, *, width=1280, height=900, dark=False, context=None):
    """A page of a session of its own (or of a browser context that is given), opened on the server."""
    made = context or browser.new_context(
        viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light"
    )
    page = made.new_page()
    looked = Looked(page)
    page.on("console", lambda message: looked.errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: looked.errors.append(str(error)))
    page.set_default_timeout(SECONDS * 1000)
    page.goto(served.url)
    page.get_by_role("tab").first.wait_for()
    try:
        yield looked
    finally:
        page.close()
        if context is None:
            made.close()
