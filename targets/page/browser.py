"""Asks the page in a real browser, headless, with the standard library alone.

The images go in through the page's own file input, the answers are the page's own results. What the browser
asked for over the network is recorded, so that a page that reaches for anything is found out.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from udacimed_edge.targets.page.chromium import chromium_tab
from udacimed_edge.targets.page.firefox import firefox_tab
from udacimed_edge.targets.page.tab import BrowserError, Tab, memory_of

__all__ = [
    "INSTALL",
    "BrowserError",
    "Visit",
    "ask_page",
    "browser_tab",
    "find_chromium",
    "find_firefox",
    "screened",
    "started",
]

INSTALL = "apt-get install chromium"
"""What installs a browser on Debian and Ubuntu."""

_CHROMIUM = (
    "/usr/lib/chromium/chromium",
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
)
"""Debian's own program first: the shell script around it prints a complaint on some machines."""

_FIREFOX = ("firefox-esr", "firefox")


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
    """Chromium or Chrome: `CHROMIUM` from the environment, else what is installed; None without one."""
    return _find("CHROMIUM", _CHROMIUM)


def find_firefox() -> Path | None:
    """Firefox: `FIREFOX` from the environment, else what is installed; None without one."""
    return _find("FIREFOX", _FIREFOX)


def _find(variable: str, names: Sequence[str]) -> Path | None:
    named = os.environ.get(variable)
    found = (shutil.which(name) for name in ([named] if named else names))
    return next((Path(path) for path in found if path), None)


def ask_page(page: Path, files: Sequence[Path], browser: Path, timeout_s: float = 600.0) -> Visit:
    """Open a page and give it files.

    Args:
        page: The `screen.html`.
        files: Image files; the page sees their names and their content.
        browser: The program to start; Firefox where its name says so, else Chromium.
        timeout_s: For everything together.

    Raises:
        BrowserError: The browser does not start, the page's self-test fails, or answers are missing.
    """
    with browser_tab(browser, time.monotonic() + timeout_s) as tab:
        begun = time.monotonic()
        selftest = started(tab, page)
        ready_s, begun = time.monotonic() - begun, time.monotonic()
        rows, memory = screened(tab, files) if files else ([], memory_of(tab.process))
        answers_s = time.monotonic() - begun
        return Visit(tab.version, selftest, tuple(rows), tuple(tab.requests), ready_s, answers_s, memory)


@contextmanager
def browser_tab(browser: Path, deadline: float) -> Iterator[Tab]:
    """A tab of a fresh browser of either family.

    Raises:
        BrowserError: It does not start.
    """
    if "firefox" in browser.name:
        with firefox_tab(browser, deadline) as firefox:
            yield firefox
    else:
        with chromium_tab(browser, deadline) as chromium:
            yield chromium


def started(tab: Tab, page: Path) -> str:
    """Show a page and wait until it may be asked; what it said about its self-test.

    Raises:
        BrowserError: It cannot be opened, takes too long, or its self-test fails.
    """
    tab.open(page)
    while (state := tab.text("document.documentElement.dataset.state || ''")) != "ready":
        if state == "failed":
            raise BrowserError(f"the page refuses to answer: {_status(tab)}")
        time.sleep(0.05)
    return _status(tab)


def screened(tab: Tab, files: Sequence[Path]) -> tuple[list[dict[str, Any]], int]:
    """Give a fresh page files: its results, and the largest sum of memory seen meanwhile, in bytes.

    Raises:
        BrowserError: The page stops, or gives another number of results.
    """
    tab.give(files)
    memory = 0
    while int(tab.text("document.documentElement.dataset.done || 0")) < len(files):
        if tab.text("document.documentElement.dataset.state") == "failed":
            raise BrowserError(f"the page stopped: {_status(tab)}")
        memory = max(memory, memory_of(tab.process))
        time.sleep(0.05)
    rows: list[dict[str, Any]] = json.loads(tab.text("document.getElementById('results').textContent"))
    if len(rows) != len(files):
        raise BrowserError(f"the page gave {len(rows)} results for {len(files)} files")
    return rows, memory


def _status(tab: Tab) -> str:
    return tab.text("document.getElementById('status').textContent")
