"""From a proven artifact to a bundle, and what is refused on the way."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from udacimed_edge.cli.main import main
from udacimed_edge.core.data import open_data
from udacimed_edge.core.errors import EdgeError, GateRefusedError, InputError, OutputError
from udacimed_edge.runtime.reader import open_artifact
from udacimed_edge.source.load import SourceModel, load_source
from udacimed_edge.targets.bundle.manifest import read_manifest
from udacimed_edge.targets.bundle.signing import generate_key, verify
from udacimed_edge.targets.bundle.wheels import pin
from udacimed_edge.targets.devices.profile import DeviceProfile, find_profile
from udacimed_edge.validation.policy.policy import PolicySettings
from udacimed_edge.validation.report import Report, read_report, with_digest, write_report
from udacimed_edge.workflow import package as package_module
from udacimed_edge.workflow.convert import convert_all
from udacimed_edge.workflow.package import Package, PackageRequest, add_runner, package
from udacimed_edge.workflow.plan import ConversionPlan, Item

if TYPE_CHECKING:
    import torch

LENIENT = PolicySettings(min_sensitivity=0, max_specificity_drop=1, max_auc_drop=1, min_agreement=0)
LAPTOP = find_profile("clinic-laptop")


def roomy(profile: DeviceProfile) -> DeviceProfile:
    """The same device with budgets that no busy machine breaks, which takes the test's artifact."""
    budget = {"size_mib": 48.0, "ram_mib": 1e5, "latency_ms": 1e5, "images_per_second": 1e-3}
    fields = profile.model_dump(mode="json")
    fields["formats"] = [{"target": "ort", "precision": "fp32"}]
    return DeviceProfile.model_validate_json(json.dumps({**fields, "budget": budget}))


@dataclass(frozen=True)
class Proven:
    """An artifact with its report, in a folder of its own."""

    folder: Path
    report: Report

    def told(self, **changes: object) -> None:
        """Write another report beside the artifact."""
        write_report(with_digest(self.report.model_copy(update=changes)), self.folder / "report.json")


