"""Verifying a bundle: what was changed, and what is said of it."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from PIL import Image

from udacimed_edge.cli.main import cli
from udacimed_edge.core.errors import InputError
from udacimed_edge.core.files import path_digest
from udacimed_edge.targets.bundle.archive import unpack, write_zip
from udacimed_edge.targets.bundle.budgets import possible_budgets
from udacimed_edge.targets.bundle.manifest import list_files, read_manifest, write_manifest, write_sums
from udacimed_edge.targets.bundle.runner import build_runner
from udacimed_edge.targets.bundle.signing import generate_key, sign
from udacimed_edge.targets.bundle.wheel_check import wheels_in
from udacimed_edge.targets.devices.profile import find_profile
from udacimed_edge.validation.judging.recheck import judge_again, recompute
from udacimed_edge.validation.policy.policy import PolicySettings
from udacimed_edge.validation.report import Report, read_report, with_digest, write_report
from udacimed_edge.workflow import verify as verification
from udacimed_edge.workflow.pages import render_all
from udacimed_edge.workflow.proofs import PROOFS
from udacimed_edge.workflow.verify import POLICIES, Check, verify_bundle

KEPT = sorted((Path(__file__).parents[2] / "targets" / "kept").glob("*.zip"))
"""A bundle of each release, by version, each beside the key it is signed with."""

pytest.importorskip("onnxruntime")
with_minisign = pytest.mark.skipif(
    shutil.which("minisign") is None, reason="Debian's minisign is absent: apt-get install minisign"
)


class Stick:
    """A bundle's folder that a test may change, and list or write anew as a forger would."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def artifact(self) -> Path:
        """The artifact."""
        return self.folder / "model.ort"

    def edit(self, name: str, /, **changes: Any) -> None:
        """Change fields at the top of a JSON file."""
        path = self.folder / name
        content = json.loads(path.read_text(encoding="utf-8"))
        path.write_text(json.dumps({**content, **changes}), encoding="utf-8")

    def manifest(self, **changes: Any) -> None:
        """Change the manifest and list all files anew, as the writer writes it where that is possible."""
        files = {name: entry.model_dump() for name, entry in list_files(self.folder).items()}
        self.edit("manifest.json", **{"files": files, **changes})
        with contextlib.suppress(InputError):
            write_manifest(read_manifest(self.folder / "manifest.json"), self.folder)
        write_sums(self.folder)

    def write_again(self) -> None:
        """Make the pages again from what the bundle says, and list everything anew."""
        bundle = verification._Bundle(self.folder, None)
        for name, content in render_all(bundle.spec, wheels_in(bundle)).items():
            (self.folder / name).write_bytes(content)
        self.manifest()

    def report(self, change: Callable[[Report], Report], **manifest: Any) -> None:
        """Change the report, with_digest it again, and list everything anew."""
        path = self.folder / "report.json"
        changed = with_digest(change(read_report(path)))
        write_report(changed, path)
        self.manifest(**{"report_digest": changed.report_digest, **manifest})

    def wrong(self, public_key: str | None = None) -> dict[str, str]:
        """What is not in order, by the name of the check."""
        checks = verify_bundle(self.folder, public_key)
        assert len({check.name for check in checks}) == len(checks)
        return {check.name: check.detail for check in checks if check.outcome == "NOT OK"}

    def check(self, name: str) -> Check:
        """One line of the result."""
        return next(check for check in verify_bundle(self.folder) if check.name == name)


@pytest.fixture(scope="module")
def own_zip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of this version for a phone, signed; its key lies beside it."""
    out = tmp_path_factory.mktemp("own")
    command = [sys.executable, str(KEPT[0].parents[1] / "make_kept_bundle.py"), str(out)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return out / "kept.zip"


@pytest.fixture(scope="module")
def unpacked(own_zip: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of this version, unpacked."""
    return unpack(own_zip, tmp_path_factory.mktemp("unpacked"))


@pytest.fixture
def stick(unpacked: Path, tmp_path: Path) -> Stick:
    """A copy of it, as if nobody had signed it."""
    made = Stick(Path(shutil.copytree(unpacked, tmp_path / unpacked.name)))
    (made.folder / "SHA256SUMS.minisig").unlink()
    made.manifest(signed=False)
    made.write_again()
    return made


def wheel(folder: Path, name: str, version: str, tags: str, holds: str = "") -> Path:
    """A wheel that holds nothing but its name and version, or those of another."""
    file = folder / f"{name}-{version}-{tags}.whl"
    file.parent.mkdir(exist_ok=True)
    with zipfile.ZipFile(file, "w") as made:
        about = f"Metadata-Version: 2.1\nName: {holds or name}\nVersion: {version}\n"
        made.writestr(f"{name}-{version}.dist-info/METADATA", about)
    return file


TAGS = "manylinux_2_27_x86_64.manylinux_2_28_x86_64"


