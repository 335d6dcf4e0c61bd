"""Serve the page on this machine alone; only files of its own output folder go out."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from genmend.workbench.app.guard import MOST_BYTES, guarded

if TYPE_CHECKING:
    from genmend.workbench.app.context import Models

__all__ = ["HOST", "free_port", "serve"]

HOST = "127.0.0.1"
FIRST_PORT, N_PORTS = 7860, 100
MOST_WAITING = 200  # events; more are told to come back later


def serve(
    out: Path, port: int | None = None, *, models: Models | None = None, said: Callable[[str], None] = print
) -> None:
    """Serve the page until it is interrupted.

    Parameters
    ----------
    out : Path
        The only folder that is written to; made where there is none.
    port : int, optional
        The first free one from 7860 on if not given.
    models : Models, optional
        What the tabs work on; those that come with genmend if not given.
    said : callable
        Told the page's address once it answers.

    Raises
    ------
    ModuleNotFoundError
        If gradio is missing.
    OSError
        If the port is taken.
    """
    folder = (out / "page").resolve()
    # Gradio reads these when it is imported.
    os.environ |= {"GRADIO_ANALYTICS_ENABLED": "False", "GRADIO_TEMP_DIR": str(folder / "files")}
    os.environ |= {"GRADIO_CACHE_DIR": str(folder / "cache"), "HF_HUB_DISABLE_TELEMETRY": "1"}
    try:
        import gradio  # noqa: F401
    except ModuleNotFoundError as error:
        if error.name != "gradio":
            raise
        raise ModuleNotFoundError(
            "The page needs gradio, which is not installed: run `pip install 'genmend[ui]'`.", name="gradio"
        ) from error
    from starlette.middleware import Middleware

    from genmend.workbench.app.app import STYLE, make_app, make_theme
    from genmend.workbench.app.context import AppContext, Models

    port = free_port(port)
    folder.mkdir(parents=True, exist_ok=True)
    context = AppContext(folder, models or Models())
    page = make_app(context).queue(max_size=MOST_WAITING, default_concurrency_limit=4, api_open=False)
    try:
        page.launch(
            server_name=HOST,
            server_port=port,
            share=False,
            quiet=True,
            prevent_thread_lock=True,
            show_error=False,
            footer_links=[],
            allowed_paths=[],
            max_file_size=MOST_BYTES,
            enable_monitoring=False,
            ssr_mode=False,
            mcp_server=False,
            pwa=False,
            run_history=False,
            theme=make_theme(),
            css_paths=STYLE,
            app_kwargs={"middleware": [Middleware(guarded, folder=context.files)]},
        )
        said(f"The page: http://{HOST}:{port}/ (on this machine only; stop it with Ctrl-C)")
        page.block_thread()
    finally:
        context.jobs.close()
        page.close()


def free_port(wanted: int | None) -> int:
    """`wanted` where nobody listens there, or the first free port from 7860 on."""
    for port in [wanted] if wanted else range(FIRST_PORT, FIRST_PORT + N_PORTS):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            if os.name != "nt":  # a port that was just left is free
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return port
    if wanted:
        raise OSError(f"Port {wanted} is taken; give another, e.g. --port {wanted + 1}, or none.")
    raise OSError(f"The ports {FIRST_PORT} to {FIRST_PORT + N_PORTS - 1} are all taken; give another with --port.")
