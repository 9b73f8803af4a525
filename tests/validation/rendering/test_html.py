"""The page: valid, self-contained, and its numbers those of the reports."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from xml.etree.ElementTree import Element

import html5lib
import pytest

from udacimed_edge.core.data import Split
from udacimed_edge.core.errors import InputError
from udacimed_edge.validation.metrics.statistics import paired_difference, predictive_values
from udacimed_edge.validation.rendering.html import render_html
from udacimed_edge.validation.rendering.statements import NOTICE
from udacimed_edge.validation.report import LIMITS, Report

Make = Callable[..., Report]


@pytest.fixture
def reports(make: Make, skipped: Report) -> list[Report]:
    """One that passes, one that fails, one that was not executed."""
    return [make(), make("openvino", answers=dict.fromkeys(range(100, 110), 0.1)), skipped]


def parsed(page: str) -> Element:
    """The page's tree; any departure from HTML5 raises."""
    tree: Element = html5lib.HTMLParser(strict=True, namespaceHTMLElements=False).parse(page)
    return tree


def text(element: Element) -> str:
    """All text of an element, in one line."""
    return " ".join("".join(element.itertext()).split())


def cells(tree: Element, key: str) -> dict[str, list[str]]:
    """A table's cells by the heading of their row."""
    (table,) = (e for e in tree.iter("table") if e.get("id") == key)
    rows = [[text(c) for c in row] for row in table.iter("tr")]
    return {row[0]: row[1:] for row in rows[1:]}


def test_valid(reports: list[Report], split: Split) -> None:
    """A strict HTML5 parser finds nothing wrong, with images and without, and no id comes twice."""
    for images in (None, split):
        ids = [e.get("id") for e in parsed(render_html(reports, images)).iter() if e.get("id")]
        assert len(set(ids)) == len(ids)


def test_verdicts(reports: list[Report]) -> None:
    """The first table says each verdict in a sign and a word, and the counts and interval of the report."""
    rows = cells(parsed(render_html(reports)), "verdicts")

    assert [rows[name][0] for name in ("ort int8", "openvino int8", "coreml fp16")] == [
        "✓ PASS",
        "✗ FAIL",
        "○ SKIP",
    ]
    for name, report in zip(rows, reports[:2], strict=False):
        m = report.metrics
        assert m is not None
        assert m.sensitivity.clopper_pearson is not None
        shown = rows[name]
        assert (int(shown[1]), int(shown[2])) == (m.fn, m.fp)
        ends = (m.sensitivity.clopper_pearson.low, m.sensitivity.clopper_pearson.high)
        assert [float(shown[3]), *map(float, shown[4].split(" to "))] == pytest.approx(
            [m.sensitivity.value, *ends], abs=5.1e-5
        )
    assert rows["coreml fp16"][1] == "not measured"


def test_every_figure_is_the_reports(reports: list[Report]) -> None:
    """Specificity, AUC, accuracy, agreement and differences, read back, are those of the report."""
    rows = cells(parsed(render_html(reports)), "figures")

    for name, report in zip(rows, reports[:2], strict=False):
        m, c = report.metrics, report.comparison
        assert m is not None
        assert c is not None
        numbers = [float(cell) for cell in (rows[name][0], *rows[name][2:])]
        assert numbers[:4] == pytest.approx(
            [m.specificity.value, m.auc, m.accuracy.value, c.agreement], abs=5.1e-5
        )
        assert numbers[4:] == pytest.approx(
            [c.max_probability_difference, c.mean_probability_difference], rel=6e-3
        )


def test_predictive_values(reports: list[Report]) -> None:
    """PPV and NPV at 2, 10 and 30 % follow from the report's sensitivity and specificity, with intervals."""
    shown = cells(parsed(render_html(reports)), "predictive")["ort int8"]

    m = reports[0].metrics
    assert m is not None
    rates = (m.sensitivity.value or 0, m.specificity.value or 0)
    expected = [value for share in (0.02, 0.10, 0.30) for value in predictive_values(*rates, share)]
    numbers = [[float(n) for n in re.findall(r"\d\.\d+", cell)] for cell in shown]
    assert [value for value, _, _ in numbers] == pytest.approx(expected, abs=1.1e-3)
    assert all(low <= value <= high for value, low, high in numbers)
    assert shown[0] == "0.104 (0.077 to 0.142)"
    assert not re.search(r"\d\.\d{4}", " ".join(shown))


