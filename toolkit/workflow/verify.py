"""Whether a bundle is what its makers packaged, and whether they should have: shown from its own files.

The checks run in groups, and a group only where those before it are in order: a file that was changed is
not parsed, and an artifact is not opened before everything else holds.

A bundle stays valid for later versions. It is judged by its own records, the profile in its manifest and the
policy in its report, and what a later version can no longer evaluate is "not checked", never "ok".
`POLICIES` keeps the policies of all versions: whoever changes a bound adds the new digest and leaves the old.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from udacimed_edge import __version__
from udacimed_edge.core.artifact import REPORT_NAME
from udacimed_edge.core.errors import EdgeError, ExtraMissingError, InputError
from udacimed_edge.core.files import path_digest
from udacimed_edge.runtime import selftest
from udacimed_edge.runtime.contract import ArtifactError, Contract, Predictor
from udacimed_edge.runtime.installer import FOLDER as INSTALLED
from udacimed_edge.targets.bundle import inspection
from udacimed_edge.targets.bundle.archive import require_plain, unpack
from udacimed_edge.targets.bundle.inspection import Contents, NotCheckedError, require
from udacimed_edge.targets.bundle.manifest import MANIFEST, SUMS, manifest_of, manifest_text
from udacimed_edge.targets.bundle.signing import read_public_key
from udacimed_edge.targets.bundle.spec import BundleSpec
from udacimed_edge.targets.bundle.vectors import VECTORS
from udacimed_edge.targets.bundle.wheel_check import check_wheels, wheels_in
from udacimed_edge.validation.judging.audit import count_macs, weight_dtypes
from udacimed_edge.validation.judging.evaluate import open_predictor
from udacimed_edge.validation.judging.recheck import judge_again, recompute, wrong_figures
from udacimed_edge.validation.policy.clauses import Evidence
from udacimed_edge.validation.policy.policy import PolicySettings
from udacimed_edge.validation.report import Report, read_report
from udacimed_edge.workflow.compare_pages import differing, drawn_by
from udacimed_edge.workflow.pages import HTML_NAME, render_all, renderers, summary_of
from udacimed_edge.workflow.proofs import PROOFS

__all__ = ["POLICIES", "Check", "Outcome", "is_origin_proven", "verify_bundle"]

POLICIES = {
    "e2578dff7732ed3d827c54772c2507ca6fd91b50c6e22943aa416e6f86f0b6c0": "0.1.0",
    "478996aa330ff154a6dd1e0192892e9810d814603b6e529bd084af5aa1472215": "0.2.0",
}
"""The digest of each version's policy, and the first version that had it."""

MAX_TEXT_BYTES = 8 << 20
"""Most that a file may weigh that is read as text at once; a report weighs 60 kB, its page 110 kB."""

_TEXTS = ("*.json", "*.txt", "*.md", "*.html", "*.sh", "*.bat", f"{SUMS}*")

Outcome = Literal["ok", "NOT OK", "not checked"]


@dataclass(frozen=True)
class Check:
    """One line of the result.

    Attributes:
        outcome: "ok" only where it was evaluated here and holds.
        name: What was looked at.
        detail: What was found, or why it was not checked.
    """

    outcome: Outcome
    name: str
    detail: str

    @property
    def proves(self) -> str:
        """What follows where it is "ok"."""
        return PROOFS[self.name][0]

    @property
    def leaves_open(self) -> str:
        """What does not follow."""
        return PROOFS[self.name][1]


