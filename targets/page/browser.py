"""Asks the page in a real browser: headless Chromium through its own debugging pipe, standard library only.

The images go in through the page's own file input, the answers are the page's own results. What the browser
asked for over the network is recorded, so that a page that reaches for anything is found out.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["INSTALL", "BrowserError", "Visit", "ask_page", "find_chromium"]

INSTALL = "apt-get install chromium"
"""What installs a browser on Debian and Ubuntu."""

_NAMES = (
    "/usr/lib/chromium/chromium",
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
)
"""Debian's own program first: the shell script around it prints a complaint on some machines."""

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
"""Chromium reads on descriptor 3 and answers on 4; `subprocess` passes descriptors on under their own numbers."""


class BrowserError(RuntimeError):
    """The browser or the page in it gave no answers, and why."""


@dataclass(frozen=True)
class Visit:
    """What came of showing a page some files.

    Attributes:
        browser: Its name and version, for example "Chrome/156.0.8078.108".
        selftest: What the page said about its self-test.
        rows: The page's own results, one for each file, in the order of the files: the columns of
            `runtime.results.Record`.
        requests: Every address the browser asked for, the page itself and its worker included.
        ready_s: From opening the page to its passed self-test.
        answers_s: From handing over the files to the last answer.
        memory_bytes: The largest sum of what the browser's processes held (proportional share, Linux
            only; else 0).
    """

    browser: str
    selftest: str
    rows: tuple[dict[str, Any], ...]
    requests: tuple[str, ...]
    ready_s: float
    answers_s: float
    memory_bytes: int

    @property
    def foreign_requests(self) -> tuple[str, ...]:
        """What was asked for besides the page's own file and what it made itself."""
        return tuple(
            url for url in self.requests if not url.startswith(("file:", "blob:", "data:", "about:"))
        )


def find_chromium() -> Path | None:
    """The browser to use: `CHROMIUM` from the environment, else what is installed; None without one."""
    named = os.environ.get("CHROMIUM")
    for name in [named] if named else _NAMES:
        found = shutil.which(name)
        if found:
            return Path(found)
    return None


def ask_page(page: Path, files: Sequence[Path], browser: Path, timeout_s: float = 600.0) -> Visit:
    """Open a page and give it files.

    Args:
        page: The `screen.html`.
        files: Image files; the page sees their names and their content.
        browser: The Chromium to start.
        timeout_s: For everything together.

    Raises:
        BrowserError: The browser does not start, the page's self-test fails, or answers are missing.
    """
    deadline = time.monotonic() + timeout_s
    with _running(browser, deadline) as pipe:
        version = str(pipe.call("Browser.getVersion")["product"])
        begun = time.monotonic()
        session = _open(pipe, page)
        state = _wait(pipe, session, "state", ("ready", "failed"))
        selftest = _text(pipe, session, "document.getElementById('status').textContent")
        if state != "ready":
            raise BrowserError(f"the page refuses to answer: {selftest}")
        ready_s = time.monotonic() - begun
        begun = time.monotonic()
        _hand_over(pipe, session, files)
        done = _wait(pipe, session, "done", (str(len(files)),)) if files else "0"
        answers_s = time.monotonic() - begun
        rows = json.loads(_text(pipe, session, "document.getElementById('results').textContent"))
        if len(rows) != len(files):
            raise BrowserError(f"the page gave {len(rows)} results for {len(files)} files (it counts {done})")
        return Visit(
            version, selftest, tuple(rows), tuple(pipe.requests), ready_s, answers_s, pipe.memory_bytes
        )


