"""The page in a real browser, through its own file input."""

from __future__ import annotations

import csv
import io
import json
import math
import time
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from udacimed_edge.runtime import image
from udacimed_edge.runtime.ort import open_artifact
from udacimed_edge.runtime.results import ScreeningRecord
from udacimed_edge.targets.page.browser import (
    BrowserError,
    ask_page,
    find_chromium,
    find_firefox,
    screened,
    started,
)
from udacimed_edge.targets.page.chromium import chromium_tab
from udacimed_edge.targets.page.selftest import SelfTest, png, self_test
from udacimed_edge.targets.page.writer import write_page

REFUSED = ("empty.png", "text.dcm")


def picture() -> Image.Image:
    """A gray ramp with some noise, 300x200."""
    rng = np.random.default_rng(4)
    ramp = np.linspace(20, 220, 300)[None] + rng.normal(0, 6, (200, 300))
    return Image.fromarray(np.clip(ramp, 0, 255).astype(np.uint8))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Files of several kinds, two of them no radiograph, one with a formula for a name."""
    folder = tmp_path_factory.mktemp("images")
    made = [folder / name for name in ("=1+1,two.png", "b.jpg", "c.bmp", "empty.png", "text.dcm", "d.png")]
    for path in (made[0], made[1], made[2]):
        picture().save(path)
    made[3].write_bytes(b"")
    made[4].write_bytes(b"hello")
    made[5].write_bytes(png((190 + np.arange(4096).reshape(64, 64) % 50).astype(np.uint8)))
    return made


def test_the_page_answers_as_the_device(page: Path, artifact: Path, browser: Path, files: list[Path]) -> None:
    """Probabilities, warnings, sentences and columns are those of the device's program."""
    visit = ask_page(page, files, browser, timeout_s=120)
    predictor = open_artifact(artifact, threads=1)
    assert len(visit.rows) == len(files)
    for path, row in zip(files, visit.rows, strict=True):
        assert list(row) == [field.name for field in fields(ScreeningRecord)]
        assert row["file"] == path.name
        if path.name in REFUSED:
            with pytest.raises(image.ImageError) as refusal:
                image.load(path)
            assert (row["error"], row["probability"], row["decision"]) == (str(refusal.value), None, None)
            continue
        radiograph = image.load(path)
        expected = float(predictor.predict(radiograph.pixels[None])[0])
        assert math.isclose(row["probability"], expected, abs_tol=1e-6)
        assert row["decision"] == ("pneumonia" if expected >= 0.5 else "normal")
        assert row["warnings"] == "; ".join(radiograph.warnings)
    assert visit.foreign_requests == ()
    assert any(url.startswith("blob:") for url in visit.requests)  # the worker: what it asks for is seen
    assert "passed" in visit.selftest


def changed(page: Path, out: Path, old: str, new: str) -> Path:
    """The page with something in it replaced."""
    text = page.read_text("utf-8")
    assert old in text
    out.write_text(text.replace(old, new, 1), "utf-8")
    return out


def test_another_model_stops_everything(page: Path, browser: Path, tmp_path: Path) -> None:
    """A page whose model is not the one it names answers nothing."""
    start = ' id="data-model">'
    rest = page.read_text("utf-8").partition(start)[2]
    broken = changed(page, tmp_path / "screen.html", start + rest[:8], start + "AAAA" + rest[4:8])
    with pytest.raises(BrowserError, match="not the one that was judged"):
        ask_page(broken, [], browser, timeout_s=60)


def test_a_failed_self_test_stops_everything(
    artifact: Path, browser: Path, tmp_path: Path, files: list[Path]
) -> None:
    """A page that computes other than expected shows no answers, whatever is asked."""
    wrong = SelfTest((png((150 + np.arange(4096).reshape(64, 64) % 90).astype(np.uint8)),), (0.9,), 1e-5)
    page = write_page(artifact, tmp_path, wrong)
    with pytest.raises(BrowserError, match="Self-test FAILED"):
        ask_page(page, files, browser, timeout_s=60)


def test_a_changed_script_does_not_run(page: Path, browser: Path, tmp_path: Path) -> None:
    """The policy holds: code that is not the page's own is not run, so that the page never becomes ready."""
    broken = changed(page, tmp_path / "screen.html", "<script>", "<script>void 0;")
    with pytest.raises(BrowserError, match="too long"):
        ask_page(broken, [], browser, timeout_s=8)


def test_what_is_saved(page: Path, browser: Path, files: list[Path], tmp_path: Path) -> None:
    """The CSV to send on holds numbers for names; the list beside it says which file each number is."""
    with chromium_tab(browser, time.monotonic() + 60) as tab:
        started(tab, page)
        screened(tab, files)
        tab.call("Browser.setDownloadBehavior", page=False, behavior="allow", downloadPath=str(tmp_path))
        tab.text("document.getElementById('save').click()")
        end = time.monotonic() + 20
        while len(list(tmp_path.glob("*.csv"))) < 2 and time.monotonic() < end:
            tab.text("1")
            time.sleep(0.1)
    names, results = (next(tmp_path.glob(f"{start}*.csv")) for start in ("names-KEEP-HERE", "results"))
    rows = list(csv.DictReader(io.StringIO(results.read_text("utf-8"))))
    assert list(rows[0]) == [field.name for field in fields(ScreeningRecord)]
    assert [row["file"] for row in rows] == [f"{number:04}" for number in range(1, len(files) + 1)]
    assert not any(path.stem in results.read_text("utf-8") for path in files[:1])
    listed = list(csv.DictReader(io.StringIO(names.read_text("utf-8"))))
    assert [row["sha256"] for row in listed] == [row["sha256"] for row in rows]
    assert listed[0]["file"] == "'=1+1,two.png"  # an apostrophe keeps a spreadsheet from computing it


