"""A browser's part of the page's conversation, without a browser: what an event sends, and what it gets back."""

from __future__ import annotations

import json
import secrets
import urllib.request
from dataclasses import dataclass, field
from typing import Any

SECONDS = 600.0  # the longest that an answer may take


@dataclass
class PageClient:
    """One session: it keeps what each component holds, as a browser does.

    Attributes
    ----------
    url : str
        Of the server.
    errors : list of str
        What the server said went wrong.
    """

    url: str
    errors: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.session = secrets.token_hex(8)
        config = json.loads(urllib.request.urlopen(f"{self.url}/config", timeout=SECONDS).read())
        self.components = {one["id"]: one for one in config["components"]}
        self.events = config["dependencies"]
        self.values = {key: one["props"].get("value") for key, one in self.components.items()}

    def find(self, elem_id: str, name: str) -> int:
        """The event `name` of the component with this element id, e.g. ("generator-new", "click")."""
        for event in self.events:
            for key, kind in event["targets"]:
                props = self.components.get(key, {}).get("props", {})
                if kind == name and elem_id in (props.get("elem_id"), self.components.get(key, {}).get("type")):
                    return int(event["id"])
        raise LookupError(f"the page has no {name} of {elem_id}")

    def open(self) -> None:
        """Do what a browser does when the page is loaded."""
        for event in self.events:
            if any(kind == "load" for _, kind in event["targets"]):
                self.send(int(event["id"]))

    def send(self, number: int, data: Any = None) -> None:
        """Have an event happen, and those that follow it; `data` is what a browser says of a click."""
        event = next(one for one in self.events if one["id"] == number)
        body = {
            "fn_index": number,
            "session_hash": self.session,
            "event_data": data,
            "data": [self.values.get(key) for key in event["inputs"]],
            "trigger_id": event["targets"][0][0] if event["targets"] else None,
        }
        found = self._asked(body) if event["queue"] is not False else self._ran(body)
        for key, value in zip(event["outputs"], found or [], strict=False):
            self._take(key, value)
        for other in self.events:
            if other.get("trigger_after") == number:
                self.send(int(other["id"]))

    def _take(self, key: int, value: Any) -> None:
        if isinstance(value, dict) and value.get("__type__") == "update":
            if "value" in value:
                self.values[key] = value["value"]
        else:
            self.values[key] = value

    def _post(self, path: str, body: Any) -> Any:
        request = urllib.request.Request(
            f"{self.url}/gradio_api/{path}", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        return json.loads(urllib.request.urlopen(request, timeout=SECONDS).read())

    def _ran(self, body: dict[str, Any]) -> list[Any]:
        return list(self._post("run/predict", body)["data"])

    def _asked(self, body: dict[str, Any]) -> list[Any] | None:
        """Queue an event and read its stream to the end; the last data that came."""
        asked = self._post("queue/join", body)["event_id"]
        last: list[Any] | None = None
        url = f"{self.url}/gradio_api/queue/data?session_hash={self.session}"
        with urllib.request.urlopen(url, timeout=SECONDS) as lines:
            for line in lines:
                if not line.startswith(b"data:"):
                    continue
                told = json.loads(line[5:])
                if told.get("event_id") not in (asked, None):
                    continue
                kind, output = told["msg"], told.get("output") or {}
                if kind in ("process_generating", "process_completed") and not output.get("error"):
                    known = last or []
                    found = output.get("data") or []
                    last = [_applied(known[at] if at < len(known) else None, each) for at, each in enumerate(found)]
                if kind == "process_completed":
                    if not told.get("success", True):
                        self.errors.append(str(output.get("error") or output))
                    return last
                if kind in ("unexpected_error", "server_stopped"):
                    self.errors.append(str(told))
                    return last
        self.errors.append("the stream ended early")
        return last


def _applied(old: Any, value: Any) -> Any:
    """A value, or what became of the old one: generators send (action, path, part) for what has changed."""
    changes = isinstance(value, list) and all(isinstance(each, list) and len(each) == 3 for each in value)
    if not changes or not all(each[0] in ("replace", "append", "add", "delete") for each in value):
        return value
    for action, path, part in value:
        old = _changed(old, path, action, part)
    return old


def _changed(old: Any, path: list[Any], action: str, part: Any) -> Any:
    if not path:
        return (old or "") + part if action == "append" and isinstance(part, str) else part
    head, *rest = path
    copy = dict(old) if isinstance(old, dict) else list(old)
    if action == "delete" and not rest:
        del copy[head]
    elif action == "add" and not rest and isinstance(copy, list):
        copy.insert(head, part)
    else:
        copy[head] = _changed(copy[head] if isinstance(copy, list) or head in copy else None, rest, action, part)
    return copy
