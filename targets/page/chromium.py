"""A tab of headless Chromium, through its debugging pipe (JSON messages, each ended by a zero byte).

The protocol: https://chromedevtools.github.io/devtools-protocol/
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from udacimed_edge.targets.page.tab import BrowserError, running

__all__ = ["Chromium", "chromium_tab"]

_FLAGS = (
    "--headless",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-pipe",
)

_LAUNCH = """import fcntl, os, sys
commands, answers = (fcntl.fcntl(int(number), fcntl.F_DUPFD, 10) for number in sys.argv[1:3])
os.dup2(commands, 3)
os.dup2(answers, 4)
os.execv(sys.argv[3], sys.argv[3:])
"""
"""Chromium reads on descriptor 3 and answers on 4; `subprocess` leaves descriptors their numbers."""


class Chromium:
    """A tab; see `tab.Tab`."""

    def __init__(
        self, process: subprocess.Popen[bytes], commands: int, answers: int, deadline: float
    ) -> None:
        self.requests: list[str] = []
        self.process = process
        self._commands, self._answers, self._deadline = commands, answers, deadline
        self._rest = b""
        self._number = 0
        self.version = str(self.call("Browser.getVersion", page=False)["product"])
        target = self.call("Target.createTarget", page=False, url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", page=False, targetId=target, flatten=True)
        self._session = str(attached["sessionId"])
        self.call("Network.enable")
        self.call("Target.setAutoAttach", autoAttach=True, waitForDebuggerOnStart=True, flatten=True)
        self.call("Page.enable")

    def open(self, page: Path) -> None:
        """Show a page; see `tab.Tab.open`."""
        answer = self.call("Page.navigate", url=page.resolve().as_uri())
        if answer.get("errorText"):
            raise BrowserError(f"{page} cannot be opened: {answer['errorText']}")

    def text(self, expression: str) -> str:
        """Evaluate an expression; see `tab.Tab.text`."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        return str(answer["result"].get("value", ""))

    def give(self, files: Sequence[Path]) -> None:
        """Fill the file input; see `tab.Tab.give`."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector="#files")["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=node, files=[str(file.resolve()) for file in files])

    def call(self, method: str, page: bool = True, **params: Any) -> dict[str, Any]:
        """Send a command, to the page or to the browser, and wait for its result.

        Raises:
            BrowserError: It fails, or the browser is gone.
        """
        number = self._send(method, self._session if page else None, params)
        while True:
            answer = self._read()
            if answer.get("id") == number:
                if "error" in answer:
                    raise BrowserError(f"{method}: {answer['error'].get('message')}")
                result: dict[str, Any] = answer["result"]
                return result

    def _send(self, method: str, session: str | None, params: dict[str, Any]) -> int:
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": params}
        if session:
            message["sessionId"] = session
        rest = memoryview(json.dumps(message).encode() + b"\0")
        try:
            while rest:
                rest = rest[os.write(self._commands, rest) :]
        except BrokenPipeError as error:
            raise BrowserError(f"the browser has ended with code {self.process.wait()}") from error
        return self._number

    def _read(self) -> dict[str, Any]:
        """The next message; events on the way are looked at."""
        while b"\0" not in self._rest:
            left = self._deadline - time.monotonic()
            if left <= 0 or not select.select([self._answers], [], [], left)[0]:
                raise BrowserError("the page took too long")
            received = os.read(self._answers, 1 << 20)
            if not received:
                raise BrowserError(f"the browser has ended with code {self.process.wait()}")
            self._rest += received
        line, _, self._rest = self._rest.partition(b"\0")
        message: dict[str, Any] = json.loads(line)
        self._look_at(message)
        return message

    def _look_at(self, event: dict[str, Any]) -> None:
        params = event.get("params", {})
        if event.get("method") == "Network.requestWillBeSent":
            self.requests.append(str(params["request"]["url"]))
        elif event.get("method") == "Network.webSocketCreated":
            self.requests.append(str(params["url"]))
        elif event.get("method") == "Target.attachedToTarget" and params["waitingForDebugger"]:
            # a worker, held until its requests are seen too
            for method in ("Network.enable", "Runtime.runIfWaitingForDebugger"):
                self._send(method, params["sessionId"], {})


@contextmanager
def chromium_tab(browser: Path, deadline: float) -> Iterator[Chromium]:
    """A tab of a fresh browser, gone afterwards with its profile.

    Args:
        browser: The program.
        deadline: By `time.monotonic`; then every call ends in an error.

    Raises:
        BrowserError: It does not start, or not on this system.
    """
    if os.name != "posix":
        raise BrowserError("the debugging pipe is used on Linux and macOS only")
    flags = [*_FLAGS, *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    with tempfile.TemporaryDirectory(prefix="page-", ignore_cleanup_errors=True) as profile:
        commands_in, commands = os.pipe()
        answers, answers_out = os.pipe()
        launch = [sys.executable, "-c", _LAUNCH, str(commands_in), str(answers_out)]
        command = [*launch, str(browser), *flags, f"--user-data-dir={profile}", "about:blank"]
        try:
            with running(command, Path(profile), (commands_in, answers_out)) as process:
                os.close(commands_in)
                os.close(answers_out)
                try:
                    yield Chromium(process, commands, answers, deadline)
                finally:
                    os.close(commands)  # the browser ends when its pipe does
        finally:
            for descriptor in (commands_in, answers_out, commands):
                with suppress(OSError):
                    os.close(descriptor)
            os.close(answers)