class _Pipe:
    """The debugging protocol: JSON messages, each ended by a zero byte."""

    def __init__(
        self, process: subprocess.Popen[bytes], commands: int, answers: int, deadline: float
    ) -> None:
        self.requests: list[str] = []
        self.memory_bytes = 0
        self._process, self._commands, self._answers = process, commands, answers
        self._deadline = deadline
        self._rest = b""
        self._number = 0

    def call(self, method: str, session: str | None = None, **params: Any) -> dict[str, Any]:
        """Send a command and wait for its result.

        Raises:
            BrowserError: It fails, or the browser is gone.
        """
        number = self._send(method, session, params)
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
            raise BrowserError("the browser has ended") from error
        return self._number

    def measure(self) -> None:
        """Note what the browser's processes hold now, where that is more than before."""
        self.memory_bytes = max(self.memory_bytes, _memory_of_group(self._process.pid))

    def _read(self) -> dict[str, Any]:
        """The next message; events on the way are looked at."""
        while b"\0" not in self._rest:
            left = self._deadline - time.monotonic()
            if left <= 0 or not select.select([self._answers], [], [], left)[0]:
                raise BrowserError("the page took too long")
            received = os.read(self._answers, 1 << 20)
            if not received:
                raise BrowserError(f"the browser has ended with code {self._process.wait()}")
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
def _running(browser: Path, deadline: float) -> Iterator[_Pipe]:
    """A browser with a fresh profile, ended and its profile removed afterwards."""
    if os.name != "posix":
        raise BrowserError("the debugging pipe is used on Linux and macOS only")
    flags = [*_FLAGS, *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    with tempfile.TemporaryDirectory(prefix="page-", ignore_cleanup_errors=True) as profile:
        commands_in, commands = os.pipe()
        answers, answers_out = os.pipe()
        launch = [sys.executable, "-c", _LAUNCH, str(commands_in), str(answers_out)]
        try:
            process = subprocess.Popen(
                [*launch, str(browser), *flags, f"--user-data-dir={profile}", "about:blank"],
                pass_fds=(commands_in, answers_out),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                env={**os.environ, "HOME": profile},
            )
        except OSError as error:
            raise BrowserError(f"{browser} does not start: {error.strerror}") from error
        finally:
            os.close(commands_in)
            os.close(answers_out)
        try:
            yield _Pipe(process, commands, answers, deadline)
        finally:
            _end(process, commands, answers)


def _end(process: subprocess.Popen[bytes], commands: int, answers: int) -> None:
    """Close the browser: it ends by itself when its pipe is closed; its group is killed otherwise."""
    os.close(commands)
    os.close(answers)
    with suppress(subprocess.TimeoutExpired):
        process.wait(5)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, 9)
    process.wait()


def _open(pipe: _Pipe, page: Path) -> str:
    """Show the page in a new tab; the tab's session."""
    target = pipe.call("Target.createTarget", url="about:blank")["targetId"]
    session = str(pipe.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"])
    pipe.call("Network.enable", session)
    pipe.call("Target.setAutoAttach", session, autoAttach=True, waitForDebuggerOnStart=True, flatten=True)
    pipe.call("Page.enable", session)
    answer = pipe.call("Page.navigate", session, url=page.resolve().as_uri())
    if answer.get("errorText"):
        raise BrowserError(f"{page} cannot be opened: {answer['errorText']}")
    return session


def _text(pipe: _Pipe, session: str, expression: str) -> str:
    answer = pipe.call("Runtime.evaluate", session, expression=expression, returnByValue=True)
    return str(answer["result"].get("value", ""))


def _wait(pipe: _Pipe, session: str, mark: str, wanted: Sequence[str]) -> str:
    """Look at a mark of the page's root element until it has one of the wanted values."""
    while True:
        found = _text(pipe, session, f"document.documentElement.dataset.{mark} || ''")
        if found in wanted:
            return found
        if mark != "state" and _text(pipe, session, "document.documentElement.dataset.state") == "failed":
            status = _text(pipe, session, "document.getElementById('status').textContent")
            raise BrowserError(f"the page stopped: {status}")
        pipe.measure()
        time.sleep(0.05)


def _hand_over(pipe: _Pipe, session: str, files: Sequence[Path]) -> None:
    """Put files into the page's own file input."""
    root = pipe.call("DOM.getDocument", session)["root"]["nodeId"]
    node = pipe.call("DOM.querySelector", session, nodeId=root, selector="#files")["nodeId"]
    pipe.call("DOM.setFileInputFiles", session, nodeId=node, files=[str(file.resolve()) for file in files])


def _memory_of_group(group: int) -> int:
    """What the processes of a session hold, shared pages counted by their share; 0 where /proc is missing."""
    total = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            if int(stat.read_text().rpartition(")")[2].split()[3]) != group:
                continue
            rollup = (stat.parent / "smaps_rollup").read_text()
        except (OSError, ValueError, IndexError):
            continue
        total += sum(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:")) << 10
    return total