@pytest.fixture
def laptop(stick: Stick) -> Stick:
    """The same for a laptop: with the program, wheels without content, and an installer."""
    (stick.folder / "README.md").unlink()
    build_runner(stick.folder)
    device = find_profile("clinic-laptop")
    assert device.runner is not None
    tools = read_report(stick.folder / "report.json").environment.tools
    for requirement in device.runner.requirements["ort"]:
        name = re.split("[<>=!~]", requirement)[0].replace("-", "_")
        for python in device.runner.python:
            tag = f"cp{python.replace('.', '')}"
            wheel(stick.folder / "wheels", name, tools.get(name, "1.0"), f"{tag}-{tag}-{TAGS}")
    size = stick.artifact.stat().st_size / 2**20
    budgets = {name: texts[0] for name, texts in possible_budgets(device, size, is_coreml=False).items()}
    profile = json.loads(device.model_dump_json())
    stick.manifest(device=device.name, name=f"{device.name}-ort-int8", profile=profile, budgets=budgets)
    renamed_folder = stick.folder.with_name(f"{device.name}-ort-int8")
    stick.folder.rename(renamed_folder)
    made = Stick(renamed_folder)
    made.write_again()
    return made


# Bundles of every release.


@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.stem)
def test_the_bundles_of_all_releases_stay_valid(path: Path) -> None:
    """A bundle that a release made and signed is verified by every later version: nothing is refused."""
    checks = verify_bundle(path, str(path.with_suffix(".pub")))
    assert [check for check in checks if check.outcome == "NOT OK"] == []
    held = {check.name for check in checks if check.outcome == "ok"}
    always = {
        "files",
        "digests",
        "signature",
        "manifest",
        "parts",
        "report",
        "figures",
        "rehearsal",
        "device",
        "vectors",
    }
    assert always | {"materials", "contract", "weights", "self-test"} <= held


def test_bundles_of_releases_are_kept() -> None:
    """There are bundles to be verified, each with its key, and none is large."""
    assert "0.1.0" in {path.stem for path in KEPT}
    assert all(path.stat().st_size < 400_000 and path.with_suffix(".pub").exists() for path in KEPT)


def test_the_policy_of_this_version_is_known() -> None:
    """Whoever changes the policy adds its digest, and leaves those of released versions."""
    assert PolicySettings().digest() in POLICIES


# What holds.


def test_a_zip_and_its_folder_are_verified_alike(stick: Stick, tmp_path: Path) -> None:
    """A zip is as good as its folder, and verifying leaves both as they are."""
    before = path_digest(stick.folder)
    write_zip(stick.folder, tmp_path / "bundle.zip")
    of_zip, of_folder = verify_bundle(tmp_path / "bundle.zip"), verify_bundle(stick.folder)
    assert [c for c in of_zip if c.name != "zip"] == [c for c in of_folder if c.name != "zip"]
    assert [c.outcome for checks in (of_zip, of_folder) for c in checks if c.name == "zip"] == [
        "ok",
        "not checked",
    ]
    assert path_digest(stick.folder) == before


def test_a_laptop_s_bundle_holds(laptop: Stick) -> None:
    """Program and wheels are checked where a device has them."""
    assert laptop.wrong() == {}
    assert laptop.check("runner").outcome == laptop.check("wheels").outcome == "ok"
    detail = laptop.check("wheels").detail
    names = "numpy, onnxruntime, pillow, pydicom, pylibjpeg, pylibjpeg-libjpeg, pylibjpeg-openjpeg"
    assert re.fullmatch(rf"{names}: \d+ wheels, pinned, for x86_64", detail)
    assert "install.sh" in laptop.check("pages").detail


def test_what_cannot_be_shown_is_said(stick: Stick) -> None:
    """Without a key, on another machine and without radiographs, what follows from them is not checked."""
    unchecked = {check.name for check in verify_bundle(stick.folder) if check.outcome == "not checked"}
    assert {"signature", "budgets", "runner", "wheels", "evidence"} <= unchecked
    assert stick.check("evidence").detail.startswith("REHEARSAL: judged on synthetic images")


def test_a_signature_is_verified(stick: Stick, tmp_path: Path) -> None:
    """With the key a signature holds; a missing one, and one of another key, do not."""
    line = generate_key(tmp_path / "k", tmp_path / "k.pub")
    other = generate_key(tmp_path / "o", tmp_path / "o.pub")
    assert "nobody signed this bundle" in stick.wrong(line)["signature"]
    sign(stick.folder / "SHA256SUMS", tmp_path / "k", "by a test")
    assert stick.wrong(line) == stick.wrong(str(tmp_path / "k.pub")) == {}
    assert "was made with the key" in stick.wrong(other)["signature"]
    assert "verify it with --public-key" in stick.check("signature").detail


@with_minisign
def test_minisign_and_sha256sum_agree(stick: Stick, tmp_path: Path) -> None:
    """What minisign and sha256sum accept holds here; what one of them refuses does not."""
    line = generate_key(tmp_path / "k", tmp_path / "k.pub")
    stick.manifest()
    sums = sign(stick.folder / "SHA256SUMS", tmp_path / "k", "by a test").with_suffix("")

    def accepted() -> tuple[bool, bool, bool]:
        commands = (
            ["minisign", "-Vm", str(sums), "-P", line],
            ["sha256sum", "--check", "--strict", sums.name],
        )
        ended = [subprocess.run(c, cwd=stick.folder, capture_output=True, check=False) for c in commands]
        return (*(each.returncode == 0 for each in ended), not stick.wrong(line))  # type: ignore[return-value]

    assert accepted() == (True, True, True)
    page = stick.folder / "model-card.md"
    page.write_bytes(page.read_bytes() + b"more")
    assert accepted() == (True, False, False)
    stick.manifest()
    assert accepted() == (False, True, False)