@dataclass(frozen=True)
class _Bundle(Contents):
    """A bundle with what its report and its artifact say."""

    @cached_property
    def report(self) -> Report:
        try:
            return read_report(self.folder / REPORT_NAME)
        except RecursionError as error:
            raise InputError(f"{REPORT_NAME} is not a report: {error}") from error

    @cached_property
    def evidence(self) -> Evidence:
        return recompute(self.report)

    @cached_property
    def spec(self) -> BundleSpec:
        """What it was made from, in its own words."""
        manifest = self.manifest
        return BundleSpec(
            profile=manifest.profile,
            report=self.report,
            artifact=manifest.artifact,
            summary=summary_of(self.report),
            executor=str(self.vectors["computed_by"]),
            signed=manifest.signed,
            budgets=manifest.budgets,
            toolkit_version=manifest.toolkit_version,
            contact=manifest.contact,
        )

    @cached_property
    def made_again(self) -> dict[str, bytes]:
        """What this version writes from the same, by name.

        Raises:
            NotCheckedError: Another version wrote the bundle.
        """
        version = self.manifest.toolkit_version
        if self.manifest.schema_version == 1 or version != __version__:
            raise NotCheckedError(
                f"written by udacimed-edge {version}; this one, {__version__}, makes only its own pages again"
            )
        wheels = wheels_in(self) if self.runner else ()
        return render_all(self.spec, wheels)

    @cached_property
    def predictor(self) -> Predictor:
        return open_predictor(self.artifact, threads=1)


def verify_bundle(path: Path, public_key: str | None = None) -> list[Check]:
    """Check a bundle.

    Args:
        path: Its folder or zip. A zip is unpacked into a temporary folder, once it is known to do no harm.
        public_key: minisign's public key, a file or its base64 line; None to leave a signature unchecked.

    Returns:
        What was checked and what was not, in the order of the checks.

    Raises:
        InputError: The key cannot be read; it is no bundle, or its zip or folder could do harm.
        OutputError: The zip cannot be unpacked.
    """
    key = None if public_key is None else read_public_key(public_key)
    with _opened(path) as folder:
        _require_bundle(path, folder)
        bundle = _Bundle(folder, key, None if path.is_dir() else path)
        checks: list[Check] = []
        for group in _GROUPS:
            in_order = all(check.outcome != "NOT OK" for check in checks)
            for name, check in group.items():
                unread = Check("not checked", name, "not looked at: something above is not in order")
                checks.append(_run(name, check, bundle) if in_order else unread)
        return checks


def is_origin_proven(checks: Sequence[Check]) -> bool:
    """Whether the bundle was signed with the key that was named."""
    return any(check.name == "signature" and check.outcome == "ok" for check in checks)


@contextmanager
def _opened(path: Path) -> Iterator[Path]:
    if path.is_dir():
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="udacimed-verify-") as place:
        yield unpack(path, Path(place))


def _require_bundle(path: Path, folder: Path) -> None:
    """Make sure that it can be looked at.

    Raises:
        InputError: No bundle, with a link or special file in it, or with a text too large to be one.
    """
    if not (folder / MANIFEST).is_file() or not (folder / SUMS).is_file():
        raise InputError(f"{path} is not a bundle: {MANIFEST} or {SUMS} is missing", "name its folder or zip")
    for added in (INSTALLED, "venv"):  # what install scripts add, today's and 0.1.0's
        if (folder / added).exists():
            what = f"{path} was installed: it holds {added}, which is no part of it"
            raise InputError(what, "verify its zip")
    require_plain(folder)
    for file in (file for pattern in _TEXTS for file in folder.rglob(pattern)):
        if file.stat().st_size > MAX_TEXT_BYTES:
            raise InputError(f"{path} is refused: {file.name} weighs more than {MAX_TEXT_BYTES >> 20} MiB")


def _run(name: str, check: Callable[[_Bundle], str], bundle: _Bundle) -> Check:
    try:
        return Check("ok", name, check(bundle))
    except EdgeError as error:
        here = isinstance(error, (NotCheckedError, ExtraMissingError))
        text = "; ".join(filter(None, (error.message, error.hint)))
        return Check("not checked" if here else "NOT OK", name, text)
    except ArtifactError as error:
        return Check("NOT OK", name, str(error))