def test_the_self_test_is_what_the_page_answers(artifact: Path, browser: Path, tmp_path: Path) -> None:
    """A page with the self-test that a browser gave passes it with hardly any difference."""
    test = self_test(artifact, browser)
    assert len(test.images) == len(test.probabilities) == 32
    visit = ask_page(write_page(artifact, tmp_path, test), [], browser, timeout_s=60)
    assert "32 images" in visit.selftest


@pytest.mark.parametrize(
    ("content", "message"),
    [("#!/bin/sh\nexit 3\n", "ended with code 3"), ("#!/bin/sh\nsleep 30\n", "took too long")],
)
def test_a_browser_that_does_not_answer(content: str, message: str, page: Path, tmp_path: Path) -> None:
    """A browser that ends, or says nothing, ends in one line and leaves no process."""
    program = tmp_path / "browser"
    program.write_text(content)
    program.chmod(0o755)
    begun = time.monotonic()
    with pytest.raises(BrowserError, match=message):
        ask_page(page, [], program, timeout_s=2)
    assert time.monotonic() - begun < 15


def test_the_environment_names_the_browser(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """CHROMIUM names the program; one that does not exist is none."""
    monkeypatch.setenv("CHROMIUM", str(tmp_path / "nothing"))
    assert find_chromium() is None


def test_firefox_answers_the_same(page: Path, browser: Path, files: list[Path]) -> None:
    """Firefox gives the answers that Chromium gives, and reaches for nothing."""
    firefox = find_firefox()
    if firefox is None:
        pytest.skip("no Firefox here: apt-get install firefox-esr")
    visits = [ask_page(page, files, program, timeout_s=120) for program in (browser, firefox)]
    for ours, theirs in zip(*(visit.rows for visit in visits), strict=True):
        assert (ours["sha256"], ours["decision"], ours["error"]) == (
            theirs["sha256"],
            theirs["decision"],
            theirs["error"],
        )
        # the last digit of the exponential function is each browser's own
        assert math.isclose(ours["probability"] or 0, theirs["probability"] or 0, rel_tol=1e-14)
    assert visits[1].browser.startswith("firefox/")
    assert visits[1].foreign_requests == ()


def test_results_survive_a_reload(page: Path, browser: Path, files: list[Path]) -> None:
    """What was answered is there again when the page is loaded again, in the same order."""
    with chromium_tab(browser, time.monotonic() + 60) as tab:
        started(tab, page)
        rows, _ = screened(tab, files)
        tab.call("Page.reload")
        time.sleep(1)
        while tab.text("document.documentElement.dataset.done || ''") != str(len(files)):
            time.sleep(0.05)
        again = json.loads(tab.text("document.getElementById('results').textContent"))
        assert again == rows
        assert tab.text("document.querySelectorAll('#list li').length") == str(len(files))


def test_a_batch_can_be_cancelled(page: Path, browser: Path, files: list[Path]) -> None:
    """After cancel the files in work are finished, the others left, and the page takes more."""
    with chromium_tab(browser, time.monotonic() + 60) as tab:
        started(tab, page)
        tab.give([files[0]] * 400)
        tab.text("document.getElementById('cancel').click()")
        while not tab.text("document.documentElement.dataset.idle || ''"):
            time.sleep(0.05)
        done = int(tab.text("document.documentElement.dataset.done"))
        assert 1 <= done < 400
        tab.give([files[1]])
        while tab.text("document.documentElement.dataset.done") != str(done + 1):
            time.sleep(0.05)


def test_every_language_keeps_the_english_notice(page: Path, browser: Path) -> None:
    """In a language that nobody reviewed the English notice stands beside the translated one."""
    choose = (
        "(() => { const s = document.getElementById('language'); s.value = '%s';"
        " s.dispatchEvent(new Event('change')); return document.getElementById('notice').innerText })()"
    )
    with chromium_tab(browser, time.monotonic() + 60) as tab:
        started(tab, page)
        for language in ("es", "fr", "sw", "hi"):
            shown = tab.text(choose % language)
            assert "This translation has not been reviewed." in shown
            assert "Not a diagnosis, not for clinical use." in shown
        assert "reviewed" not in tab.text(choose % "en")


def test_the_licences_can_be_read(page: Path, browser: Path) -> None:
    """Opening the last fold shows the licence texts."""
    with chromium_tab(browser, time.monotonic() + 60) as tab:
        started(tab, page)
        tab.text("document.getElementById('parts').open = true")
        while not (shown := tab.text("document.getElementById('licences').textContent")):
            time.sleep(0.05)
        assert "MIT License" in shown
        assert "Independent JPEG Group" in shown