# What somebody changed.


def flip(path: Path) -> None:
    """Change one bit in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def put(name: str, content: str) -> Callable[[Stick], None]:
    """Write a file."""

    def apply(stick: Stick) -> None:
        (stick.folder / name).write_text(content, encoding="utf-8")

    return apply


def listed(change: Callable[[Stick], object], **manifest: Any) -> Callable[[Stick], None]:
    """A change that a forger lists anew."""

    def apply(stick: Stick) -> None:
        change(stick)
        stick.manifest(**manifest)

    return apply


def resealed(change: Callable[[Report], Report], **manifest: Any) -> Callable[[Stick], None]:
    """A change of the report that a forger seals and lists anew."""
    return lambda stick: stick.report(change, **manifest)


def rewritten(change: Callable[[Report], Report]) -> Callable[[Stick], None]:
    """The same by a forger who writes every page again."""

    def apply(stick: Stick) -> None:
        stick.report(change)
        stick.write_again()

    return apply


def updated(**fields: Any) -> Callable[[Report], Report]:
    """The report with other fields."""
    return lambda report: report.model_copy(update=fields)


def fewer_found(report: Report) -> Report:
    """A report that is true to itself, but for the verdict: the artifact misses eight more."""
    kept, missed, artifact = report.predictions, 0, []
    for label, probability in zip(kept.labels, kept.artifact, strict=True):
        hide = label == 1 and missed < 8 and probability is not None and probability >= report.threshold
        missed += hide
        artifact.append(0.0 if hide else probability)
    return consistent(
        report.model_copy(update={"predictions": kept.model_copy(update={"artifact": tuple(artifact)})})
    )


def consistent(report: Report) -> Report:
    """The report with every figure that follows from its probabilities, and the clauses all passed."""
    import numpy as np

    from udacimed_edge.validation.metrics.metrics import prediction_digest

    evidence = recompute(report)
    assert evidence.artifact is not None
    exact = evidence.artifact.sensitivity.clopper_pearson
    digest = prediction_digest(np.array(report.predictions.artifact, np.float64))
    return report.model_copy(
        update={
            "metrics": evidence.artifact,
            "comparison": evidence.comparison,
            "sensitivity_bound_clears": exact is not None and exact.low >= 0.98,
            "predictions": report.predictions.model_copy(update={"digest": digest}),
        }
    )


def one_more_found(report: Report) -> Report:
    """A report that counts one image more than its probabilities do."""
    assert report.metrics is not None
    return report.model_copy(update={"metrics": report.metrics.model_copy(update={"auc": 0.9999})})


def lenient(report: Report) -> Report:
    """A report under weaker bounds, that says so."""
    weak = PolicySettings(min_sensitivity=0.5)
    return report.model_copy(
        update={"policy": report.policy.model_copy(update={"settings": weak, "digest": weak.digest()})}
    )


def secretly_lenient(report: Report) -> Report:
    """A report under weaker bounds, with the digest of ours."""
    weak = PolicySettings(min_sensitivity=0.5)
    return report.model_copy(update={"policy": report.policy.model_copy(update={"settings": weak})})


def other_clause(report: Report) -> Report:
    """A report whose clauses say more than was measured."""
    first, *rest = report.policy.clauses
    clauses = (first.model_copy(update={"measured": "nothing at all"}), *rest)
    return report.model_copy(update={"policy": report.policy.model_copy(update={"clauses": clauses})})


def other_weights(report: Report) -> Report:
    """A report that counts other weights than the artifact holds, and judges those."""
    counted = {"int8": 1_000_000}
    artifact = report.artifact.model_copy(update={"weight_dtypes": counted})
    changed = report.model_copy(update={"artifact": artifact})
    clauses = judge_again(changed, recompute(changed))
    return changed.model_copy(update={"policy": changed.policy.model_copy(update={"clauses": clauses})})


def other_work(report: Report) -> Report:
    """A report that counts other work than the artifact does, and judges that."""
    artifact = report.artifact.model_copy(update={"macs": {"int8": 1}})
    changed = report.model_copy(update={"artifact": artifact})
    clauses = judge_again(changed, recompute(changed))
    return changed.model_copy(update={"policy": changed.policy.model_copy(update={"clauses": clauses})})


def other_contract(report: Report) -> Report:
    """A report that quotes another contract than the artifact's."""
    contract = {**report.artifact.contract, "threshold_origin": "the test split"}
    return report.model_copy(update={"artifact": report.artifact.model_copy(update={"contract": contract})})


def doubled(path: Path) -> None:
    """Name a key of a JSON file twice."""
    text = path.read_text(encoding="utf-8").rstrip()
    path.write_text(f'{text[:-1]}, "artifact": "x", "artifact": "x"}}', encoding="utf-8")