def _check_report(bundle: _Bundle) -> str:
    """It is as it was sealed, and says of the artifact what the manifest says."""
    report, manifest = bundle.report, bundle.manifest
    digest = path_digest(bundle.artifact)
    require(report.artifact.digest == digest, "it speaks of another artifact than the one in the bundle")
    told = {
        "artifact_digest": digest,
        "report_digest": report.report_digest,
        "format": report.artifact.format,
        "precision": report.artifact.precision,
        "source_digest": report.source.digest,
        "threshold": report.threshold,
        "policy_digest": report.policy.digest,
        "rehearsal": report.rehearsal,
    }
    other = [name for name, value in told.items() if getattr(manifest, name) != value]
    require(not other, f"manifest and report differ in {', '.join(other)}")
    require(report.verdict == "PASS", f"its verdict is {report.verdict}: {report.reason}")
    old = report.toolkit_version == "0.1.0"
    require(report.basis is not None or old, "it does not say what its verdict rests on")
    told_by = report.basis is not None and report.basis.source == "stated"
    require(not told_by, f"it rests on somebody's word for the source model: {report.basis}")
    basis = "what it rests on was not recorded then" if report.basis is None else str(report.basis)
    return f"{report.verdict_words}, for this very artifact ({digest[:12]}), judged {report.created}; {basis}"


def _check_policy(bundle: _Bundle) -> str:
    """The bounds are those of a version, not somebody's own."""
    stated = bundle.report.policy
    require(stated.digest in POLICIES, "it was judged by bounds that no version had, up to this one")
    require(stated.settings.digest() == stated.digest, "its bounds are not those that its digest stands for")
    if stated.digest != PolicySettings().digest():
        raise NotCheckedError(
            f"it is the policy of udacimed-edge {POLICIES[stated.digest]}, not this version's"
        )
    return "the policy's own bounds"


def _check_figures(bundle: _Bundle) -> str:
    """Every figure follows from the probabilities in the report."""
    wrong = wrong_figures(bundle.report, bundle.evidence)
    require(not wrong, f"in the report, {', '.join(wrong)} are not what its own probabilities give")
    return f"computed again from {len(bundle.report.predictions.labels)} probabilities, and the same"


def _check_gate(bundle: _Bundle) -> str:
    """The policy lets these figures pass."""
    stated = bundle.report.policy
    if stated.digest != PolicySettings().digest():
        raise NotCheckedError("its policy is not this version's; its figures are computed again above")
    clauses = judge_again(bundle.report, bundle.evidence)
    failed = [str(clause) for clause in clauses if not clause.passed]
    require(not failed, f"the policy refuses it: {'; '.join(failed)}")
    require(
        clauses == stated.clauses, "the clauses in the report are not what the policy says of its figures"
    )
    return f"evaluated again: all {len(clauses)} clauses hold"


def _check_pages(bundle: _Bundle) -> str:
    """The pages and lists are those that the report, the device and the wheels give."""
    made, manifest = bundle.made_again, bundle.manifest
    theirs = {name: (bundle.folder / name).read_bytes() for name in made if name in bundle.names}
    require(theirs.keys() == made.keys(), f"missing: {', '.join(sorted(made.keys() - theirs.keys()))}")
    more = sorted(inspection.MADE_AGAIN & bundle.names - made.keys())
    require(not more, f"a bundle for {manifest.device} holds no {', '.join(more)}")
    again = manifest_text(manifest_of(bundle.spec, manifest.renderers, manifest.files))
    same = again.encode() == (bundle.folder / MANIFEST).read_bytes()
    require(same, f"{MANIFEST} is not what report, device and files give")
    wrong = differing(theirs, made, by_words=manifest.renderers != renderers())
    require(not wrong, f"not what report, device and wheels give: {', '.join(wrong)}")
    how = "byte for byte the same" if theirs == made else f"in the same words; {drawn_by(manifest.renderers)}"
    return f"made again, {how}: {', '.join(sorted(made))}"


def _check_drawings(bundle: _Bundle) -> str:
    """The curves in report.html are drawn from its report."""
    if (bundle.folder / HTML_NAME).read_bytes() != bundle.made_again[HTML_NAME]:
        raise NotCheckedError(f"{drawn_by(bundle.manifest.renderers)}: the curves were not compared")
    return "drawn again, and the same"


