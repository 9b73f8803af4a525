"""What Python users call: `import udacimed_edge as edge`, then `edge.convert(...)`.

Every function takes str and Path alike, prints nothing, and raises a child of `EdgeError` where the command
line would print an error. Nothing has to stand below `if __name__ == "__main__"`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from udacimed_edge.core.artifact import Precision, locate
from udacimed_edge.core.data import DataSet
from udacimed_edge.core.data import open_data as _open_data
from udacimed_edge.core.errors import GateRefusedError, InputError
from udacimed_edge.core.machine import cores
from udacimed_edge.core.outputs import require_writable_folder
from udacimed_edge.source.load import SourceModel, find_source
from udacimed_edge.source.model import StrPath, load_model
from udacimed_edge.targets.devices.profile import DeviceProfile, find_profile, read_profile
from udacimed_edge.validation.judging.compare import Change
from udacimed_edge.validation.judging.evaluate import open_predictor
from udacimed_edge.validation.judging.inputs import IsaChoice
from udacimed_edge.validation.policy.policy import PolicySettings
from udacimed_edge.validation.report import Report, Verdict
from udacimed_edge.validation.report import read_report as _read_report
from udacimed_edge.workflow.convert import convert_all
from udacimed_edge.workflow.opened import OpenArtifact
from udacimed_edge.workflow.package import Package, PackageRequest
from udacimed_edge.workflow.package import package as _package
from udacimed_edge.workflow.plan import ConversionPlan, ItemResult, device_item, error_of, plan_all
from udacimed_edge.workflow.prepare import Calibrate
from udacimed_edge.workflow.report import compare_paths
from udacimed_edge.workflow.validate import validate_all, validate_predictions
from udacimed_edge.workflow.verify import Check, is_origin_proven, verify_bundle

if TYPE_CHECKING:  # a benchmark is not always wanted
    from udacimed_edge.benchmarking.run import BenchmarkResult

__all__ = [
    "Artifact",
    "Verification",
    "benchmark",
    "compare",
    "convert",
    "open_artifact",
    "open_data",
    "package",
    "read_report",
    "validate",
    "verify",
]

DataChoice: TypeAlias = str | Path | DataSet | None
_POLICY = PolicySettings()


@dataclass(frozen=True)
class Artifact:
    """An artifact that was converted, and passed.

    Attributes:
        path: The file, or the folder that is one; its report.json and model card lie beside it.
        report: The judgement.
        seconds: Spent on converting and judging it.
    """

    path: Path
    report: Report
    seconds: float

    @property
    def format(self) -> str:
        """Its format, for example "ort"."""
        return self.report.artifact.format

    @property
    def precision(self) -> str:
        """Its precision: "fp32", "fp16" or "int8"."""
        return self.report.artifact.precision

    @property
    def verdict(self) -> Verdict:
        """The policy's verdict on the artifact: PASS, FAIL or SKIP."""
        return self.report.verdict


@dataclass(frozen=True)
class Verification:
    """A bundle in which nothing is out of order.

    Attributes:
        checks: What was checked, and what was not, in order.
        origin_proven: Whether it is signed with the key that was named; otherwise anybody could have made it.
    """

    checks: tuple[Check, ...]
    origin_proven: bool


def open_data(data: DataChoice = None) -> DataSet:
    """The radiographs that calibrate and judge.

    Args:
        data: A MedMNIST .npz file, "medmnist" for the official download, "synthetic" for a rehearsal; or
            None for the environment variable UDACIMED_DATA, or the official file.

    Raises:
        InputError: The file is missing or no MedMNIST file, or the download failed.
    """
    if isinstance(data, DataSet):
        return data
    return _open_data(None if data is None else str(data))