def test_paired_tests(reports: list[Report]) -> None:
    """Discordant counts and p-value are the report's, the interval Tango's for them."""
    shown = cells(parsed(render_html(reports)), "paired-pneumonia")["openvino int8"]

    assert reports[1].comparison is not None
    test = reports[1].comparison.mcnemar_positives
    change = paired_difference(test.only_artifact_correct, test.only_source_correct, 390)
    assert (int(shown[0]), int(shown[1])) == (test.only_source_correct, test.only_artifact_correct) == (10, 0)
    numbers = [float(shown[2]), *map(float, shown[3].split(" to ")), float(shown[4])]
    assert numbers == pytest.approx([change.value, change.low, change.high, test.p_value], abs=5.1e-5)


def test_sentence_for_a_clinician(make: Make) -> None:
    """One artifact is summed up in the sentence that a clinician understands."""
    page = parsed(render_html([make()]))

    assert (
        "Of 390 radiographs of children with pneumonia, this artifact missed 3; of 234 without, it raised "
        in (text(page))
    )
    assert "raised 41 false alarms." in text(page)


def test_missed_and_changed_by_index(reports: list[Report]) -> None:
    """Every missed image and every changed decision is listed by its index."""
    page = parsed(render_html(reports))

    key = reports[1].report_digest[:8]
    changed = cells(page, f"changed-artifact-{key}")
    assert list(changed) == [str(i) for i in range(100, 110)]
    assert changed["104"] == ["pneumonia", "pneumonia", "normal", changed["104"][3], "0.1000"]
    listed = "5, 77, 100, 101, 102, 103, 104, 105, 106, 107, 108, 109, 300."
    assert listed in text(page)


def test_how_it_was_made(reports: list[Report]) -> None:
    """Data, threshold, reference standard, tools, commands and limits are on the page."""
    page = text(parsed(render_html(reports)))

    report = reports[0]
    expected = [
        report.data.file_digest, report.data.digest, report.policy.digest, report.artifact.digest,
        report.report_digest, report.source.digest, "0.500000: a test", "two physicians graded",
        "udacimed-edge convert MODEL --target ort --precision int8 --data medmnist", *LIMITS,
        *report.environment.tools.values(),
    ]  # fmt: skip
    assert [words for words in expected if words not in page] == []


def test_reasons_are_said(reports: list[Report]) -> None:
    """Why an artifact failed or was skipped stands beside the verdicts."""
    page = text(parsed(render_html(reports)))

    assert "openvino int8: sensitivity: 0.9667, 13 missed" in page
    assert "coreml fp16: Core ML operation 'erf' is not executed here" in page


def test_rehearsal_is_unmistakable(make: Make) -> None:
    """On synthetic data the title, the first line and the heading say REHEARSAL, and no child is claimed."""
    report = make(data={"origin": "synthetic"})

    page = parsed(render_html([report]))

    (title,), (heading,) = list(page.iter("title")), list(page.iter("h1"))
    assert text(title).startswith("REHEARSAL")
    assert text(heading).startswith("REHEARSAL")
    (main,) = page.iter("main")
    assert text(main).startswith("REHEARSAL.")
    assert "children with pneumonia, this" not in text(page)


def test_the_first_screen_says_what_matters(make: Make) -> None:
    """Version, date, data, limit of use and the bound stand before the first table, none of it in gray."""
    report = make()
    page = render_html([report])
    before = page[page.index("<main>") : page.index("<table")]
    for words in (
        "udacimed-edge " + report.toolkit_version,
        report.created[:10],
        "pneumoniamnist_64.npz (official), test split, 624 images",
        NOTICE,
        "A true sensitivity of 0.98 is shown for 0 of 1 artifacts measured",
        "What the verdict rests on: executed here by ort 1.0",
    ):
        assert words in before
    assert 'class="note"' not in before


def test_every_cell_has_its_heading(reports: list[Report]) -> None:
    """On a narrow screen a cell stands below the others, and says which column it is of."""
    for table in parsed(render_html(reports)).iter("table"):
        headings = [text(th) for th in next(table.iter("thead")).iter("th")][1:]
        for row in next(table.iter("tbody")).iter("tr"):
            assert [td.get("data-label") for td in row.iter("td")] == headings


def test_the_style_survives_the_template(reports: list[Report]) -> None:
    """No sign of the style sheet is escaped, which would end its rules."""
    page = render_html(reports)
    assert "&" not in page[page.index("<style>") : page.index("</style>")]


