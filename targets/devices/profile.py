"""What a device is: one TOML file each, checked here, explained to editors by a JSON schema beside them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from udacimed_edge.core.artifact import Precision
from udacimed_edge.core.errors import InputError
from udacimed_edge.core.files import write_atomic
from udacimed_edge.core.json_reader import read_plain_text
from udacimed_edge.core.words import did_you_mean
from udacimed_edge.runtime.formats import FORMATS

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = [
    "SCHEMA",
    "Budget",
    "DeviceProfile",
    "FormatChoice",
    "InstructionSets",
    "Runner",
    "Target",
    "find_profile",
    "load_profiles",
    "read_profile",
    "write_schema",
]

PROFILES = Path(__file__).parent / "profiles"
SCHEMA = PROFILES / "profile.schema.json"

if TYPE_CHECKING:
    Target = str
else:  # no type checker computes a Literal; pydantic and the schema take it
    Target = Literal[tuple(name for name, row in FORMATS.items() if row.standard)]
"""The formats that a device may take: all but a server's."""

MAX_PROFILE_BYTES = 1 << 20
"""Most that a profile may weigh; ours weigh 2 kB."""

APPLE = ("ios", "ipados", "macos")


def _not_a_format(name: str) -> str:
    if name in (*FORMATS, "all"):
        raise ValueError(f"'{name}' is a format's name on the command line; name the device otherwise")
    return name


_Name = Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$"), AfterValidator(_not_a_format)]
_Text = Annotated[str, Field(pattern=r"\S")]
_Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_Flag = Annotated[str, Field(pattern=r"^[a-z0-9_]+$")]
_Python = Annotated[str, Field(pattern=r"^3\.[1-9][0-9]$")]
_Tag = Annotated[str, Field(pattern=r"^(manylinux\w+_(x86_64|aarch64)|win_(amd64|arm64))$")]
_Requirement = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*([<>=!~]=?[0-9.,<>=!~]+)?$")]


class _ProfilePart(BaseModel):
    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        use_attribute_docstrings=True,
        validate_by_name=True,
        serialize_by_alias=True,
    )


class InstructionSets(_ProfilePart):
    """What the processor can and cannot do, where it decides how INT8 and floats are computed."""

    has: tuple[_Flag, ...] = ()
    """Instruction sets the processor has, as Linux names them in /proc/cpuinfo."""
    lacks: tuple[_Flag, ...] = ()
    """Instruction sets it does not have, although others of its kind do."""

    @model_validator(mode="after")
    def _is_consistent(self) -> InstructionSets:
        if both := sorted({*self.has} & {*self.lacks}):
            raise ValueError(f"{', '.join(both)} cannot be both there and missing")
        return self


class FormatChoice(_ProfilePart):
    """A format in a precision."""

    format: Target = Field(validation_alias="target", serialization_alias="target")
    """The format."""
    precision: Precision
    """Its precision."""

    @model_validator(mode="after")
    def _exists(self) -> FormatChoice:
        known = FORMATS[self.format].precisions
        if self.precision not in known:
            raise ValueError(f"{self.format} has no {self.precision}; it has {', '.join(known)}")
        return self


class Budget(_ProfilePart):
    """What an artifact may cost on the device."""

    size_mib: _Positive
    """Most the artifact may weigh, all its files together, in MiB (1,048,576 bytes)."""
    ram_mib: _Positive
    """Most memory that screening may hold, resident, in MiB."""
    latency_ms: _Positive
    """Longest time one prediction may take, in milliseconds; reading the image is not in it."""
    images_per_second: _Positive
    """Fewest images to be screened per second, reading them included."""


class Runner(_ProfilePart):
    """What the screening program needs on the device."""

    python: tuple[_Python, ...] = Field(min_length=1)
    """Python versions the bundle carries wheels for, for example "3.11"."""
    platforms: tuple[_Tag, ...] = Field(min_length=1)
    """Wheel platform tags the device accepts, the newest first, for example "manylinux_2_28_aarch64"."""
    requirements: dict[Target, Annotated[tuple[_Requirement, ...], Field(min_length=1)]]
    """The distributions to install, by format."""

    def pip_options(self, python: str) -> list[str]:
        """What makes `pip download` fetch wheels for this device, whatever machine it runs on.

        pip resolves environment markers for the machine it runs on, not for the device.

        Args:
            python: One of `self.python`.
        """
        tag = f"cp{python.replace('.', '')}"
        platforms = [option for name in self.platforms for option in ("--platform", name)]
        abis = [option for abi in (tag, "abi3", "none") for option in ("--abi", abi)]
        wanted = ["--only-binary=:all:", "--implementation", "cp", "--python-version", python]
        return [*wanted, *abis, *platforms]


