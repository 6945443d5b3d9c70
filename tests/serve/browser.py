"""A tab of Chromium, driven by its DevTools protocol, for tests."""

import json
import re
import shutil
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
from websockets.sync.client import connect

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
BROWSER = next((found for found in map(shutil.which, BROWSERS) if found), "")


class Tab:
    """One tab without access to other machines.

    Args:
        folder: for its profile.
    """

    def __init__(self, folder: Path):
        self._process = subprocess.Popen(
            [
                *(BROWSER, "--headless", "--no-sandbox", "--disable-gpu"),
                "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
                f"--user-data-dir={folder}",
                "--remote-debugging-port=0",
                "about:blank",
            ],
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
        )
        assert self._process.stderr is not None
        found = next(filter(None, map(re.compile("ws://([^/]+)").search, self._process.stderr)))
        pages = httpx.get(f"http://{found[1]}/json").json()
        (address,) = [each["webSocketDebuggerUrl"] for each in pages if each["type"] == "page"]
        self._opened = ExitStack()
        self._socket = self._opened.enter_context(connect(address, max_size=None))
        self._calls = 0
        self.problems: list[str] = []
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def __enter__(self) -> "Tab":
        return self

    def __exit__(self, *_) -> None:
        self._opened.close()
        self._process.terminate()
        self._process.wait()
        self._process.stderr.close()

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Call a method of the protocol."""
        self._calls += 1
        self._socket.send(json.dumps({"id": self._calls, "method": method, "params": params}))
        while True:
            message = json.loads(self._socket.recv(60))
            if message.get("id") == self._calls:
                assert "error" not in message, message
                return message["result"]
            if message["method"] in ("Log.entryAdded", "Runtime.exceptionThrown"):
                self.problems.append(json.dumps(message["params"]))

    def open(self, address: str, width: int, is_dark: bool = False) -> None:
        """Open a page in a window of some width."""
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if is_dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call("Page.navigate", url=address)
        self.wait_for(f"location.href.startsWith('{address}') && document.readyState == 'complete'")

    def run(self, code: str) -> Any:
        """The value of an expression in JavaScript."""
        result = self.call("Runtime.evaluate", expression=code, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def wait_for(self, code: str) -> Any:
        """The value of an expression, as soon as there is one."""
        for _ in range(600):
            value = self.run(code)
            if value:
                return value
            time.sleep(0.05)
        raise AssertionError(f"{code} did not come; {self.run('document.body.innerText')}")