def convert(
    model: SourceModel | StrPath | None = None,
    *,
    target: str | Sequence[str] = "all",
    precision: Precision | None = None,
    profile: StrPath | None = None,
    data: DataChoice = None,
    out: StrPath = "out",
    policy: PolicySettings = _POLICY,
    min_recipe: int = 1,
    max_recipe: int | None = None,
    calibrate: Calibrate = "train",
    isa: IsaChoice = "auto",
) -> list[Artifact]:
    """Convert a model, and judge each artifact from its bytes over the whole test split.

    What passes is at OUT/<format>-<precision>/ with its report and model card, the moment it has passed; what
    fails in OUT/rejected/, what cannot be executed here in OUT/unproven/.

    Args:
        model: From `load_model`, or what that takes but a model in memory; None for the reference model.
        target: A format (ort, coreml, litert, openvino, triton), "all", a device, or several of these.
        precision: "fp32", "fp16" or "int8"; None for what each target has by default.
        profile: A TOML file that describes a device of your own, instead of `target`.
        data: As for `open_data`. Training images calibrate, validation images set a threshold that the model
            does not state and choose the recipe of INT8, test images judge.
        out: The folder for the results.
        policy: The bounds; an artifact judged by other bounds than the policy's own is not packaged.
        min_recipe: The first INT8 recipe that is tried.
        max_recipe: The last one; None for all.
        calibrate: "train", or "synthetic" for the built-in sampler's images.
        isa: Which other processors' arithmetic it is judged in: "none", "here", "all"; "auto" is "here" for
            int8.

    Returns:
        The artifacts, in the order of the targets; all of them passed.

    Raises:
        InputError: Model, data, or target cannot be used.
        ExtraMissingError: A format's libraries are not installed.
        ConversionError: A converter failed or its process died.
        GateRefusedError: The source model, or an artifact, does not satisfy the policy. As for the two that
            follow, what did pass is in its place in OUT all the same.
        UnsupportedError: An artifact cannot be executed here.
        OutputError: OUT cannot be written.
    """
    require_writable_folder(Path(out), "out")
    source = model if isinstance(model, SourceModel) else load_model(model)
    items = (
        plan_all([target] if isinstance(target, str) else target, precision)
        if profile is None
        else (device_item(read_profile(Path(profile)), precision),)
    )
    plan = ConversionPlan(items, Path(out), policy, min_recipe, max_recipe, calibrate, isa)
    results = convert_all(source, open_data(data), plan, _nobody)
    error = error_of(results)
    if error is not None:
        raise error
    return [
        Artifact(result.artifact, result.report, result.seconds)
        for result in results
        if result.artifact and result.report
    ]


def _nobody(event: object) -> None:
    """Nobody watches."""


def validate(
    artifact: Artifact | StrPath,
    *,
    data: DataChoice = None,
    source: SourceModel | StrPath | None = None,
    predictions: StrPath | None = None,
    policy: PolicySettings = _POLICY,
    isa: IsaChoice = "auto",
) -> Report:
    """Judge an artifact again, from its bytes, over the whole test split.

    Args:
        artifact: The artifact, or the folder `convert` wrote.
        data: As for `open_data`.
        source: The model it was made from, as for `convert`; None for the built-in one that it names. Where
            it is not at hand, the report beside the artifact speaks for it, and the verdict is `stated`.
        predictions: A file of answers that it gave on another device, to be judged instead of running it.
        policy: The bounds.
        isa: As for `convert`.

    Returns:
        The report, whatever its verdict: look at `verdict`, `reason` and `stated`.

    Raises:
        InputError: The artifact, the data, the model or the predictions cannot be used.
        ExtraMissingError: The format's runtime is not installed.
    """
    path, dataset = _path_of(artifact), open_data(data)
    named = load_model(source) if isinstance(source, (str, Path)) else source

    def find(digest: str) -> SourceModel | None:
        return named or find_source(digest)

    if predictions is not None:
        result: ItemResult = validate_predictions(path, Path(predictions), dataset, policy, find)
    else:
        (result,) = validate_all([path], dataset, policy, find, _nobody, isa)
    if result.error is not None:
        raise result.error
    assert result.report is not None  # there is a report or an error
    return result.report


def _path_of(artifact: Artifact | StrPath) -> Path:
    return artifact.path if isinstance(artifact, Artifact) else Path(artifact)


def package(
    artifact: Artifact | StrPath,
    device: str | DeviceProfile | Path,
    *,
    out: StrPath = "bundles",
    rehearsal: bool = False,
    wheels: StrPath | None = None,
    sign: StrPath | None = None,
    password: str | None = None,
) -> Package:
    """Make what a device is given: one folder and its zip, to install and check without a network.

    Args:
        artifact: One that passed: from `convert`, or its path.
        device: A device's name, or a TOML file (as a Path) that describes one.
        out: The folder for the bundle and its zip.
        rehearsal: Package what passed on synthetic images only, marked on every page.
        wheels: A folder to take the wheels from instead of the network.
        sign: The secret key to sign with.
        password: The key's; None where it has none.

    Returns:
        The bundle's `folder` and `archive`, and what was found about the device's budgets.

    Raises:
        InputError: No artifact, a damaged report, no such device, or a wheel or key that cannot be had.
        GateRefusedError: It is not proven, does not suit the device, or breaks one of its budgets.
        ExtraMissingError: The format's runtime is not installed.
        OutputError: The bundle cannot be written.
    """
    require_writable_folder(Path(out), "out")
    if not isinstance(device, DeviceProfile):
        device = read_profile(device) if isinstance(device, Path) else find_profile(device)
    request = PackageRequest(
        device,
        Path(out),
        rehearsal,
        None if wheels is None else Path(wheels),
        None if sign is None else Path(sign),
        None if password is None else lambda: password,
    )
    return _package(_path_of(artifact), request)