@pytest.mark.parametrize("origin", ["official", "synthetic"])
def test_every_printed_page_has_the_notice(make: Make, origin: str, tmp_path: Path) -> None:
    """Each page that Chromium prints says what it is not for, and REHEARSAL where it is one."""
    chromium, reader = shutil.which("chromium"), shutil.which("pdftotext")
    if chromium is None or reader is None:
        pytest.skip("no chromium or pdftotext on the path")
    page, pdf = tmp_path / "report.html", tmp_path / "report.pdf"
    page.write_text(render_html([make(data={"origin": origin})]), encoding="utf-8")
    flags = [
        "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        "--no-pdf-header-footer", f"--user-data-dir={tmp_path / 'profile'}", f"--print-to-pdf={pdf}",
    ]  # fmt: skip
    subprocess.run([chromium, *flags, page.as_uri()], capture_output=True, timeout=120, check=True)
    told = subprocess.run([reader, str(pdf), "-"], capture_output=True, text=True, check=True).stdout
    pages = [" ".join(part.split()) for part in told.split("\f") if part.strip()]
    assert len(pages) > 2
    assert all(NOTICE in part for part in pages)
    assert all(("REHEARSAL." in part) is (origin == "synthetic") for part in pages)


def test_no_rehearsal_on_real_data(make: Make) -> None:
    """On radiographs nothing says REHEARSAL."""
    assert "REHEARSAL" not in render_html([make()])


def test_nothing_from_elsewhere(reports: list[Report], split: Split) -> None:
    """No script, and no address that a browser would fetch: only anchors and embedded images."""
    page = parsed(render_html(reports, split))

    assert not list(page.iter("script"))
    assert not list(page.iter("link"))
    targets = [
        e.get(a) or "" for e in page.iter() for a in ("src", "href", "{http://www.w3.org/1999/xlink}href")
    ]
    assert {t[:1] if t.startswith("#") else t[:22] for t in targets if t} <= {"#", "data:image/png;base64,"}
    assert not re.search(r"@import|url\((?!#)", render_html(reports))


def test_images_only_when_given(reports: list[Report], split: Split) -> None:
    """Without the split no image is on the page; with it, each missed and changed one is, described."""
    assert not list(parsed(render_html(reports)).iter("img"))

    images = list(parsed(render_html(reports, split)).iter("img"))

    assert len(images) == 3 + 13 + 10
    assert {i.get("alt") for i in images} >= {"Image 5: missed", "Image 104: pneumonia, now normal"}


def test_images_of_other_data(reports: list[Report], split: Split) -> None:
    """Images that are not those of the reports are refused."""
    other = replace(split, images=split.images[::-1].copy())
    with pytest.raises(InputError, match="the images have the digest"):
        render_html(reports, other)


def test_tables_have_headings(reports: list[Report]) -> None:
    """Every table has a caption, every heading a scope, and every column and row a heading."""
    for table in parsed(render_html(reports)).iter("table"):
        assert text(next(table.iter("caption")))
        assert {th.get("scope") for th in table.iter("th")} == {"col", "row"}
        rows = list(table.iter("tr"))
        assert {len(list(row)) for row in rows} == {len(list(rows[0]))}
        assert all(row[0].tag == "th" for row in rows)


def test_hostile_names_are_text(make: Make) -> None:
    """What comes from a file is shown as text, never as markup."""
    harm = "<script>alert(1)</script>"
    report = make(
        target=harm, data={"name": harm}, threshold_origin=harm, update={"reason": harm, "executor": harm}
    )

    page = parsed(render_html([report]))

    assert not list(page.iter("script"))
    assert text(page).count(harm) >= 5


def test_opens_in_a_browser(reports: list[Report], split: Split, tmp_path: Path) -> None:
    """Headless Chromium shows it without a console message, and with every request refused."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no chromium or google-chrome on the path")
    page, shot = tmp_path / "report.html", tmp_path / "report.png"
    page.write_text(render_html(reports, split), encoding="utf-8")
    done = subprocess.run(
        [
            chromium, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr",
            "--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={tmp_path / 'profile'}",
            f"--screenshot={shot}", "--window-size=1280,720", page.as_uri(),
        ],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    assert [line for line in done.stderr.splitlines() if "CONSOLE" in line] == []
    assert shot.stat().st_size > 20_000
