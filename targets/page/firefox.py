"""A tab of headless Firefox, through WebDriver BiDi over a WebSocket on this machine.

The protocol: https://w3c.github.io/webdriver-bidi/; the WebSocket's frames: RFC 6455.
"""

from __future__ import annotations

import base64
import json
import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from udacimed_edge.targets.page.tab import BrowserError, running

__all__ = ["Firefox", "firefox_tab"]

_FLAGS = ("--headless", "--no-remote", "--remote-debugging-port=0")

_QUIET = {
    "app.normandy.enabled": False,
    "app.update.disabledForTesting": True,
    "browser.safebrowsing.downloads.remote.enabled": False,
    "browser.shell.checkDefaultBrowser": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "toolkit.telemetry.enabled": False,
}
"""What keeps a fresh profile from asking its maker's servers."""


class _Socket:
    """A WebSocket's client: texts in both directions, each one frame out, one or more in."""

    def __init__(self, port: int, deadline: float) -> None:
        self._deadline = deadline
        self._stream = socket.create_connection(("127.0.0.1", port), timeout=10)
        key = base64.b64encode(os.urandom(16)).decode()
        self._stream.sendall(
            f"GET /session HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        self._rest = b""
        while b"\r\n\r\n" not in self._rest:
            self._more()
        head, _, self._rest = self._rest.partition(b"\r\n\r\n")
        if b" 101 " not in head.partition(b"\r\n")[0]:
            raise BrowserError("Firefox refuses to be driven")

    def close(self) -> None:
        """Close the connection to the browser."""
        self._stream.close()

    def send(self, text: str) -> None:
        """Send one text message to the browser."""
        body = text.encode()
        size = len(body)
        if size < 126:
            length = bytes([0x80 | size])
        elif size < 1 << 16:
            length = bytes([0x80 | 126]) + size.to_bytes(2, "big")
        else:
            length = bytes([0x80 | 127]) + size.to_bytes(8, "big")
        mask = b"mask"  # every client's frame has one; Firefox ends the connection over one of zeros
        masked = bytes(byte ^ mask[at & 3] for at, byte in enumerate(body))
        self._stream.sendall(b"\x81" + length + mask + masked)

    def receive(self) -> str:
        """The next text message that the browser sends."""
        text = b""
        while True:
            first, second = self._take(2)
            size = second & 127
            if size > 125:
                size = int.from_bytes(self._take(2 if size == 126 else 8), "big")
            body = self._take(size)
            kind = first & 15
            if kind == 8:
                raise BrowserError("the browser has ended")
            if kind in (0, 1):
                text += body
                if first & 128:
                    return text.decode()

    def _take(self, size: int) -> bytes:
        while len(self._rest) < size:
            self._more()
        taken, self._rest = self._rest[:size], self._rest[size:]
        return taken

    def _more(self) -> None:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise BrowserError("the page took too long")
        self._stream.settimeout(left)
        try:
            received = self._stream.recv(1 << 20)
        except TimeoutError as error:
            raise BrowserError("the page took too long") from error
        except OSError as error:
            raise BrowserError("the browser has ended") from error
        if not received:
            raise BrowserError("the browser has ended")
        self._rest += received


class Firefox:
    """A tab; see `tab.Tab`."""

    def __init__(self, process: subprocess.Popen[bytes], connection: _Socket) -> None:
        self.requests: list[str] = []
        self.process = process
        self._socket = connection
        self._number = 0
        found = self.call("session.new", capabilities={})["capabilities"]
        self.version = f"{found['browserName']}/{found['browserVersion']}"
        self._context = str(self.call("browsingContext.getTree")["contexts"][0]["context"])
        self.call("session.subscribe", events=["network.beforeRequestSent"])

    def open(self, page: Path) -> None:
        """Show a page; see `tab.Tab.open`."""
        url = page.resolve().as_uri()
        self.call("browsingContext.navigate", context=self._context, url=url, wait="interactive")

    def text(self, expression: str) -> str:
        """Evaluate an expression; see `tab.Tab.text`."""
        return str(self._evaluate(expression).get("value", ""))

    def give(self, files: Sequence[Path]) -> None:
        """Fill the file input; see `tab.Tab.give`."""
        node = self._evaluate("document.getElementById('files')")
        paths = [str(file.resolve()) for file in files]
        element = {"sharedId": node["sharedId"]}
        self.call("input.setFiles", context=self._context, element=element, files=paths)

    def _evaluate(self, expression: str) -> dict[str, Any]:
        target = {"context": self._context}
        answer = self.call("script.evaluate", expression=expression, target=target, awaitPromise=False)
        result: dict[str, Any] = answer.get("result", {})
        return result

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command and wait for its result.

        Raises:
            BrowserError: It fails, or the browser is gone.
        """
        self._number += 1
        self._socket.send(json.dumps({"id": self._number, "method": method, "params": params}))
        while True:
            answer: dict[str, Any] = json.loads(self._socket.receive())
            if answer.get("method") == "network.beforeRequestSent":
                self.requests.append(str(answer["params"]["request"]["url"]))
            if answer.get("id") == self._number:
                if answer["type"] == "error":
                    raise BrowserError(f"{method}: {answer.get('message')}")
                result: dict[str, Any] = answer["result"]
                return result


@contextmanager
def firefox_tab(browser: Path, deadline: float) -> Iterator[Firefox]:
    """A tab of a fresh browser, gone afterwards with its profile.

    Args:
        browser: The program.
        deadline: By `time.monotonic`; then every call ends in an error.

    Raises:
        BrowserError: It does not start.
    """
    with tempfile.TemporaryDirectory(prefix="page-", ignore_cleanup_errors=True) as name:
        profile = Path(name)
        lines = [f"user_pref({json.dumps(key)}, {json.dumps(value)});\n" for key, value in _QUIET.items()]
        (profile / "user.js").write_text("".join(lines))
        with running([str(browser), *_FLAGS, "--profile", name, "about:blank"], profile) as process:
            connection = _Socket(_port(profile, process, deadline), deadline)
            tab = Firefox(process, connection)
            try:
                yield tab
            finally:
                process.terminate()
                connection.close()


def _port(profile: Path, process: subprocess.Popen[bytes], deadline: float) -> int:
    """The port Firefox chose; it writes it into its profile."""
    file = profile / "WebDriverBiDiServer.json"
    while True:
        if process.poll() is not None:
            raise BrowserError(f"the browser has ended with code {process.returncode}")
        if time.monotonic() > deadline:
            raise BrowserError("the browser took too long to start")
        try:
            return int(json.loads(file.read_text())["ws_port"])
        except (OSError, ValueError, KeyError):
            time.sleep(0.05)
