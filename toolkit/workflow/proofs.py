"""What each check of `verify` proves where it holds, and what it leaves open: for whoever audits a bundle."""

from __future__ import annotations

__all__ = ["PROOFS"]

_NOT_HONEST = "that whoever made it was honest"
_DEVICE = "that your device is as described"

PROOFS: dict[str, tuple[str, str]] = {
    "files": ("nothing was lost or added since it was listed", _NOT_HONEST),
    "digests": ("no file was changed since it was listed", _NOT_HONEST),
    "manifest": ("the manifest speaks of these files and of one device", _NOT_HONEST),
    "signature": (
        "whoever holds that key listed these very files",
        "that the key is the one you think: get it from its holder, not with the bundle",
    ),
    "zip": (
        "every program that unpacks it finds these files and no other",
        "anything about a copy that was unpacked earlier",
    ),
    "parts": ("it holds what its device needs, and nothing else", "what the files do"),
    "report": (
        "the report is of this very artifact and says PASS",
        "that its figures are true: see evidence",
    ),
    "policy": (
        "it was judged by the bounds of a released version",
        "that these bounds suffice for a patient",
    ),
    "figures": (
        "every figure follows from the probabilities in the report",
        "that the artifact gave these probabilities",
    ),
    "gate": ("the policy lets these figures pass", "that the artifact gave these probabilities"),
    "rehearsal": (
        "what was judged on synthetic images says so on every page",
        "that images called real are real",
    ),
    "device": ("the device's description takes such an artifact", _DEVICE),
    "profile": ("the device is described as this version describes it", _DEVICE),
    "vectors": (
        "the self-test is as long and as strict as `package` makes it, on the images that it takes",
        "that the artifact gives these answers: see self-test",
    ),
    "materials": (
        "the bill of materials names this very artifact",
        "that what it lists is free of faults",
    ),
    "runner": (
        "the program that screens is this version's own, byte for byte",
        "that this version has no fault",
    ),
    "wheels": (
        "what is installed is these wheels, in the versions that were validated, and nothing else",
        "that they are their authors': compare the digests with those on PyPI",
    ),
    "budgets": (
        "what is said about memory and speed is what `package` can say",
        "memory and speed on the device: measure there",
    ),
    "pages": (
        "what people read, and what installs, is what report, device and wheels give",
        "that the report is true: see evidence",
    ),
    "drawings": (
        "the curves in report.html are drawn from the report",
        "that the report is true: see evidence",
    ),
    "contract": (
        "threshold, input and labels inside the artifact are those that were judged",
        "that they suit your images",
    ),
    "weights": ("the artifact computes in the precision that it claims", "what its weights do"),
    "self-test": (
        "the artifact answers synthetic images here as where it was packaged",
        "how it answers radiographs",
    ),
    "evidence": (
        "nothing: only radiographs with known answers could",
        "that the artifact finds pneumonia",
    ),
}
"""By the name of the check: what it proves, and what not."""