def doubled_manifest(stick: Stick) -> None:
    """Name a key of the manifest twice, and list it anew."""
    doubled(stick.folder / "manifest.json")
    write_sums(stick.folder)


def unsorted_sums(stick: Stick) -> None:
    """The same list in another order."""
    path = stick.folder / "SHA256SUMS"
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text("".join(reversed(lines)), encoding="utf-8")


def replaced(stick: Stick, name: str, before: str, after: str) -> None:
    """Put another word into a file."""
    path = stick.folder / name
    text = path.read_text(encoding="utf-8")
    assert before in text
    path.write_text(text.replace(before, after, 1), encoding="utf-8")


def one_digit(stick: Stick, name: str) -> None:
    """Change the last digit of a figure."""
    path = stick.folder / name
    text = path.read_text(encoding="utf-8")
    found = re.search(r">?\b0\.\d{3}\d\b", text)
    assert found is not None
    at = found.end() - 1
    path.write_text(f"{text[:at]}{(int(text[at]) + 1) % 10}{text[at + 1 :]}", encoding="utf-8")


def other_answers(stick: Stick) -> None:
    """A self-test whose answers are as good as any, and not the artifact's."""
    answers = json.loads((stick.folder / VECTORS).read_text(encoding="utf-8"))["probabilities"]
    stick.edit(VECTORS, probabilities=answers[::-1])
    path = stick.folder / VECTORS
    path.write_text(f"{json.dumps(json.loads(path.read_text()), indent=1)}\n", encoding="utf-8")
    stick.manifest()


VECTORS, BOM = "selftest/vectors.json", "bom.cdx.json"
IPHONE = json.loads(find_profile("iphone").model_dump_json())
PHONE = json.loads(find_profile("android-phone").model_dump_json())
TINY = {**PHONE, "budget": {**PHONE["budget"], "size_mib": 0.001}}