@pytest.fixture(scope="module")
def converted(
    small_network: torch.nn.Module,
    small_answers: Callable[[NDArray[np.uint8]], NDArray[np.float64]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """The folder of the small network as an fp32 ORT artifact that passed a rehearsal."""
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    data, out = open_data("synthetic"), tmp_path_factory.mktemp("converted")
    test = data.read("test")
    threshold = float(np.quantile(small_answers(test.images[test.labels == 0]), 0.6))
    source = SourceModel("small", small_network, "2" * 64, threshold, "chosen for a test", dynamic_batch=True)
    (result,) = convert_all(
        source, data, ConversionPlan((Item("ort", "fp32"),), out, LENIENT), lambda event: None
    )
    assert result.artifact is not None
    return result.artifact.parent


@pytest.fixture
def proven(converted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Proven:
    """The same artifact as if it had passed on real radiographs, by the policy's own bounds.

    Its figures say otherwise, which `package` would notice.
    """
    monkeypatch.setattr(package_module, "_require_consistent", lambda artifact, report: None)
    folder = tmp_path / "artifact"
    shutil.copytree(converted, folder)
    report, settings = read_report(folder / "report.json"), PolicySettings()
    policy = report.policy.model_copy(update={"settings": settings, "digest": settings.digest()})
    data = report.data.model_copy(update={"origin": "custom", "name": "file.npz"})
    changes = {"rehearsal": False, "title": "ort fp32 of small", "policy": policy, "data": data}
    found = Proven(folder, with_digest(report.model_copy(update=changes)))
    found.told()
    return found


@pytest.fixture(scope="module")
def wheels(converted: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of wheels that hold nothing, in the versions that the artifact was validated with."""
    folder = tmp_path_factory.mktemp("wheels")
    assert LAPTOP.runner is not None
    tools = read_report(converted / "report.json").environment.tools
    for requirement in pin(LAPTOP.runner.requirements["ort"], tools):
        name, _, version = requirement.partition("==")
        stem = f"{name.replace('-', '_')}-{version}"
        info = f"{stem}.dist-info"
        with zipfile.ZipFile(folder / f"{stem}-py3-none-any.whl", "w") as wheel:
            wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
            wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            wheel.writestr(f"{info}/RECORD", "")
    return folder


RUNS = {
    "SHA256SUMS", "START-HERE.txt", "bom.cdx.json", "install.sh", "manifest.json", "model-card.md",
    "model.ort", "report.html", "report.json", "requirements.txt", "screen.pyz", "selftest", "wheels",
}  # fmt: skip
IN_AN_APP = {*RUNS, "README.md"} - {"install.sh", "requirements.txt", "screen.pyz", "wheels"}


def names(folder: Path) -> set[str]:
    """What lies in a folder."""
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda report: {"sensitivity_bound_clears": False}, "sensitivity: "),
        (
            lambda report: {"metrics": report.source.metrics.model_copy(update={"auc": 0.999})},
            "its report contradicts itself in metrics",
        ),
    ],
)
def test_a_report_that_contradicts_itself_is_no_proof(
    edit: Callable[[Report], dict[str, Any]],
    message: str,
    proven: Proven,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """PASS is a word: figures that probabilities contradict, or the policy refuses, are not packaged."""
    monkeypatch.undo()
    proven.told(**edit(proven.report))
    with pytest.raises(GateRefusedError, match=message):
        package(proven.folder, PackageRequest(roomy(LAPTOP), tmp_path / "out"))


def test_a_built_in_model_decides_at_its_own_threshold(proven: Proven, tmp_path: Path) -> None:
    """Another threshold for a built-in model, from whatever command line, is not packaged."""
    source = proven.report.source.model_copy(update={"digest": load_source(None).digest})
    proven.told(source=source)
    with pytest.raises(GateRefusedError, match="that of the built-in model small is"):
        package(proven.folder, PackageRequest(roomy(LAPTOP), tmp_path / "out"))


def test_a_bundle_holds_what_a_clinic_needs(proven: Proven, wheels: Path, tmp_path: Path) -> None:
    """The folder and its zip hold the artifact, what runs, explains and proves it, and nothing else."""
    made = package(proven.folder, PackageRequest(roomy(LAPTOP), tmp_path / "out", wheels=wheels))
    assert names(tmp_path / "out") == {"clinic-laptop-ort-fp32", "clinic-laptop-ort-fp32.zip"}
    assert names(made.folder) == RUNS
    assert (made.folder / "model.ort").read_bytes() == (proven.folder / "model.ort").read_bytes()
    assert read_report(made.folder / "report.json") == proven.report
    inside = {f"{made.folder.name}/{f.relative_to(made.folder).as_posix()}" for f in made.folder.rglob("*.*")}
    with zipfile.ZipFile(made.archive) as archive:
        assert {*archive.namelist(), f"{made.folder.name}/SHA256SUMS"} == inside | {
            f"{made.folder.name}/SHA256SUMS"
        }
    manifest = read_manifest(made.folder / "manifest.json")
    assert (manifest.artifact_digest, manifest.report_digest) == (
        proven.report.artifact.digest,
        proven.report.report_digest,
    )
    assert not manifest.rehearsal
    assert len((made.folder / "requirements.txt").read_text().splitlines()) == 7


def test_the_program_in_it_passes_its_self_test(proven: Proven, wheels: Path, tmp_path: Path) -> None:
    """`screen.pyz --selftest` finds its 32 radiographs, and screens beside them."""
    made = package(proven.folder, PackageRequest(roomy(LAPTOP), tmp_path / "out", wheels=wheels))
    command = [sys.executable, str(made.folder / "screen.pyz"), "--selftest"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "self-test passed: 32 images, largest difference 0 " in ended.stdout


def test_the_same_inputs_give_the_same_bytes(proven: Proven, wheels: Path, tmp_path: Path) -> None:
    """Two signed bundles of one artifact are the same, byte for byte, wherever they are made."""
    generate_key(tmp_path / "key", tmp_path / "key.pub")
    made = [
        package(
            proven.folder, PackageRequest(roomy(LAPTOP), tmp_path / out, wheels=wheels, key=tmp_path / "key")
        )
        for out in ("one", "two")
    ]
    assert made[0].archive.read_bytes() == made[1].archive.read_bytes()
    sums = made[0].folder / "SHA256SUMS"
    comment = verify(sums, sums.with_name("SHA256SUMS.minisig"), tmp_path / "key.pub")
    assert comment.startswith("udacimed-edge bundle clinic-laptop-ort-fp32, report ")


def test_an_app_gets_no_program(proven: Proven, tmp_path: Path) -> None:
    """A phone's bundle has the model, its proof and a README with the threshold, nothing to install."""
    made = package(proven.folder, PackageRequest(roomy(find_profile("android-phone")), tmp_path / "out"))
    assert names(made.folder) == IN_AN_APP
    assert f"const val THRESHOLD = {proven.report.threshold}" in (made.folder / "README.md").read_text()


def test_a_rehearsal_is_marked_on_every_page(
    converted: Path, wheels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With --rehearsal it is packaged, and every text a person or program reads says what it is."""
    monkeypatch.setattr(package_module, "_require_consistent", lambda artifact, report: None)
    report = read_report(converted / "report.json")
    policy = report.policy.model_copy(
        update={"settings": PolicySettings(), "digest": PolicySettings().digest()}
    )
    shutil.copytree(converted, tmp_path / "artifact")
    write_report(
        with_digest(report.model_copy(update={"policy": policy})), tmp_path / "artifact" / "report.json"
    )
    request = PackageRequest(roomy(LAPTOP), tmp_path / "out", rehearsal=True, wheels=wheels)
    made = package(tmp_path / "artifact", request)
    pages = {f for f in made.folder.rglob("*") if f.suffix in (".txt", ".md", ".html", ".json", ".sh")}
    silent = {f.name for f in pages if "REHEARSAL" not in f.read_text(encoding="utf-8")}
    assert silent == {"requirements.txt"}
    assert read_manifest(made.folder / "manifest.json").rehearsal


def _without_report(proven: Proven) -> None:
    (proven.folder / "report.json").unlink()


def _other_bytes(proven: Proven) -> None:
    content = bytearray((proven.folder / "model.ort").read_bytes())
    content[-1] ^= 0xFF
    (proven.folder / "model.ort").write_bytes(content)


def _other_policy(proven: Proven) -> None:
    settings = PolicySettings(min_sensitivity=0.5)
    proven.told(
        policy=proven.report.policy.model_copy(update={"settings": settings, "digest": settings.digest()})
    )


def _relabelled_policy(proven: Proven) -> None:
    proven.told(policy=proven.report.policy.model_copy(update={"settings": LENIENT}))


def _stated_source(proven: Proven) -> None:
    assert proven.report.basis is not None
    proven.told(basis=proven.report.basis.model_copy(update={"source": "stated"}))


def _claims(**changes: Any) -> Callable[[Proven], None]:
    return lambda proven: proven.told(**changes)


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (_without_report, "is not proven: there is no report"),
        (_claims(verdict="FAIL", reason="agreement: 0.5"), "is not proven: agreement: 0.5"),
        (_claims(rehearsal=True), "it passed a rehearsal only"),
        (_claims(basis=None), "its source model is only stated"),
        (lambda proven: _stated_source(proven), "its source model is only stated"),
        (_other_bytes, "its report report.json speaks of other bytes"),
        (_other_policy, "other bounds than the policy's own"),
        (_relabelled_policy, "other bounds than the policy's own"),
        (_claims(threshold=0.9), r"the report was made for the threshold 0.9, and the artifact's own is 0\."),
    ],
)
def test_what_is_not_proven_is_refused(
    break_it: Callable[[Proven], None], message: str, proven: Proven, wheels: Path, tmp_path: Path
) -> None:
    """There is no bundle, and no part of one, for what has no passing report of its own."""
    break_it(proven)
    with pytest.raises(GateRefusedError, match=message):
        package(proven.folder, PackageRequest(roomy(LAPTOP), tmp_path / "out", wheels=wheels))
    assert not (tmp_path / "out").exists()


def test_answers_that_were_only_stated_are_marked(proven: Proven, tmp_path: Path) -> None:
    """What a device's maker says it answered is packaged, and called stated on the first screen."""
    basis = proven.report.basis
    assert basis is not None
    proven.told(basis=basis.model_copy(update={"answers": "stated", "answers_by": "a phone (p.csv)"}))
    made = package(proven.folder, PackageRequest(roomy(find_profile("android-phone")), tmp_path / "out"))
    first = " ".join(" ".join((made.folder / "START-HERE.txt").read_text().split())[:1500].split())
    assert "STATED, NOT PROVEN" in first
    assert "not executed here: a phone (p.csv)" in first


def test_the_contact_is_on_the_page(proven: Proven, tmp_path: Path) -> None:
    """Whom to call stands in START-HERE.txt and in the manifest; more than a line is refused."""
    device = roomy(find_profile("android-phone"))
    made = package(proven.folder, PackageRequest(device, tmp_path / "out", contact="Dr. Ada, 030 1"))
    assert "Dr. Ada, 030 1" in (made.folder / "START-HERE.txt").read_text()
    assert read_manifest(made.folder / "manifest.json").contact == "Dr. Ada, 030 1"
    with pytest.raises(InputError, match="one printable line"):
        package(proven.folder, PackageRequest(device, tmp_path / "out", contact="a\nb"))


def _with_budget(**changes: float) -> DeviceProfile:
    device = roomy(LAPTOP)
    return device.model_copy(update={"budget": device.budget.model_copy(update=changes)})


@pytest.mark.parametrize(
    ("device", "message"),
    [
        (find_profile("intel-nuc"), "intel-nuc takes no ort fp32\nit takes, best first: openvino int8"),
        (_with_budget(size_mib=0.001), "MiB, and clinic-laptop allows 0.001"),
        (_with_budget(latency_ms=1e-6), "latency_ms .* ms, allowed at most 1e-06"),
        (_with_budget(ram_mib=1.0), "ram_mib .* MiB, allowed at most 1"),
    ],
)
def test_what_does_not_suit_the_device_is_refused(
    device: DeviceProfile, message: str, proven: Proven, wheels: Path, tmp_path: Path
) -> None:
    """A format the device does not take, or a broken budget, leaves nothing behind."""
    if "ram_mib" in message and not Path("/proc/self/status").exists():
        pytest.skip("this system does not say how much memory was used")
    with pytest.raises(GateRefusedError, match=message):
        package(proven.folder, PackageRequest(device, tmp_path / "out", wheels=wheels))
    assert not list((tmp_path / "out").glob("*"))


def test_a_failure_leaves_the_earlier_bundle(proven: Proven, wheels: Path, tmp_path: Path) -> None:
    """Without its wheels a bundle is not replaced, nor left half-made."""
    made = package(proven.folder, PackageRequest(roomy(LAPTOP), tmp_path / "out", wheels=wheels))
    before = made.archive.read_bytes()
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="there is no wheel of numpy=="):
        package(proven.folder, PackageRequest(roomy(LAPTOP), tmp_path / "out", wheels=tmp_path / "empty"))
    assert names(tmp_path / "out") == {made.folder.name, made.archive.name}
    assert (made.archive.read_bytes(), names(made.folder)) == (before, RUNS)


def _results_inside(made: Package) -> Path:
    (made.folder / "results.csv").write_text("a patient's")
    return made.folder / "results.csv"


def _folder_for_the_zip(made: Package) -> Path:
    made.archive.unlink()
    made.archive.mkdir()
    return made.archive


@pytest.mark.parametrize(
    ("put", "message"),
    [
        (_results_inside, "was not replaced: it holds results.csv, which is no part of a bundle"),
        (_folder_for_the_zip, "something that is no file stands there"),
    ],
)
def test_nothing_but_a_bundle_is_replaced(
    put: Callable[[Package], Path], message: str, proven: Proven, tmp_path: Path
) -> None:
    """Results that a technician wrote into the bundle are not lost."""
    request = PackageRequest(roomy(find_profile("android-phone")), tmp_path / "out")
    kept = put(package(proven.folder, request))
    with pytest.raises(OutputError, match=message):
        package(proven.folder, request)
    assert kept.exists()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "name either --target or --profile"),
        (["--target", "clinic-latop"], 2, "did you mean 'clinic-laptop'?"),
        (["--target", "ort"], 2, "there is no device 'ort'"),
        (["none", "--target", "clinic-laptop"], 3, "there is no artifact at none"),
        (["--target", "clinic-laptop", "--data", "synthetic"], 6, "is a rehearsal, and not packaged"),
    ],
)
def test_a_wrong_command_line_is_explained(
    arguments: list[str],
    code: int,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Each mistake has its exit code and says what to do; synthetic data is refused before converting."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["udacimed-edge", "package", *arguments])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == code
    assert message in " ".join(capsys.readouterr().err.split())


def test_the_command_says_what_was_measured_where(
    proven: Proven, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It prints folder, zip and budgets, and that they were measured here, not on the device."""
    profile = roomy(find_profile("android-phone")).model_dump()
    lines = [f"{key} = {json.dumps(profile[key])}" for key in ("name", "title", "description", "minimum")]
    lines += [f'{key} = "{profile[key]}"' for key in ("operating_system", "architecture")]
    lines += ['formats = [{ target = "ort", precision = "fp32" }]', "[budget]"]
    lines += [f"{key} = {value}" for key, value in profile["budget"].items()]
    (tmp_path / "mine.toml").write_text("\n".join(lines))
    monkeypatch.chdir(tmp_path)
    command = ["udacimed-edge", "package", str(proven.folder), "--profile", "mine.toml", "--out", "out"]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit) as caught:
        main()
    assert not caught.value.code
    said = capsys.readouterr()
    assert said.out.splitlines()[:2] == ["out/android-phone-ort-fp32", "out/android-phone-ort-fp32.zip"]
    assert "on the machine that packaged, not on the device; self-test: 32 images" in said.out
    assert "verify out/android-phone-ort-fp32.zip" in said.err


@pytest.mark.slow
def test_without_an_artifact_it_converts_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A rehearsal on synthetic images becomes a marked bundle, in the format the device likes best."""
    pytest.importorskip("litert_torch")
    command = ["udacimed-edge", "package", "--target", "android-phone", "--data", "synthetic", "--rehearsal"]
    monkeypatch.setattr(sys, "argv", [*command, "--out", str(tmp_path)])
    with pytest.raises(SystemExit) as caught:
        main()
    assert not caught.value.code, capsys.readouterr().err
    assert names(tmp_path) == {"android-phone-litert-int8", "android-phone-litert-int8.zip"}
    assert (tmp_path / "android-phone-litert-int8.zip").stat().st_size < 13_000_000


@pytest.mark.parametrize("break_it", [_without_report, _claims(rehearsal=True), _other_bytes, _other_policy])
def test_no_program_for_what_is_not_proven(break_it: Callable[[Proven], None], proven: Proven) -> None:
    """The clinic's program is put only beside an artifact with a passing report on real radiographs."""
    break_it(proven)
    with pytest.raises(GateRefusedError, match="is not proven"):
        add_runner(proven.folder)
    assert not (proven.folder / "screen.pyz").exists()


def test_no_program_for_an_app(tmp_path: Path) -> None:
    """A Core ML package runs in an app."""
    (tmp_path / "model.mlpackage").mkdir()
    with pytest.raises(EdgeError, match="runs in an app, not in Python"):
        add_runner(tmp_path)


def test_a_program_for_what_is_proven(proven: Proven, tmp_path: Path) -> None:
    """Beside a proven artifact the program screens an image, with no more than the artifact's folder."""
    pixels = open_data("synthetic").read("test").images[0]
    Image.fromarray(pixels).save(tmp_path / "image.png")
    command = [sys.executable, str(add_runner(proven.folder)), str(tmp_path / "image.png")]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    (probability,) = open_artifact(proven.folder / "model.ort").predict(pixels[None])
    assert f"{probability:.4f}"[:5] in said
    assert "not a diagnosis" in said


def test_a_bundle_can_be_read_by_others_whatever_the_umask_was(proven: Proven, tmp_path: Path) -> None:
    """Made under umask 077, every file and folder of a bundle, and its zip, are readable for all."""
    before = os.umask(0o077)
    try:
        made = package(proven.folder, PackageRequest(roomy(find_profile("android-phone")), tmp_path / "out"))
    finally:
        os.umask(before)
    for path in (made.archive, made.folder, *made.folder.rglob("*")):
        assert path.stat().st_mode & 0o044 == 0o044, path
