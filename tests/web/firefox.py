"""A stock Firefox, driven as its own protocol says (WebDriver BiDi)."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
import time
from pathlib import Path
from typing import Any

import websocket

KEYS = {"Enter": "\ue007", "ArrowLeft": "\ue012", "ArrowRight": "\ue014", "ArrowDown": "\ue015"}


class Firefox:
    """One window; `said` is what its console said."""

    def __init__(self, program: str, profile: Path) -> None:
        self.process = subprocess.Popen(
            [program, "--headless", "--no-remote", "--profile", str(profile),
             "--remote-debugging-port=0", "about:blank"],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        line = next(line for line in self.process.stderr if "listening on" in line)
        address = re.search(r"ws://\S+", line)[0]
        self.socket = websocket.create_connection(
            f"{address}/session", timeout=60, suppress_origin=True
        )
        self.serials = itertools.count(1)
        self.said: list[str] = []
        self.call("session.new", capabilities={})
        self.call("session.subscribe", events=["log.entryAdded"])
        self.window = self.call("browsingContext.getTree")["contexts"][0]["context"]

    def call(self, method: str, **params: Any) -> Any:
        serial = next(self.serials)
        self.socket.send(json.dumps({"id": serial, "method": method, "params": params}))
        while True:
            answer = json.loads(self.socket.recv())
            if answer.get("method") == "log.entryAdded":
                self.said.append(answer["params"]["text"])
            if answer.get("id") == serial:
                assert answer["type"] == "success", answer
                return answer["result"]

    def open(self, address: str) -> None:
        self.call("browsingContext.navigate", context=self.window, url=address, wait="complete")

    def evaluate(self, expression: str) -> Any:
        """What JSON can hold of it."""
        found = self.call(
            "script.evaluate", expression=f"JSON.stringify({expression} ?? null)",
            target={"context": self.window}, awaitPromise=True,
        )  # fmt: skip
        assert found["type"] == "success", found
        return json.loads(found["result"]["value"])

    def until(self, expression: str, seconds: float = 30) -> Any:
        end = time.monotonic() + seconds
        while not (found := self.evaluate(expression)):
            assert time.monotonic() < end, expression
            time.sleep(0.05)
        return found

    def act(self, kind: str, *actions: dict[str, Any]) -> None:
        source = {"type": kind, "id": kind, "actions": list(actions)}
        self.call("input.performActions", context=self.window, actions=[source])

    def press(self, *keys: str) -> None:
        for key in keys:
            value = KEYS.get(key, key)
            self.act("key", *({"type": way, "value": value} for way in ("keyDown", "keyUp")))

    def click(self, selector: str) -> None:
        element = f"document.querySelector({json.dumps(selector)})"
        self.evaluate(f"{element}.scrollIntoView({{block: 'nearest'}})")
        box = self.evaluate(f"{element}.getBoundingClientRect()")
        x, y = (round(box[at] + box[size] / 2) for at, size in (("x", "width"), ("y", "height")))
        press = [{"type": way, "button": 0} for way in ("pointerDown", "pointerUp")]
        self.act("pointer", {"type": "pointerMove", "x": x, "y": y}, *press)

    def close(self) -> None:
        self.socket.close()
        self.process.terminate()
        self.process.wait(20)
        self.process.stderr.close()