CHANGES: dict[str, tuple[Callable[[Stick], object], str, str]] = {
    # nothing is listed anew: damage, or somebody careless
    "a file is lost": (lambda s: (s.folder / "report.html").unlink(), "files", "missing: report.html"),
    "a file is added": (put("more.txt", "x"), "files", "not part of the bundle: more.txt"),
    "a bit is flipped": (lambda s: flip(s.artifact), "digests", "changed since it was packaged: model.ort"),
    "the manifest is changed": (lambda s: s.edit("manifest.json", notice="x"), "digests", "manifest.json"),
    "the list is no list": (put("SHA256SUMS", "x\n"), "files", "is not a list of digests"),
    "the list is empty": (put("SHA256SUMS", ""), "files", "not part of the bundle: README.md"),
    # all files are listed anew: a forger
    "another version's manifest": (
        lambda s: s.manifest(schema_version=3),
        "manifest",
        "manifest of version 3",
    ),
    "a manifest without a field": (lambda s: s.manifest(threshold=None), "manifest", "threshold"),
    "a manifest that is none": (
        lambda s: (put("manifest.json", "[" * 99_999)(s), write_sums(s.folder)),
        "manifest",
        "is not a bundle's manifest",
    ),
    "a manifest that lists less": (
        lambda s: s.manifest(files={}),
        "manifest",
        "list of files differs at README",
    ),
    "another device's name": (lambda s: s.manifest(device="iphone"), "manifest", "names the bundle android"),
    "another device": (lambda s: s.manifest(profile=IPHONE), "manifest", "describes another device, iphone"),
    "a page is left out": (
        listed(lambda s: (s.folder / "report.html").unlink()),
        "parts",
        "missing: report.html",
    ),
    "a program is added": (listed(put("setup.exe", "x")), "parts", "no bundle holds setup.exe"),
    "an artifact elsewhere": (lambda s: s.manifest(artifact="../model.ort"), "parts", "is no artifact"),
    "another format": (
        lambda s: s.manifest(target="litert", name="android-phone-litert-int8"),
        "parts",
        "no artifact",
    ),
    "an artifact that is not there": (lambda s: s.manifest(artifact="x.ort"), "parts", "missing: x.ort"),
    "another artifact": (listed(lambda s: flip(s.artifact)), "report", "speaks of another artifact"),
    "a report that was edited": (
        listed(lambda s: s.edit("report.json", threshold=0.2)),
        "report",
        "was changed after it was written",
    ),
    "a report that is none": (listed(put("report.json", "[" * 99_999)), "report", "is not a report"),
    "another threshold": (lambda s: s.manifest(threshold=0.2), "report", "differ in threshold"),
    "another report": (
        resealed(updated(created="2020"), report_digest="0" * 64),
        "report",
        "differ in report_digest",
    ),
    "a report that failed": (
        resealed(updated(verdict="FAIL", reason="bad")),
        "report",
        "verdict is FAIL: bad",
    ),
    "weaker bounds": (
        resealed(lenient, policy_digest=PolicySettings(min_sensitivity=0.5).digest()),
        "policy",
        "no version had",
    ),
    "weaker bounds in secret": (resealed(secretly_lenient), "policy", "not those that its digest stands for"),
    "better figures": (
        resealed(one_more_found),
        "figures",
        "metrics are not what its own probabilities give",
    ),
    "worse probabilities": (resealed(fewer_found), "gate", "refuses it: sensitivity: 0.9"),
    "a clause in other words": (resealed(other_clause), "gate", "clauses in the report are not"),
    "a rehearsal in secret": (
        resealed(updated(rehearsal=False), rehearsal=False),
        "rehearsal",
        "hides that it is a rehearsal",
    ),
    "a page that is silent": (
        listed(put("START-HERE.txt", "Use it.")),
        "rehearsal",
        "START-HERE.txt do not say so",
    ),
    "a device that takes no such format": (
        lambda s: s.manifest(profile={**IPHONE, "name": "iphone"}, device="iphone", name="iphone-ort-int8"),
        "device",
        "iphone takes no ort int8",
    ),
    "a device that is too small": (
        lambda s: s.manifest(profile=TINY),
        "device",
        "MiB, and android-phone allows",
    ),
    "another artifact's self-test": (
        listed(lambda s: s.edit(VECTORS, artifact_sha256="0" * 64)),
        "vectors",
        "another artifact's",
    ),
    "a self-test without images": (
        listed(lambda s: s.edit(VECTORS, images=[])),
        "vectors",
        "does not name the 32 images",
    ),
    "a self-test of other images": (
        listed(lambda s: s.edit(VECTORS, images=["../../x.png"])),
        "vectors",
        "does not name the 32 images",
    ),
    "a shorter self-test": (
        listed(lambda s: s.edit(VECTORS, images=["01.png"], probabilities=[0.01])),
        "vectors",
        "does not name the 32 images",
    ),
    "a self-test on another picture": (
        listed(lambda s: Image.linear_gradient("L").resize((64, 64)).save(s.folder / "selftest/07.png")),
        "vectors",
        "07.png is none of the synthetic radiographs",
    ),
    "a self-test on one picture twice": (
        listed(lambda s: shutil.copy(s.folder / "selftest/08.png", s.folder / "selftest/07.png")),
        "vectors",
        "not in order, each once",
    ),
    "a self-test with a picture more": (
        listed(lambda s: shutil.copy(s.folder / "selftest/08.png", s.folder / "selftest/33.png")),
        "vectors",
        "missing or too much: selftest/33.png",
    ),
    "a self-test that allows more": (
        listed(lambda s: s.edit(VECTORS, tolerance=0.5)),
        "vectors",
        "tolerance are not what the report gives",
    ),
    "a self-test of another threshold": (
        listed(lambda s: s.edit(VECTORS, threshold=0.1)),
        "vectors",
        "threshold are not what the report gives",
    ),
    "a self-test that says more": (
        listed(lambda s: s.edit(VECTORS, approved=True)),
        "vectors",
        "says more than a self-test does: approved",
    ),
    "a self-test with a key twice": (
        listed(lambda s: doubled(s.folder / VECTORS)),
        "vectors",
        "stands twice",
    ),
    "a self-test that is no JSON": (listed(put(VECTORS, "{")), "vectors", "is not a self-test"),
    "a manifest with a key twice": (
        doubled_manifest,
        "manifest",
        "stands twice",
    ),
    "a list in another order": (unsorted_sums, "digests", "SHA256SUMS is not as its writer writes it"),
    "a digit in report.html": (
        listed(lambda s: replaced(s, "report.html", "sensitivity", "sensitivitx")),
        "pages",
        "not what report, device and wheels give: report.html",
    ),
    "a figure in report.html": (
        listed(lambda s: one_digit(s, "report.html")),
        "pages",
        "not what report, device and wheels give: report.html",
    ),
    "a figure in the model card": (
        listed(lambda s: one_digit(s, "model-card.md")),
        "pages",
        "not what report, device and wheels give: model-card.md",
    ),
    "another notice in the manifest": (
        lambda s: s.manifest(notice="REHEARSAL, but good"),
        "pages",
        "manifest.json is not what report, device and files give",
    ),
    "another time in the manifest": (
        lambda s: s.manifest(created="2020"),
        "pages",
        "manifest.json is not what",
    ),
    "a finding about speed": (
        lambda s: s.manifest(
            budgets={**read_manifest(s.folder / "manifest.json").budgets, "latency_ms": "fast"}
        ),
        "budgets",
        "no such finding is written: latency_ms",
    ),
    "another README": (
        listed(lambda s: replaced(s, "README.md", "Do not normalise", "Normalise")),
        "pages",
        "README.md",
    ),
    "a material more": (
        listed(lambda s: replaced(s, BOM, '"version": 1', '"version": 2')),
        "pages",
        "bom.cdx.json",
    ),
    "materials that are no object": (listed(put(BOM, "[]")), "materials", "it is not a JSON object"),
    "materials of another kind": (
        listed(lambda s: s.edit(BOM, bomFormat="x")),
        "materials",
        "not a CycloneDX",
    ),
    "materials of another artifact": (
        listed(lambda s: s.edit(BOM, components=[])),
        "materials",
        "does not name the artifact's digest",
    ),
    "another contract": (rewritten(other_contract), "contract", "it is not the one in the report"),
    "other weights": (rewritten(other_weights), "weights", "the report says {'int8': 1000000}"),
    "other work": (rewritten(other_work), "weights", "the report says {'int8': 1}, its operators"),
    "other answers": (
        other_answers,
        "self-test",
        "does not compute here as it did",
    ),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_change_is_noticed(stick: Stick, what: str) -> None:
    """Each change is named by the check that notices it, and nothing is checked on its strength."""
    change, name, message = CHANGES[what]
    change(stick)
    wrong = stick.wrong()
    assert name in wrong
    assert message in wrong[name]


def written_again(change: Callable[[Stick], object]) -> Callable[[Stick], None]:
    """A change after which a forger writes every page and list anew."""

    def apply(stick: Stick) -> None:
        change(stick)
        stick.write_again()

    return apply


LAPTOP_CHANGES: dict[str, tuple[Callable[[Stick], object], str, str]] = {
    "another program": (listed(put("screen.pyz", "x")), "runner", "screen.pyz is not what udacimed-edge"),
    "no program": (listed(lambda s: (s.folder / "screen.pyz").unlink()), "parts", "missing: screen.pyz"),
    "no installer": (
        listed(lambda s: (s.folder / "install.sh").unlink()),
        "parts",
        "install.bat or install.sh",
    ),
    "another wheel": (
        listed(lambda s: flip(next((s.folder / "wheels").glob("numpy*")))),
        "wheels",
        "requirements.txt does not pin these wheels",
    ),
    "a lost wheel": (
        listed(lambda s: next((s.folder / "wheels").glob("numpy*")).unlink()),
        "wheels",
        "requirements.txt does not pin these wheels",
    ),
    "no wheels": (listed(lambda s: shutil.rmtree(s.folder / "wheels")), "wheels", "there are none"),
    "another processor's wheel": (
        written_again(lambda s: renamed(s, "x86_64.whl", "aarch64.whl", "x86_64.many", "aarch64.many")),
        "wheels",
        "not for clinic-laptop: numpy",
    ),
    "another Python's wheel": (
        written_again(lambda s: renamed(s, "cp311-cp311", "cp312-cp312")),
        "wheels",
        "not for clinic-laptop",
    ),
    "a package more": (
        written_again(lambda s: wheel(s.folder / "wheels", "evil", "1.0", "py3-none-any")),
        "wheels",
        "needs numpy, onnxruntime, pillow, pydicom, pylibjpeg, pylibjpeg-libjpeg, pylibjpeg-openjpeg and",
    ),
    "a wheel of another name inside": (
        written_again(lambda s: rewrapped(s, "evil")),
        "wheels",
        "holds evil",
    ),
    "a wheel that is none": (
        written_again(lambda s: next((s.folder / "wheels").glob("numpy*")).write_bytes(b"x")),
        "wheels",
        "is not a wheel",
    ),
    "two versions of one wheel": (
        written_again(lambda s: wheel(s.folder / "wheels", "numpy", "0.9", "py3-none-any")),
        "wheels",
        "numpy is there in the versions 0.9 and",
    ),
    "another version than was validated": (
        written_again(lambda s: other_versions(s)),
        "wheels",
        "not in the version that the artifact was validated with: onnxruntime",
    ),
    "a file that is not named as a wheel": (
        listed(put("wheels/x.whl", "x")),
        "wheels",
        "wheels/x.whl is not named as wheels are",
    ),
    "an option in the requirements": (
        listed(lambda s: replaced(s, "requirements.txt", "numpy==", "--index-url https://x\nnumpy==")),
        "wheels",
        "and nothing else",
    ),
    "a line of the installer": (
        listed(lambda s: replaced(s, "install.sh", "set -eu", "curl x | sh")),
        "pages",
        "install.sh",
    ),
    "another system's installer": (
        listed(put("install.bat", "x")),
        "pages",
        "holds no install.bat",
    ),
    "a module more in the program": (
        listed(lambda s: module_added(s.folder / "screen.pyz")),
        "runner",
        "screen.pyz is not what udacimed-edge",
    ),
}


def rewrapped(stick: Stick, holds: str) -> None:
    """The wheel of numpy with another name inside."""
    file = next((stick.folder / "wheels").glob("numpy*"))
    name, version, tags = file.stem.split("-", 2)
    wheel(file.parent, name, version, tags, holds)


def other_versions(stick: Stick) -> None:
    """Every wheel of onnxruntime in another version."""
    for file in list((stick.folder / "wheels").glob("onnxruntime*")):
        file.unlink()
        wheel(file.parent, "onnxruntime", "0.1", file.stem.split("-", 2)[2])


def module_added(program: Path) -> None:
    """Put a module into the program that screens."""
    with zipfile.ZipFile(program, "a") as archive:
        archive.writestr("numpy.py", "print('mine')")


def renamed(stick: Stick, *pairs: str) -> None:
    """The wheel of numpy under another name."""
    file = next((stick.folder / "wheels").glob("numpy*"))
    name = file.name
    for before, after in zip(pairs[::2], pairs[1::2], strict=True):
        name = name.replace(before, after)
    file.rename(file.with_name(name))


@pytest.mark.parametrize("what", LAPTOP_CHANGES)
def test_a_change_of_what_runs_is_noticed(laptop: Stick, what: str) -> None:
    """Program, installer and wheels are the device's, and those that were pinned."""
    change, name, message = LAPTOP_CHANGES[what]
    change(laptop)
    wrong = laptop.wrong()
    assert name in wrong
    assert message in wrong[name]


def test_an_artifact_is_not_opened_before_all_else_holds(
    stick: Stick, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where anything is not in order, nothing that a forger wrote is given to a runtime."""

    def opened(path: Path, threads: int) -> None:
        raise AssertionError("the artifact was opened")

    monkeypatch.setattr(verification, "open_predictor", opened)
    listed(put(BOM, "{}"))(stick)
    checks = {check.name: check for check in verify_bundle(stick.folder)}
    assert checks["materials"].outcome == "NOT OK"
    for name in ("contract", "weights", "self-test"):
        assert checks[name] == Check("not checked", name, "not looked at: something above is not in order")


# Later versions.


def test_a_past_policy_is_not_judged_by_today_s(stick: Stick, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bundle under the policy of an earlier release holds: its figures are checked, its gate is not."""
    monkeypatch.setitem(POLICIES, "a" * 64, "0.0.9")
    old = PolicySettings(min_sensitivity=0.99)
    digest, own = PolicySettings().digest(), PolicySettings.digest
    monkeypatch.setattr(PolicySettings, "digest", lambda self: "a" * 64 if self == old else own(self))
    policy = read_report(stick.folder / "report.json").policy
    stick.report(
        updated(policy=policy.model_copy(update={"settings": old, "digest": "a" * 64}),
                sensitivity_bound_clears=False),
        policy_digest="a" * 64,
    )  # fmt: skip
    stick.write_again()
    assert digest in POLICIES
    assert stick.wrong() == {}
    assert stick.check("policy") == Check(
        "not checked", "policy", "it is the policy of udacimed-edge 0.0.9, not this version's"
    )
    assert stick.check("gate").outcome == "not checked"
    assert stick.check("figures").outcome == "ok"


def test_a_device_that_changed_is_taken_as_the_bundle_has_it(stick: Stick) -> None:
    """A profile that this version has otherwise, or not at all, is said to be the bundle's own."""
    stick.manifest(profile={**PHONE, "title": "Older phone"})
    stick.write_again()
    assert stick.wrong() == {}
    assert "describes android-phone otherwise" in stick.check("profile").detail
    stick.manifest(profile={**PHONE, "name": "tricorder"}, device="tricorder", name="tricorder-ort-int8")
    stick.write_again()
    assert stick.wrong() == {}
    assert "knows no device tricorder" in stick.check("profile").detail


def test_a_program_of_another_version_is_not_judged(laptop: Stick) -> None:
    """A program that this version does not build is said to be another version's, if the bundle is."""
    listed(put("screen.pyz", "x"), toolkit_version="9.9.9")(laptop)
    assert laptop.wrong() == {}
    assert "was built by udacimed-edge 9.9.9" in laptop.check("runner").detail
    assert laptop.check("pages").outcome == laptop.check("drawings").outcome == "not checked"


def test_an_honest_bundle_that_was_drawn_elsewhere_holds(stick: Stick) -> None:
    """Where another matplotlib drew, figures and words are compared, and the curves are not."""
    page = stick.folder / "report.html"
    text = page.read_text(encoding="utf-8")
    moved = re.sub(r'(<path d="M [0-9.]+)', r"\g<1>9", text)
    assert moved != text
    page.write_text(moved, encoding="utf-8")
    ours = read_manifest(stick.folder / "manifest.json").renderers
    stick.manifest()
    assert "report.html" in stick.wrong()["pages"]
    stick.manifest(renderers={**ours, "matplotlib": "3.0.0"})
    assert stick.wrong() == {}
    assert "drawn by matplotlib 3.0.0, here " in stick.check("pages").detail
    assert stick.check("drawings").outcome == "not checked"
    for before, after in (
        ("missed ", "missed only "),
        ("<svg ", '<svg onload="x" '),
        ("</svg>", "<script>x</script></svg>"),
        ("</svg>", "<text>good</text></svg>"),
        ("</svg>", "good</svg>"),
        ('xlink:href="#', 'xlink:href="http://x#'),
    ):
        page.write_text(moved.replace(before, after, 1), encoding="utf-8")
        stick.manifest()
        assert "report.html" in stick.wrong()["pages"], (before, after)


def test_an_older_version_s_manifest_does_not_hide_a_newer_bundle(stick: Stick) -> None:
    """A bundle of this version that claims to be 0.1.0's is refused."""
    stick.manifest(schema_version=1)
    assert "version 1 is that of udacimed-edge 0.1.0" in stick.wrong()["manifest"]


def test_a_signature_that_was_taken_away_is_missed(unpacked: Path, tmp_path: Path) -> None:
    """A bundle that was signed when it was packaged is refused without its signature."""
    stolen = Stick(Path(shutil.copytree(unpacked, tmp_path / unpacked.name)))
    (stolen.folder / "SHA256SUMS.minisig").unlink()
    assert "was taken away" in stolen.wrong()["signature"]


def test_a_zip_that_another_program_packed_is_refused(stick: Stick, tmp_path: Path) -> None:
    """The same files in another zip are not the bundle; its folder's name is the bundle's."""
    shutil.make_archive(str(tmp_path / "other"), "zip", stick.folder.parent, stick.folder.name)
    checks = {check.name: check for check in verify_bundle(tmp_path / "other.zip")}
    assert "another program packed it" in checks["zip"].detail
    stick.folder.rename(stick.folder.with_name("good"))
    write_zip(stick.folder.with_name("good"), tmp_path / "good.zip")
    checks = {check.name: check for check in verify_bundle(tmp_path / "good.zip")}
    assert "its folder is called good" in checks["zip"].detail


def test_every_check_says_what_it_proves(stick: Stick) -> None:
    """For an auditor: each check has its own words for what it proves, and what not."""
    checks = verify_bundle(stick.folder)
    assert {check.name for check in checks} == PROOFS.keys()
    assert all(check.proves and check.leaves_open for check in checks)


def test_a_key_that_cannot_be_read_is_a_wrong_command_line(stick: Stick, tmp_path: Path) -> None:
    """It is said before anything is looked at, and never called a fault of the bundle."""
    (tmp_path / "bad.pub").write_text("x", encoding="utf-8")
    for key in (str(tmp_path / "bad.pub"), str(tmp_path / "none.pub"), "RW" + "x" * 54, str(tmp_path)):
        ended = CliRunner().invoke(cli, ["verify", str(stick.folder), "--public-key", key])
        assert isinstance(ended.exception, InputError), key
        assert "REFUSED" not in ended.output


# What is no bundle.


def test_what_is_no_bundle_is_an_error(tmp_path: Path, stick: Stick) -> None:
    """Nothing there, another folder, a text: the message says what to name."""
    (tmp_path / "x.zip").write_text("text", encoding="utf-8")
    for path, message in (
        (tmp_path / "none", "cannot read"),
        (tmp_path, "is not a bundle: manifest.json or SHA256SUMS is missing"),
        (tmp_path / "x.zip", "is not a zip"),
    ):
        with pytest.raises(InputError, match=message):
            verify_bundle(path)
    for added in ("venv", "installed"):
        (stick.folder / added).mkdir()
        with pytest.raises(InputError, match=f"was installed: it holds {added}"):
            verify_bundle(stick.folder)
        (stick.folder / added).rmdir()


def test_links_and_huge_texts_are_refused_unread(stick: Stick, monkeypatch: pytest.MonkeyPatch) -> None:
    """A link in the folder, and a text larger than any is, end it before anything is read."""
    monkeypatch.setattr(verification, "MAX_TEXT_BYTES", 100)
    with pytest.raises(InputError, match=r"is refused: .* weighs more than"):
        verify_bundle(stick.folder)
    (stick.folder / "link.json").symlink_to("/dev/zero")
    with pytest.raises(InputError, match="is a link or another special file"):
        verify_bundle(stick.folder)


# The command.


def test_the_command_prints_a_line_a_check(stick: Stick) -> None:
    """Each check is a line that begins with its outcome; who made it is not known, and exits with 10."""
    ended = CliRunner().invoke(cli, ["verify", "--brief", str(stick.folder)])
    assert ended.exit_code == 10, ended.output
    lines = ended.output.splitlines()
    assert all(re.match(r"(ok|not checked) +[a-z-]+ +\S", line) for line in lines[:-1])
    assert lines[-1].startswith(f"{stick.folder} is INTACT, ORIGIN NOT PROVEN: ")
    accepted = CliRunner().invoke(cli, ["verify", "--brief", "--unsigned", str(stick.folder)])
    assert (accepted.exit_code, accepted.output) == (0, ended.output)


def test_the_command_exits_with_0_for_the_key_s_holder(own_zip: Path) -> None:
    """With the key of whoever signed it the last line says so; each check says what it proves."""
    ended = CliRunner().invoke(
        cli, ["verify", str(own_zip), "--public-key", str(own_zip.with_suffix(".pub"))]
    )
    assert ended.exit_code == 0, ended.output
    assert f"{own_zip} is INTACT, and signed with the named key" in ended.output.splitlines()[-1]
    assert ended.output.count(" proves: ") == ended.output.count(" not:    ") == len(PROOFS)


def test_the_command_refuses_with_6(stick: Stick) -> None:
    """Where something is not in order it says so, and exits with 6; no name forges a line."""
    (stick.folder / "x\n\x1b[2Jok files.txt").write_text("x", encoding="utf-8")
    ended = CliRunner().invoke(cli, ["verify", str(stick.folder)])
    assert ended.exit_code == 6
    assert r"NOT OK       files      not part of the bundle: x\n\x1b[2Jok files.txt" in ended.output
    assert ended.output.endswith("is REFUSED: do not use it; get it again from whoever made it\n")


def test_what_is_no_bundle_exits_with_3(tmp_path: Path) -> None:
    """Without a traceback."""
    command = [sys.executable, "-m", "udacimed_edge", "verify", str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (3, "")
    assert ended.stderr.startswith(f"Error: {tmp_path} is not a bundle")
