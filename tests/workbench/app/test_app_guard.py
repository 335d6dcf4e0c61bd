"""What the server refuses before Gradio sees it, in memory; the same by http on a real server is in test_app_server."""

import asyncio
import os

import pytest

from genmend.workbench.app import guard


async def passed(scope, receive, send):
    """An application that reads everything and says yes."""
    size = 0
    if scope["path"].endswith("/upload"):
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise RuntimeError("the reader was cut off")
            size += len(message.get("body", b""))
            if not message.get("more_body"):
                break
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(size).encode()})


def asked(path, folder, *, headers=(), method="GET", body=(b"",)):
    """Status and text of an answer."""
    named = {"host": "127.0.0.1:7860", **dict(headers)}
    scope = {
        "type": "http", "method": method, "path": path,
        "headers": [(key.encode(), value.encode()) for key, value in named.items()],
    }  # fmt: skip
    parts, sent = list(body), []

    async def receive():
        return {"type": "http.request", "body": parts.pop(0), "more_body": bool(parts)}

    async def send(message):
        sent.append(message)

    asyncio.run(guard.guarded(passed, folder)(scope, receive, send))
    starts = [message["status"] for message in sent if message["type"] == "http.response.start"]
    assert len(starts) == 1
    return starts[0], b"".join(message.get("body", b"") for message in sent).decode()


def form(*names, data=b"x", boundary="b0"):
    """A multipart body with files of these names."""
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'.encode()
        + data
        + b"\r\n"
        for name in names
    ]
    return b"".join(parts) + f"--{boundary}--\r\n".encode()


def upload(folder, body, *, step=7, headers=()):
    content = {"content-type": "multipart/form-data; boundary=b0", "content-length": str(len(body)), **dict(headers)}
    pieces = [body[start : start + step] for start in range(0, len(body), step)]
    return asked("/gradio_api/upload", folder, headers=content, method="POST", body=pieces)


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "files"
    made.mkdir()
    (made / "a.png").write_bytes(b"x")
    (made / "odd.sh").write_bytes(b"x")
    (tmp_path / "secret.png").write_bytes(b"x")
    (tmp_path / "files-of-another").mkdir()
    (tmp_path / "files-of-another" / "a.png").write_bytes(b"x")
    os.symlink(tmp_path / "secret.png", made / "link.png")
    os.symlink(tmp_path, made / "up")
    return made


def test_files_of_the_folder_are_served_and_no_others(folder):
    for prefix in ("/gradio_api/file=", "/file="):
        assert asked(f"{prefix}{folder}/a.png", folder)[0] == 200
        for name in (
            f"{folder}/../secret.png",
            f"{folder}/%2e%2e/secret.png",
            f"{folder}/..\\secret.png",
            f"{folder}/link.png",
            f"{folder}/up/secret.png",
            f"{folder}-of-another/a.png",
            f"{folder.parent}/secret.png",
            f"{folder}/odd.sh",
            f"{folder}/a.png\0",
            f"{folder}",
            f"{folder}/missing",
            "/etc/passwd",
            "etc/passwd",
            "a.png",
            "http://127.0.0.1/a.png",
            "file:///etc/hosts.png",
            "",
        ):
            assert asked(f"{prefix}{name}", folder)[0] == 403, name


def test_a_file_that_is_not_served_looks_the_same_whether_it_is_there_or_not(folder):
    there, missing = (asked(f"/file={folder.parent}/{name}.png", folder) for name in ("secret", "nothing"))
    assert there == missing


def test_only_the_routes_of_the_page_are_answered(folder):
    for path in ("/", "/config", "/assets/index.js", "/theme.css", "/gradio_api/queue/join", "/gradio_api/heartbeat/x"):
        assert asked(path, folder)[0] == 200, path
    for path in (
        "/gradio_api/proxy=http://example.org/", "/monitoring", "/gradio_api/vibe-edit/", "/docs", "/openapi.json",
        "/gradio_api/process_recording", "/gradio_api/stream/x", "/custom_component/a/b/c/d", "/assets/../config",
        "/assets/%2e%2e/config", "/login", "/gradio_api/deep_link", "/runs", "/gradio_api/upload/../file=x",
    ):  # fmt: skip
        assert asked(path, folder)[0] == 404, path


def test_other_hosts_and_other_pages_are_refused(folder):
    for host in ("localhost:80", "127.0.0.1", "[::1]:7860"):
        assert asked("/", folder, headers={"host": host})[0] == 200
    for host in ("evil.example:7860", "127.0.0.1.evil.example", "", "0.0.0.0:7860"):
        assert asked("/", folder, headers={"host": host})[0] == 403, host
    assert asked("/", folder, headers={"origin": "http://127.0.0.1:7860"})[0] == 200
    for origin in ("http://evil.example", "null", "https://localhost.evil.example"):
        assert asked("/gradio_api/queue/join", folder, headers={"origin": origin}, method="POST")[0] == 403, origin


def test_uploads_of_known_kinds_pass_whole(folder):
    body = form("a.png", "b.WAV", "c.zip", "d e.npy")
    assert upload(folder, body) == (200, str(len(body)))


@pytest.mark.parametrize("name", ["a.html", "a.svg", "a.py", "a", ".png", "a.png.exe", "../../a", "a.pkl", "a.pt", ""])
def test_uploads_of_other_kinds_are_refused(folder, name):
    status, said = upload(folder, form("a.png", name))
    assert status == 415
    assert ".png" in said


def test_uploads_that_are_too_large_or_no_forms_are_refused(folder, monkeypatch):
    monkeypatch.setattr(guard, "MOST_BYTES", 1000)
    assert upload(folder, form("a.png", data=bytes(2000)))[0] == 413
    # A body that is longer than it says, in pieces.
    assert upload(folder, form("a.png", data=bytes(2000)), headers={"content-length": "10"}, step=300)[0] == 413
    assert upload(folder, b"no form", headers={"content-type": "text/plain"})[0] == 400
    assert upload(folder, b"no form at all")[0] == 400
    assert upload(folder, form("a.png"), headers={"content-length": "many"})[0] == 413
