"""Hostile requests by http to a real server: Gradio's file and upload routes give nothing away and take nothing odd."""

import http.client
import json
import os
import urllib.parse
from pathlib import Path

import pytest
from test_app_guard import form

pytestmark = [pytest.mark.all, pytest.mark.real("faces", "efficientnet-lite0", "mobilenet-v2")]


def asked(served, method, path, body=None, headers=None):
    """Status and body; the path goes out as it is, no client tidies it up."""
    host = urllib.parse.urlsplit(served.url).netloc
    connection = http.client.HTTPConnection(host, timeout=30)
    connection.putrequest(method, path, skip_host=bool(headers and "Host" in headers), skip_accept_encoding=True)
    for name, value in {"Content-Length": str(len(body or b"")), **(headers or {})}.items():
        connection.putheader(name, value)
    connection.endheaders()
    try:
        connection.send(body or b"")
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def uploaded(served, body):
    return asked(served, "POST", "/gradio_api/upload", body, {"Content-Type": "multipart/form-data; boundary=b0"})


def test_an_upload_comes_back_and_nothing_else_is_served(served, tmp_path):
    status, said = uploaded(served, form("a.png", data=b"a picture"))
    assert status == 200
    (path,) = json.loads(said)
    assert path.startswith(str(served.out.resolve()))
    assert asked(served, "GET", f"/gradio_api/file={urllib.parse.quote(path)}") == (200, b"a picture")
    files = served.out.resolve() / "page" / "files"
    secret = tmp_path / "secret.png"
    secret.write_bytes(b"secret")
    os.symlink(secret, files / "link.png")
    climbing = os.path.relpath(secret, files)
    for name in (
        str(secret),
        f"{files}/{climbing}",
        f"{files}/link.png",
        urllib.parse.quote(f"{files}/{climbing}"),
        urllib.parse.quote(urllib.parse.quote(f"{files}/{climbing}"), safe=""),
        f"{files}/{climbing}".replace("../", "..%2f"),
        f"{files}/{climbing}".replace("../", "..%5c"),
        "/etc/passwd",
        "../../../../../../etc/passwd",
        f"file://{secret}",
        f"{served.url}/config",
        f"{files}/../../../../../../../../etc/passwd",
    ):
        for route in ("/gradio_api/file=", "/file=", "/gradio_api/file/", "/file/", "/static/", "/assets/", "/svelte/"):
            status, said = asked(served, "GET", f"{route}{name}")
            assert status >= 400, (route, name)
            assert b"secret" not in said.replace(b"secret.png", b"")
            assert b"root:" not in said


def test_uploads_of_other_kinds_or_too_large_are_refused(served):
    before = sorted(served.out.rglob("*"))
    for name in ("a.html", "a.svg", "a.py", "a.pkl", "a", "../../../a.sh"):
        assert uploaded(served, form("a.png", name))[0] == 415, name
    large = {"Content-Type": "multipart/form-data; boundary=b0", "Content-Length": str(2**40)}
    assert asked(served, "POST", "/gradio_api/upload", b"--b0\r\n", large)[0] == 413
    assert [path for path in sorted(served.out.rglob("*")) if path not in before and path.suffix] == []


def test_the_server_names_no_path_and_shows_no_traceback(served):
    config = json.loads(asked(served, "GET", "/config")[1])
    job = next(d for d in config["dependencies"] if d["targets"] and d["targets"][0][1] == "click")
    stolen = {"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}, "orig_name": "a.png"}
    body = {"fn_index": job["id"], "session_hash": "h", "data": [stolen] * len(job["inputs"]), "event_data": None}
    status, said = asked(
        served, "POST", "/gradio_api/run/predict", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    assert status >= 400
    assert b"Traceback" not in said
    assert b"root:" not in said


def test_it_listens_on_this_machine_only_and_to_its_own_page_only(served):
    assert served.url.startswith("http://127.0.0.1:")
    assert asked(served, "GET", "/", headers={"Host": "evil.example"})[0] == 403
    assert asked(served, "GET", "/config", headers={"Origin": "http://evil.example"})[0] == 403
    for path in ("/monitoring", "/gradio_api/proxy=https://example.org/", "/docs", "/gradio_api/vibe-edit/"):
        assert asked(served, "GET", path)[0] in (404, 405), path
    port = int(served.url.rsplit(":", 1)[1])
    listening = Path("/proc/net/tcp").read_text().splitlines()
    found = {line.split()[1] for line in listening if line.split()[1].endswith(f":{port:04X}")}
    assert found <= {f"0100007F:{port:04X}"}


def test_the_page_names_no_other_machine(served):
    page = asked(served, "GET", "/")[1].decode()
    assert 'src="http' not in page
    assert 'rel="stylesheet" href="http' not in page
