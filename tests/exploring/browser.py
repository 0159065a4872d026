"""A headless Chromium for tests, driven over pipes: JSON messages, each with a NUL byte at its end."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest

EXECUTABLES = ("chromium", "chromium-browser", "google-chrome", "chrome")
OPTIONS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", "--no-first-run", "--mute-audio",
    "--disable-extensions", "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
SECONDS = 60  # timeout of a page

# Scrolls to the pad; returns its left, top, width and height.
PAD = """(() => {
    const pad = document.getElementById("pad");
    pad.scrollIntoView({ block: "center", behavior: "instant" });
    const { x, y, width, height } = pad.getBoundingClientRect();
    return [x, y, width, height];
})()"""


def camera_options(picture: np.ndarray, folder: Path) -> tuple[str, ...]:
    """Options for a camera that shows this picture, (H, W) of uint8 with even sides."""
    (height, width), path = picture.shape, folder / "camera.y4m"
    luma = (16 + picture * (219 / 255)).round().astype(np.uint8).tobytes()  # of limited range; chroma 128 is grey
    frame = b"FRAME\n" + luma + bytes([128]) * (height * width // 2)
    path.write_bytes(f"YUV4MPEG2 W{width} H{height} F10:1 Ip A1:1 C420jpeg\n".encode() + frame)
    return "--use-fake-device-for-media-stream", f"--use-file-for-fake-video-capture={path}"


class Browser:
    """One page of one browser."""

    def __init__(self, profile: Path, *options: str) -> None:
        executable = next((found for name in EXECUTABLES if (found := shutil.which(name))), None)
        if executable is None or os.name != "posix":
            pytest.skip("Chromium is not installed")
        to_browser, self._output = os.pipe()
        self._input, from_browser = os.pipe()
        self._buffer, self._last, self._session = b"", 0, ""
        self.requests: list[str] = []  # URLs requested by pages
        # The descriptors of the pipes may be 3 and 4 themselves, so they are moved first.
        moved = [fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 10) for descriptor in (to_browser, from_browser)]
        actions = [(os.POSIX_SPAWN_DUP2, descriptor, number) for descriptor, number in zip(moved, (3, 4), strict=True)]
        actions += [(os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_RDWR, 0) for number in (1, 2)]
        command = [executable, *OPTIONS, *options, f"--user-data-dir={profile}"]
        self._process = os.posix_spawn(executable, command, os.environ, file_actions=actions)
        for descriptor in (to_browser, from_browser, *moved):
            os.close(descriptor)
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network"):
            self.send(f"{domain}.enable")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        os.close(self._output)  # the browser ends with its input
        os.waitpid(self._process, 0)
        os.close(self._input)

    def send(self, method: str, **parameters: Any) -> Any:
        """Calls a method of the DevTools protocol and returns its result."""
        self._last += 1
        message = {"id": self._last, "method": method, "params": parameters}
        message |= {"sessionId": self._session} if self._session else {}
        os.write(self._output, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("method") == "Network.requestWillBeSent":
                self.requests.append(answer["params"]["request"]["url"])
            if answer.get("id") == self._last:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]

    def _receive(self) -> Any:
        while b"\0" not in self._buffer:
            chunk = os.read(self._input, 1 << 16)
            assert chunk, "the browser has ended"
            self._buffer += chunk
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)

    def evaluate(self, expression: str) -> Any:
        """Returns the value of a JavaScript expression. Waits if it is a promise."""
        result = self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def open(self, page: Path, fragment: str = "") -> None:
        """Opens a page of `convoy explore` and waits until it has started."""
        self.send("Page.navigate", url="about:blank")
        self.send("Page.navigate", url=f"{page.resolve().as_uri()}{fragment}")
        self.wait("document.body?.dataset.ready === 'true' || !(document.getElementById('problem')?.hidden ?? true)")
        assert self.attribute("#problem", "hidden") is not None, self.text("#problem")

    def wait(self, condition: str) -> None:
        """Waits until a JavaScript expression is true. The page polls, not this process."""
        self.evaluate(
            f"new Promise((resolve, reject) => {{ const look = (n) => ({condition}) ? resolve() : n ? "
            f"setTimeout(look, 20, n - 1) : reject(new Error('not in time')); look({SECONDS * 50}); }})"
        )

    def resize(self, width: int, height: int = 900, *, dark: bool = False) -> None:
        self.send(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 700
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", features=[scheme])

    def allow_camera(self, setting: str) -> None:
        """Answers the pages that ask for the camera: "granted" or "denied"."""
        self.send("Browser.setPermission", permission={"name": "camera"}, setting=setting)

    def drag(self, points: list[tuple[float, float]]) -> None:
        """Drags the mouse along points, in pixels of the window."""
        for kind, (x, y) in zip(["mousePressed", *["mouseMoved"] * (len(points) - 1)], points, strict=True):
            self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", buttons=1, clickCount=1)
        x, y = points[-1]
        self.send("Input.dispatchMouseEvent", type="mouseReleased", x=x, y=y, button="left", clickCount=1)

    def click(self, selector: str) -> None:
        self.evaluate(f"document.querySelector({json.dumps(selector)}).click()")

    def press(self, key: str) -> None:
        for kind in ("keyDown", "keyUp"):
            self.send("Input.dispatchKeyEvent", type=kind, key=key, code=key)

    def text(self, selector: str) -> str:
        return str(self.evaluate(f"document.querySelector({json.dumps(selector)}).textContent"))

    def attribute(self, selector: str, name: str) -> str | None:
        value: str | None = self.evaluate(f"document.querySelector({json.dumps(selector)}).getAttribute('{name}')")
        return value

    def count(self, selector: str) -> int:
        return int(self.evaluate(f"document.querySelectorAll({json.dumps(selector)}).length"))
