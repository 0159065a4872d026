"""Firefox and WebKit by the commands of WebDriver. The class for Chromium is in tests/exploring/browser.py."""

from __future__ import annotations

import base64
import json
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, ClassVar, Self

SECONDS = 60  # timeout of a start and of a page
MINI_BROWSER = "/usr/lib/{}-linux-gnu/webkit2gtk-4.1/MiniBrowser"  # Debian's package libwebkit2gtk-4.1-0 has it

# The value of an expression, after waiting if it is a promise; an error as an object.
EVALUATE = """const done = arguments[arguments.length - 1];
Promise.resolve().then(() => (EXPRESSION))
    .then((value) => done({ value }), (error) => done({ error: String(error) }));"""


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def connected(port: int) -> socket.socket:
    end = time.monotonic() + SECONDS
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=SECONDS)
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


class WebDriver:
    """One window of a browser. A subclass starts it in `_start`, and sends a command and its parameters in `_send`."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._port = free_port()
        self._console = folder / "console.txt"
        self._process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        raise NotImplementedError

    def _send(self, command: str, parameters: dict[str, Any]) -> Any:
        raise NotImplementedError

    def _run(self, *command: str, **environment: str) -> subprocess.Popen[bytes]:
        with self._console.open("wb") as output:
            return subprocess.Popen(
                command, stdout=output, stderr=output, env=os.environ | environment, start_new_session=True
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        try:
            self._send("DeleteSession", {})
        finally:
            os.killpg(self._process.pid, signal.SIGTERM)
            self._process.wait()

    def errors(self) -> list[str]:
        """Lines of the console about errors of scripts and about the content security policy."""
        marks = ("CONSOLE JS ERROR", "CONSOLE SECURITY ERROR", "JavaScript error: file")
        lines = self._console.read_text(encoding="utf-8", errors="replace").splitlines()
        return [line for line in lines if any(mark in line for mark in marks)]

    def evaluate(self, expression: str) -> Any:
        """Returns the value of a JavaScript expression. Waits if it is a promise."""
        script = EVALUATE.replace("EXPRESSION", expression)
        result = self._send("ExecuteAsyncScript", {"script": script, "args": []})
        assert "error" not in result, result["error"]
        return result.get("value")

    def wait(self, condition: str) -> None:
        """Waits until a JavaScript expression is true."""
        end = time.monotonic() + SECONDS
        while not self.evaluate(f"Boolean({condition})"):
            assert time.monotonic() < end, f"not in time: {condition}"
            time.sleep(0.05)

    def open(self, page: Path, fragment: str = "") -> None:
        """Opens a page of `convoy explore` and waits until it has started."""
        self._send("Navigate", {"url": "about:blank"})
        self._send("Navigate", {"url": f"{page.resolve().as_uri()}{fragment}"})
        self._wait_for_start()

    def _wait_for_start(self) -> None:
        self.wait("document.body?.dataset.ready === 'true' || !(document.getElementById('problem')?.hidden ?? true)")
        assert self.evaluate("document.getElementById('problem').hidden"), self.text("#problem")

    def open_in_frame(self, page: Path, width: int, height: int, fragment: str = "") -> None:
        """Opens a page in a frame of this size in CSS pixels. The window of a browser has a minimum width."""
        style = f"width: {width}px; height: {height}px; border: 0"
        frame = f'<iframe src="{page.resolve().as_uri()}{fragment}" allow="camera" style="{style}">'
        wrapper = self._folder / "frame.html"
        wrapper.write_text(f'<!doctype html><body style="margin: 0">{frame}</iframe>', encoding="utf-8")
        self._send("SetWindowRect", {"width": max(width, 600) + 40, "height": height + 160})
        self._send("Navigate", {"url": wrapper.as_uri()})
        self._send("SwitchToFrame", {"id": 0})
        self._wait_for_start()

    def drag(self, points: list[tuple[float, float]]) -> None:
        """Drags the mouse along points, in pixels of the window."""
        moves = [
            {"type": "pointerMove", "duration": 10, "x": round(x), "y": round(y), "origin": "viewport"}
            for x, y in points
        ]
        actions = [moves[0], {"type": "pointerDown", "button": 0}, *moves[1:], {"type": "pointerUp", "button": 0}]
        source = {"type": "pointer", "id": "mouse", "parameters": {"pointerType": "mouse"}, "actions": actions}
        self._send("PerformActions", {"actions": [source]})

    def click(self, selector: str) -> None:
        self.evaluate(f"void document.querySelector({json.dumps(selector)}).click()")

    def text(self, selector: str) -> str:
        return str(self.evaluate(f"document.querySelector({json.dumps(selector)}).textContent"))

    def screenshot(self, path: Path) -> None:
        """Saves the visible part of the page as PNG."""
        path.write_bytes(base64.b64decode(self._send("TakeScreenshot", {"full": False})))

    def version(self) -> str:
        return str(self.evaluate("navigator.userAgent"))


class WebKit(WebDriver):
    """WebKitGTK's MiniBrowser through WebKitWebDriver (HTTP), in a virtual display."""

    executables = ("WebKitWebDriver", "Xvfb")

    def _start(self) -> subprocess.Popen[bytes]:
        display = f":{self._port}"
        self._screen = subprocess.Popen(
            ["Xvfb", display, "-screen", "0", "1600x1400x24", "-nolisten", "tcp"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        process = self._run(
            "WebKitWebDriver",
            f"--port={self._port}",
            DISPLAY=display,
            XDG_DATA_HOME=str(self._folder),
            XDG_CACHE_HOME=str(self._folder),
            WEBKIT_DISABLE_SANDBOX_THIS_IS_DANGEROUS="1",
            GDK_BACKEND="x11",
        )
        connected(self._port).close()
        options = {
            "binary": MINI_BROWSER.format(os.uname().machine),
            "args": [
                "--automation",
                "--enable-write-console-messages-to-stdout=true",
                "--enable-mock-capture-devices=true",
            ],
        }
        capabilities = {"alwaysMatch": {"webkitgtk:browserOptions": options}}
        self._session = ""
        self._session = self._http("POST", "/session", {"capabilities": capabilities})["sessionId"]
        return process

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        self._screen.terminate()
        self._screen.wait()

    def _http(self, method: str, path: str, parameters: dict[str, Any] | None) -> Any:
        body = None if parameters is None else json.dumps(parameters).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self._port}{path}", body, method=method)
        request.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(request, timeout=SECONDS) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise AssertionError(error.read().decode()) from error

    def _send(self, command: str, parameters: dict[str, Any]) -> Any:
        method, path = {
            "DeleteSession": ("DELETE", ""),
            "Navigate": ("POST", "/url"),
            "ExecuteAsyncScript": ("POST", "/execute/async"),
            "PerformActions": ("POST", "/actions"),
            "SetWindowRect": ("POST", "/window/rect"),
            "SwitchToFrame": ("POST", "/frame"),
            "TakeScreenshot": ("GET", "/screenshot"),
        }[command]
        return self._http(method, f"/session/{self._session}{path}", None if method != "POST" else parameters)


class Firefox(WebDriver):
    """A headless Firefox through Marionette: JSON messages over TCP, each after its length."""

    executables = ("firefox",)
    preferences: ClassVar[dict[str, Any]] = {
        "devtools.console.stdout.content": True,
        "media.navigator.streams.fake": True,  # a camera
        "media.navigator.permission.disabled": True,  # allowed
    }

    def _start(self) -> subprocess.Popen[bytes]:
        profile = self._folder / "profile"
        profile.mkdir()
        preferences = {"marionette.port": self._port, "app.update.enabled": False} | self.preferences
        lines = [f"user_pref({json.dumps(name)}, {json.dumps(value)});\n" for name, value in preferences.items()]
        (profile / "user.js").write_text("".join(lines), encoding="utf-8")
        process = self._run(
            "firefox", "--headless", "--marionette", "--no-remote", "--profile", str(profile), HOME=str(self._folder)
        )
        self._socket = connected(self._port)
        self._buffer, self._last = b"", 0
        self._receive()  # its greeting
        self._send("NewSession", {"capabilities": {"alwaysMatch": {}}})
        return process

    def _receive(self) -> Any:
        while b":" not in self._buffer or len(self._buffer.partition(b":")[2]) < int(self._buffer.partition(b":")[0]):
            chunk = self._socket.recv(1 << 16)
            assert chunk, "the browser has ended"
            self._buffer += chunk
        length, _, rest = self._buffer.partition(b":")
        self._buffer = rest[int(length) :]
        return json.loads(rest[: int(length)])

    def _send(self, command: str, parameters: dict[str, Any]) -> Any:
        self._last += 1
        message = json.dumps([0, self._last, f"WebDriver:{command}", parameters]).encode()
        self._socket.sendall(f"{len(message)}:".encode() + message)
        _kind, _number, error, result = self._receive()
        assert error is None, error
        return result["value"] if set(result or {}) == {"value"} else result
