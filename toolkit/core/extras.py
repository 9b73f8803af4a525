"""Optional libraries: imported when needed, or an error that names the pip command."""

from __future__ import annotations

import importlib
import importlib.util
from functools import cache
from types import ModuleType

from udacimed_edge.core.errors import ExtraMissingError

__all__ = ["import_torchvision", "is_installed", "require", "require_installed"]


def is_installed(module: str) -> bool:
    """Whether `module` can be found, without importing it."""
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # a parent package is absent
        return False


def require_installed(module: str, extra: str) -> None:
    """Make sure that an optional library is there, without importing it.

    Args:
        module: Dotted module name, for example "openvino".
        extra: The extra of this project that installs it, for example "openvino".

    Raises:
        ExtraMissingError: The module is not installed.
    """
    if not is_installed(module):
        raise ExtraMissingError(
            f"the library '{module}' is not installed",
            f"install it with: pip install '.[{extra}]' in the project's folder",
        )


def require(module: str, extra: str) -> ModuleType:
    """Import an optional library.

    Raises:
        ExtraMissingError: The module is not installed; see `require_installed`.
    """
    require_installed(module, extra)
    return importlib.import_module(module)


def import_torchvision() -> ModuleType:
    """Import torchvision, also where its compiled operators do not fit the installed torch.

    PyPI's torchvision wants CUDA libraries; beside a CPU build of torch its import ends with "operator
    torchvision::nms does not exist". Declaring the two operators it names cures that; no classifier
    calls them.
    """
    try:
        return importlib.import_module("torchvision")
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
        _declare_operators()
        return importlib.import_module("torchvision")


@cache  # the declarations last as long as the object that made them
def _declare_operators() -> object:
    library = importlib.import_module("torch.library").Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return library
