"""What a browser may ask of the server: the routes of the page, files of the output folder, uploads of known kinds.

It stands before Gradio's own checks and looks at names before any path is touched.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from genmend.manifold.features.audio_files import AUDIO_SUFFIXES
from genmend.manifold.features.image_files import IMAGE_SUFFIXES

__all__ = ["ARRAY_SUFFIXES", "MOST_BYTES", "UPLOADED_SUFFIXES", "guarded", "suffix_of"]

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

ARRAY_SUFFIXES = frozenset({".npy", ".npz", ".safetensors", ".csv"})
UPLOADED_SUFFIXES = IMAGE_SUFFIXES | AUDIO_SUFFIXES | ARRAY_SUFFIXES | {".zip"}
# Made by the page itself for its visitor.
_SERVED_SUFFIXES = UPLOADED_SUFFIXES | {".json", ".svg", ".html", ".txt", ".css", ".js", ".m3u8", ".ts"}
MOST_BYTES = 512 * 2**20  # of one request
_HOSTS = ("127.0.0.1", "localhost", "[::1]")
_API = "/gradio_api/"
_ROUTES = ("/assets/", "/static/", "/svelte/")
_PAGES = ("/", "/config", "/config/", "/theme.css", "/favicon.ico", "/robots.txt", "/manifest.json")
_CALLS = (
    "info", "queue/join", "queue/data", "cancel", "reset", "startup-events", "app_id", "theme.css", "upload",
    "upload_progress", "run/predict", "component_server", "token", "login_check", "user",
)  # fmt: skip
_FILE_PREFIXES = (f"{_API}file=", "/file=")


def guarded(application: Application, folder: Path) -> Application:
    """Wrap the application of the page.

    Parameters
    ----------
    application
        Gradio's.
    folder : Path
        Only files below it are served.
    """

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await application(scope, receive, send)
            return
        refusal = _refusal(scope, folder)
        if refusal is not None:
            await _refuse(send, *refusal)
        elif scope["path"].rstrip("/") == f"{_API}upload":
            await _upload(application, scope, receive, send)
        else:
            await application(scope, receive, send)

    return answer


def suffix_of(name: str) -> str:
    """The ending of a file's name in lower case; empty for a name with parts of a path or with bytes that hide one."""
    last = name.replace("\\", "/").rpartition("/")[2]
    return "" if "\0" in last or last.startswith(".") else Path(last).suffix.lower()


def _refusal(scope: Scope, folder: Path) -> tuple[int, str] | None:
    """Status and sentence for what is not answered."""
    headers = {key.decode("latin1").lower(): value.decode("latin1") for key, value in scope["headers"]}
    if headers.get("host", "").rsplit(":", 1)[0] not in _HOSTS:
        return 403, "This page answers on this machine only."
    origin = headers.get("origin")
    if origin is not None and origin.partition("://")[2].rsplit(":", 1)[0] not in _HOSTS:
        return 403, "Another page may not ask this one."
    path = scope["path"]
    prefix = next((prefix for prefix in _FILE_PREFIXES if path.startswith(prefix)), None)
    if prefix is not None:
        return None if _served(path.removeprefix(prefix), folder) else (403, "That file is not served.")
    if ".." in unquote(path).split("/") or not _known(path):
        return 404, "There is nothing here."
    return None


def _known(path: str) -> bool:
    if path in _PAGES or path.startswith(_ROUTES):
        return True
    call = path.removeprefix(_API).rstrip("/")
    return path.startswith(_API) and (call in _CALLS or call.startswith("heartbeat/"))


def _served(name: str, folder: Path) -> bool:
    """Whether a path is a file of a served kind that really lies in the folder, links followed."""
    # Also where it was encoded twice.
    parts = {part for form in (name, unquote(name)) for part in form.replace("\\", "/").split("/")}
    if "\0" in unquote(name) or ".." in parts or suffix_of(name) not in _SERVED_SUFFIXES:
        return False
    path = Path(name)
    if not path.is_absolute() or not path.is_relative_to(folder):
        return False
    return path.resolve().is_relative_to(folder.resolve())


async def _refuse(send: Send, status: int, text: str) -> None:
    body = text.encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _upload(application: Application, scope: Scope, receive: Receive, send: Send) -> None:
    """Pass an upload on as long as every name in it is of a known kind and it is not too large."""
    headers = dict(scope["headers"])
    declared = headers.get(b"content-length", b"0")
    if not declared.isdigit() or int(declared) > MOST_BYTES:
        await _refuse(send, 413, f"An upload may have {MOST_BYTES // 2**20} MB.")
        return
    names = _NameReader(headers.get(b"content-type", b""))
    refused: tuple[int, str] | None = None
    answered = False

    async def checked() -> Any:
        nonlocal refused
        message = await receive()
        if message["type"] == "http.request":
            refused = refused or names.read(message.get("body", b""))
            if refused:
                return {"type": "http.disconnect"}
        return message

    async def answer(message: Any) -> None:
        nonlocal answered
        if refused:
            if not answered:
                answered = True
                await _refuse(send, *refused)
            return
        await send(message)

    try:
        await application(scope, checked, answer)
    except Exception:
        if not refused:
            raise
    if refused and not answered:
        await _refuse(send, *refused)


class _NameReader:
    """Reads the names of the files in a multipart body as it comes in, and counts its bytes."""

    def __init__(self, content_type: bytes) -> None:
        from python_multipart.multipart import MultipartParser, parse_options_header

        kind, options = parse_options_header(content_type)
        self._size = 0
        self._header, self._value, self._disposition = b"", b"", b""
        self._names: list[bytes] = []
        self._read_options = parse_options_header
        self._parser = None
        if kind == b"multipart/form-data" and options.get(b"boundary"):
            self._parser = MultipartParser(options[b"boundary"], dict(self._callbacks()))  # type: ignore[arg-type]

    def _callbacks(self) -> Iterator[tuple[str, Callable[..., None]]]:
        def field(data: bytes, start: int, end: int) -> None:
            self._header += data[start:end]

        def value(data: bytes, start: int, end: int) -> None:
            self._value += data[start:end]

        def header_end() -> None:
            if self._header.lower() == b"content-disposition":
                self._disposition = self._value
            self._header, self._value = b"", b""

        def headers_finished() -> None:
            _, options = self._read_options(self._disposition)
            if b"filename" in options:
                self._names.append(options[b"filename"])
            self._disposition = b""

        yield "on_header_field", field
        yield "on_header_value", value
        yield "on_header_end", header_end
        yield "on_headers_finished", headers_finished

    def read(self, body: bytes) -> tuple[int, str] | None:
        """Take in the next bytes; status and sentence of a refusal."""
        from python_multipart.exceptions import FormParserError

        self._size += len(body)
        if self._size > MOST_BYTES:
            return 413, f"An upload may have {MOST_BYTES // 2**20} MB."
        if self._parser is None:
            return 400, "An upload is a multipart form."
        try:
            self._parser.write(body)
        except FormParserError:
            return 400, "This is not a multipart form."
        for name in self._names:
            if suffix_of(name.decode("utf-8", "replace")) not in UPLOADED_SUFFIXES:
                kinds = ", ".join(sorted(UPLOADED_SUFFIXES))
                return 415, f"A file of that kind is not taken; these are: {kinds}."
        self._names.clear()
        return None
