"""Pneumonia classifier to edge devices, each artifact proved from its own bytes.

    import udacimed_edge as edge

    model = edge.load_model(module, mean=0.5, std=0.5, labels=("normal", "pneumonia"))
    (artifact,) = edge.convert(model, target="ort", data="pneumoniamnist_64.npz")

Importing the package loads nothing; each name below is imported when it is first used. The folders `toolkit`,
`converters`, `targets` and `validation` are installed as this one package: a top-level package named
`validation` could be replaced by a file of that name in a user's working directory, and the gate with it.
"""

if __name__ != "udacimed_edge":
    raise ImportError(f"import udacimed_edge, not {__name__}: install the project with `pip install -e .`")

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # what a type checker and an editor see; at run time `__getattr__` finds the same
    from udacimed_edge.api import Artifact as Artifact
    from udacimed_edge.api import OpenArtifact as OpenArtifact
    from udacimed_edge.api import Verification as Verification
    from udacimed_edge.api import benchmark as benchmark
    from udacimed_edge.api import compare as compare
    from udacimed_edge.api import convert as convert
    from udacimed_edge.api import load_model as load_model
    from udacimed_edge.api import open_artifact as open_artifact
    from udacimed_edge.api import open_data as open_data
    from udacimed_edge.api import package as package
    from udacimed_edge.api import read_report as read_report
    from udacimed_edge.api import validate as validate
    from udacimed_edge.api import verify as verify
    from udacimed_edge.benchmarking.run import BenchmarkResult as BenchmarkResult
    from udacimed_edge.core.data import DataSet as DataSet
    from udacimed_edge.core.errors import ConversionError as ConversionError
    from udacimed_edge.core.errors import EdgeError as EdgeError
    from udacimed_edge.core.errors import ExtraMissingError as ExtraMissingError
    from udacimed_edge.core.errors import GateRefusedError as GateRefusedError
    from udacimed_edge.core.errors import InputError as InputError
    from udacimed_edge.core.errors import OriginError as OriginError
    from udacimed_edge.core.errors import OutputError as OutputError
    from udacimed_edge.core.errors import StatedError as StatedError
    from udacimed_edge.core.errors import UnsupportedError as UnsupportedError
    from udacimed_edge.source.load import SourceModel as SourceModel
    from udacimed_edge.targets.devices.profile import DeviceProfile as DeviceProfile
    from udacimed_edge.validation.judging.compare import Change as Change
    from udacimed_edge.validation.policy.policy import PolicySettings as PolicySettings
    from udacimed_edge.validation.report import Report as Report
    from udacimed_edge.workflow.package import Package as Package
    from udacimed_edge.workflow.verify import Check as Check

__version__ = "0.2.0"

_WHERE = {
    "api": (
        "Artifact OpenArtifact Verification benchmark compare convert load_model open_artifact open_data "
        "package read_report validate verify"
    ),
    "benchmarking.run": "BenchmarkResult",
    "core.data": "DataSet",
    "core.errors": (
        "ConversionError EdgeError ExtraMissingError GateRefusedError InputError OriginError OutputError "
        "StatedError UnsupportedError"
    ),
    "source.load": "SourceModel",
    "targets.devices.profile": "DeviceProfile",
    "validation.policy.policy": "PolicySettings",
    "validation.judging.compare": "Change",
    "validation.report": "Report",
    "workflow.package": "Package",
    "workflow.verify": "Check",
}
_MODULE_OF = {name: module for module, names in _WHERE.items() for name in names.split()}

__all__ = sorted(_MODULE_OF)


def __getattr__(name: str) -> object:
    """Import what is named, when it is named (PEP 562)."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'udacimed_edge' has no attribute '{name}'")
    from importlib import import_module

    found: object = getattr(import_module(f"udacimed_edge.{_MODULE_OF[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    """What stands here, and what can be had."""
    return sorted({*globals(), *__all__})