class DeviceProfile(_ProfilePart):
    """A device: what it is, what it takes, what it allows."""

    name: _Name
    """What a person types: lower-case words and digits joined by hyphens."""
    title: _Text
    """What a table prints."""
    description: _Text
    """The device in one or two sentences."""
    operating_system: Literal["linux", "windows", "android", "ios", "ipados", "macos"]
    """The operating system."""
    architecture: Literal["x86_64", "aarch64", "arm64"]
    """The processor's architecture, as the operating system names it."""
    instruction_sets: InstructionSets = InstructionSets()
    """What the processor can and cannot do."""
    minimum: _Text
    """The oldest runtime or operating system it works with, in words."""
    notes: tuple[_Text, ...] = ()
    """For the field, in plain words: power, storage, heat; one sentence or two each."""
    formats: tuple[FormatChoice, ...] = Field(min_length=1)
    """The formats that suit it, the best first."""
    budget: Budget
    """What an artifact may cost on it."""
    runner: Runner | None = None
    """What the screening program needs; left out where an app loads the model instead."""

    @model_validator(mode="after")
    def _is_consistent(self) -> DeviceProfile:
        targets = dict.fromkeys(choice.format for choice in self.formats)
        if len({*self.formats}) < len(self.formats):
            raise ValueError("formats names one choice twice")
        if "coreml" in targets and self.operating_system not in APPLE:
            raise ValueError(f"coreml does not run on {self.operating_system}")
        if self.runner and self.operating_system not in ("linux", "windows"):
            raise ValueError(f"the runner does not run on {self.operating_system}; leave [runner] out")
        if self.runner and (missing := targets.keys() - self.runner.requirements.keys()):
            raise ValueError(f"runner.requirements does not say what {', '.join(sorted(missing))} needs")
        return self


def load_profiles() -> dict[str, DeviceProfile]:
    """The devices that come with the toolkit, by name.

    Raises:
        InputError: One of the files is damaged.
    """
    profiles = (read_profile(path) for path in sorted(PROFILES.glob("*.toml")))
    return {profile.name: profile for profile in profiles}


def find_profile(name: str) -> DeviceProfile:
    """A device by its exact name.

    Raises:
        InputError: There is no such device; the message names the nearest and all of them.
    """
    profiles = load_profiles()
    if name not in profiles:
        raise InputError(
            f"there is no device '{name}'{did_you_mean(name, profiles)}",
            f"known: {', '.join(profiles)}; a device of your own: --profile FILE",
        )
    return profiles[name]


def read_profile(path: Path) -> DeviceProfile:
    """Read a device's TOML file.

    Raises:
        InputError: The file is missing or is not TOML, or a field is missing, unknown or out of range.
    """
    text = read_plain_text(path, "a device profile", MAX_PROFILE_BYTES)
    try:
        content = json.dumps(tomllib.loads(text), default=str)
        # through JSON: in Python's own types pydantic's strict mode takes no list for a tuple
        return DeviceProfile.model_validate_json(content)
    except ValidationError as error:
        problems = "; ".join(
            _problem(d["type"], d["loc"], d["msg"]) for d in error.errors(include_input=False)[:5]
        )
        raise InputError(f"{path} is not a device profile: {problems}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not TOML: {error}") from error


def write_schema() -> None:
    """Write the JSON schema of a profile beside the profiles.

    Raises:
        OutputError: It cannot be written.
    """
    text = json.dumps(DeviceProfile.model_json_schema(), indent=1)
    write_atomic(SCHEMA.resolve(), f"{text}\n".encode())


def _problem(kind: str, location: tuple[int | str, ...], message: str) -> str:
    """One line, for example "budget.latency_ms: Input should be greater than 0"."""
    field = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).lstrip(".")
    if kind == "extra_forbidden":
        models = (DeviceProfile, InstructionSets, FormatChoice, Budget, Runner)
        known = [name for model in models for name in model.model_fields]
        message = f"there is no such field{did_you_mean(str(location[-1]), known)}"
    message = message.removeprefix("Value error, ")
    return f"{field}: {message}" if field else message
