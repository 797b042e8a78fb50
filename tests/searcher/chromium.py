"""Headless Chromium through its debugging pipe: keys are pressed and media chosen as a reader would."""

import fcntl
import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-dev-shm-usage", "--use-angle=swiftshader", "--enable-unsafe-swiftshader",
    "--hide-scrollbars",
)  # fmt: skip
KEYS = {"Tab": 9, "Enter": 13, "ArrowDown": 40, "ArrowUp": 38}


class Page:
    """One page in a browser of its own; a context manager.

    Parameters
    ----------
    path : pathlib.Path
        Of the page's file.
    profile : pathlib.Path
        Empty folder for the browser.
    size : tuple of int
        Of the window in pixels.
    """

    def __init__(self, path: Path, profile: Path, size: tuple[int, int] = (1280, 900)) -> None:
        self._count = 0
        self._events: list[dict[str, Any]] = []
        flags = (*FLAGS, f"--user-data-dir={profile}", f"--window-size={size[0]},{size[1]}", "--remote-debugging-pipe")
        self._write, self._read, self._browser = _spawn([str(CHROMIUM), *flags, "about:blank"])
        self._answers = os.fdopen(self._read, "rb")
        self._session: str | None = None
        try:
            self._open(path)
        except BaseException:
            self.close()
            raise

    def _open(self, path: Path) -> None:
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.send(f"{domain}.enable")
        self.send("Performance.enable", timeDomain="threadTicks")
        self.send("Page.navigate", url=path.resolve().as_uri())
        self._wait_for("Page.loadEventFired")

    def __enter__(self) -> "Page":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the browser."""
        os.kill(self._browser, signal.SIGKILL)
        os.waitpid(self._browser, 0)
        self._answers.close()
        os.close(self._write)

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command of the DevTools protocol, and its result."""
        self._count += 1
        message: dict[str, Any] = {"id": self._count, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != self._count:
            self._events.append(answer)
        assert "error" not in answer, answer
        result: dict[str, Any] = answer["result"]
        return result

    def tell(self, script: str) -> Any:
        """The value of an expression in the page."""
        answer = self.send("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def press(self, key: str) -> None:
        """One key, down and up."""
        about: dict[str, Any] = {"key": key, "code": key, "windowsVirtualKeyCode": KEYS[key]}
        typed = {"text": "\r"} if key == "Enter" else {}
        self.send("Input.dispatchKeyEvent", type="keyDown", **about, **typed)
        self.send("Input.dispatchKeyEvent", type="keyUp", **about)

    def complaints(self) -> list[dict[str, Any]]:
        """What the page threw or the browser logged as an error."""
        return [
            event
            for event in self._events
            if event.get("method") == "Runtime.exceptionThrown"
            or (event.get("method") == "Log.entryAdded" and event["params"]["entry"]["level"] == "error")
        ]

    def processor_seconds(self, script: str) -> float:
        """What the page's main thread computes for a script, until what it changed has been painted twice.

        Of its own processor time, so that other work on the machine hardly counts.
        """
        before = self._task_seconds()
        self.tell(f"{script}; new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done())))")
        return self._task_seconds() - before

    def _task_seconds(self) -> float:
        metrics = {one["name"]: one["value"] for one in self.send("Performance.getMetrics")["metrics"]}
        return float(metrics["TaskDuration"])

    def _wait_for(self, method: str) -> None:
        while not any(event.get("method") == method for event in self._events):
            self._events.append(self._next())

    def _next(self) -> dict[str, Any]:
        parts = bytearray()
        while (byte := self._answers.read(1)) != b"\0":
            assert byte, "the browser has ended"
            parts += byte
        answer: dict[str, Any] = json.loads(parts)
        return answer


def _spawn(command: list[str]) -> tuple[int, int, int]:
    """Start a browser that reads commands from its descriptor 3 and answers on 4: our ends, and its process id."""
    commands, write = os.pipe()
    read, answers = os.pipe()
    high = [fcntl.fcntl(one, fcntl.F_DUPFD_CLOEXEC, 10) for one in (commands, answers)]
    wiring = [
        (os.POSIX_SPAWN_DUP2, high[0], 3),
        (os.POSIX_SPAWN_DUP2, high[1], 4),
        (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
    ]
    browser = os.posix_spawn(command[0], command, os.environ, file_actions=wiring)
    for end in (commands, answers, *high):
        os.close(end)
    return write, read, browser