def verify(bundle: Package | StrPath, *, public_key: StrPath | None = None) -> Verification:
    """Check a bundle: that nobody changed it, who made it, and that it should have been packaged.

    Args:
        bundle: From `package`, or its folder or zip. Nothing in it is run before everything else holds.
        public_key: Who must have signed it: a .pub file, or the line in it. Without it nothing shows who made
            the bundle.

    Raises:
        InputError: It is no bundle, or could do harm.
        GateRefusedError: Something is not in order; the message names it.
    """
    path = bundle.archive if isinstance(bundle, Package) else Path(bundle)
    checks = tuple(verify_bundle(path, None if public_key is None else str(public_key)))
    wrong = [f"  {check.name}: {check.detail}" for check in checks if check.outcome == "NOT OK"]
    if wrong:
        raise GateRefusedError(
            f"{path} is refused:\n" + "\n".join(wrong), "do not use it; get it again from whoever made it"
        )
    return Verification(checks, is_origin_proven(checks))


def compare(before: Artifact | StrPath, after: Artifact | StrPath) -> Change:
    """What changed between two artifacts, for whom, and whether it matters under the policy.

    Args:
        before: An artifact that was judged, the folder `convert` wrote, or a report.json.
        after: Likewise.

    Returns:
        The change; `reasons` says why it matters, and is empty where it does not.

    Raises:
        InputError: A report is missing or was changed, or the two cannot be compared.
    """
    return compare_paths(_path_of(before), _path_of(after))


def benchmark(
    artifacts: Artifact | StrPath | Sequence[Artifact | StrPath],
    *,
    batches: Sequence[int] | None = None,
    threads: int | None = None,
    rounds: int = 10,
    against: StrPath | Literal[True] | None = None,
    device: str | None = None,
) -> BenchmarkResult:
    """Measure artifacts on this machine, in turn, each in a process of its own.

    Args:
        artifacts: One or several, or their paths.
        batches: Images in one call, each 1 to 4096; None for 1, 8, 16, 32, 64 where taken.
        threads: Threads, and cores to hold to; None for all cores.
        rounds: How often each is measured.
        against: The source model to measure in the same rounds: True for the built-in one they were made
            from, or its file.
        device: One whose budget is held against the figures.

    Raises:
        InputError: An artifact or its report is damaged, or cannot take a batch.
        ExtraMissingError: A runtime is not installed.
        UnsupportedError: One cannot be computed here, or its process died.
    """
    from udacimed_edge.benchmarking.rounds import BenchmarkPlan
    from udacimed_edge.benchmarking.run import BATCHES, BenchmarkExtras, run_benchmark

    several = [artifacts] if isinstance(artifacts, (str, Path, Artifact)) else artifacts
    if not several or rounds < 1 or not all(1 <= batch <= 4096 for batch in batches or BATCHES):
        raise InputError("nothing can be measured: name an artifact, a round and batches from 1 to 4096")
    if not 1 <= (used := threads or cores()) <= cores():
        raise InputError(f"{used} threads on {cores()} cores would measure their waiting")
    wanted = tuple(sorted({*(batches or BATCHES)}))
    plan = BenchmarkPlan(rounds, wanted, used, only_fitting=batches is None)
    extras = BenchmarkExtras(
        against=Path(against) if isinstance(against, (str, Path)) else bool(against),
        profile=None if device is None else find_profile(device),
    )
    return run_benchmark([_path_of(artifact) for artifact in several], plan, extras)


def open_artifact(path: Artifact | StrPath, *, threads: int = 0) -> OpenArtifact:
    """Open an artifact through its format's own runtime; Core ML off macOS through the MIL executor.

    Args:
        path: The artifact, or the folder `convert` wrote.
        threads: Threads of one prediction; 0 for one per core.

    Raises:
        InputError: Not an artifact of ours, or damaged.
        ExtraMissingError: The format's runtime is not installed.
        UnsupportedError: It cannot be executed here.
    """
    artifact = locate(_path_of(path))
    predictor = open_predictor(artifact, threads)
    return OpenArtifact(artifact, predictor.contract, predictor.executor, predictor)


def read_report(path: StrPath) -> Report:
    """Read a report.json back and check that it is as it was written.

    Raises:
        InputError: Missing, not a report, of another version, or changed since.
    """
    return _read_report(Path(path))