def _check_rehearsal(bundle: _Bundle) -> str:
    """What was judged on synthetic images says so on every page."""
    report = bundle.report
    require(
        report.rehearsal == (report.data.origin == "synthetic"), "the report hides that it is a rehearsal"
    )
    if not report.rehearsal:
        return f"judged on {report.data.name} ({report.data.origin})"
    pages = [n for n in bundle.digests if n.endswith((".txt", ".md", ".html")) and n != "requirements.txt"]
    silent = [n for n in pages if b"REHEARSAL" not in (bundle.folder / n).read_bytes()]
    require(not silent, f"a rehearsal, and {', '.join(silent)} do not say so")
    return "a REHEARSAL, which is no evidence, and every page says so"


def _check_contract(bundle: _Bundle) -> str:
    """What the artifact says inside its own bytes is what the report says of it."""
    inside, report = _contract(bundle), bundle.report
    # read as a contract is: an older report lacks the fields that this version added
    stated = Contract.from_json(json.dumps(report.artifact.contract))
    require(inside == stated, "it is not the one in the report")
    says = (report.artifact.format, report.artifact.precision, report.threshold, report.source.digest)
    told = (inside.format, inside.precision, inside.threshold, inside.source_digest)
    require(told == says, f"the artifact says {told}, its report {says}")
    return f"read from the artifact: {inside.precision}, threshold {inside.threshold:.4f}"


def _contract(bundle: _Bundle) -> Contract:
    if bundle.artifact.suffix != ".mlpackage":
        return bundle.predictor.contract
    from udacimed_edge.runtime.coreml import read_contract

    return read_contract(bundle.artifact)


def _check_weights(bundle: _Bundle) -> str:
    """Its tensors have the types that the report counted."""
    if bundle.artifact.suffix == ".mlpackage":
        raise NotCheckedError("counting a Core ML package's takes long: `udacimed-edge validate` does")
    executor, stated = bundle.predictor.executor, bundle.report.artifact
    counted, work = weight_dtypes(bundle.artifact), count_macs(bundle.artifact)
    require(counted == stated.weight_dtypes, f"the report says {stated.weight_dtypes}, its tensors {counted}")
    # an older report does not count operators; the policy of this version refuses one that does not
    require(stated.macs in ({}, work.macs), f"the report says {stated.macs}, its operators {work.macs}")
    found = ", ".join(f"{dtype} {count:,}" for dtype, count in sorted(counted.items()))
    return f"counted in its tensors, with {executor}: {found}"


def _check_selftest(bundle: _Bundle) -> str:
    """The artifact answers here as it did when it was packaged."""
    if bundle.artifact.suffix == ".mlpackage":
        raise NotCheckedError("a Core ML package computes on a Mac, iPhone or iPad")
    verdict = selftest.check(bundle.folder / VECTORS, bundle.predictor, bundle.manifest.artifact_digest)
    require(verdict.passed, f"it does not compute here as it did: {verdict.message}")
    return f"run here with {bundle.predictor.executor}: {verdict.message}"


def _check_evidence(bundle: _Bundle) -> str:
    if bundle.report.rehearsal:
        raise NotCheckedError("REHEARSAL: judged on synthetic images, this shows nothing about any patient")
    raise NotCheckedError(
        "that the artifact gives these probabilities for real radiographs: "
        f"udacimed-edge validate {bundle.manifest.artifact} --data FILE shows it"
    )


_GROUPS: tuple[dict[str, Callable[[_Bundle], str]], ...] = (
    {"files": inspection.check_files, "digests": inspection.check_digests},
    {
        "manifest": inspection.check_manifest,
        "signature": inspection.check_signature,
        "zip": inspection.check_zip,
        "parts": inspection.check_parts,
    },
    {
        "report": _check_report,
        "policy": _check_policy,
        "figures": _check_figures,
        "gate": _check_gate,
        "rehearsal": _check_rehearsal,
        "device": inspection.check_device,
        "profile": inspection.check_profile,
        "vectors": lambda bundle: inspection.check_vectors(bundle, bundle.report),
        "materials": inspection.check_bom,
        "runner": inspection.check_runner,
        "wheels": lambda bundle: check_wheels(bundle, bundle.report.environment.tools),
        "budgets": inspection.check_budgets,
    },
    {"pages": _check_pages, "drawings": _check_drawings},
    {"contract": _check_contract, "weights": _check_weights, "self-test": _check_selftest},
    {"evidence": _check_evidence},
)
