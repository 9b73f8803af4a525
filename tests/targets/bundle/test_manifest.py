"""What a bundle says about itself."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from udacimed_edge.core.errors import InputError
from udacimed_edge.targets.bundle.manifest import (
    MANIFEST,
    SIGNATURE,
    SUMS,
    Manifest,
    list_files,
    read_manifest,
    write_manifest,
    write_sums,
)
from udacimed_edge.targets.devices.profile import find_profile


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A folder with two files and their manifest."""
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "two.txt").write_bytes(b"two")
    (tmp_path / "a.txt").write_bytes(b"one")
    manifest = Manifest(
        name="clinic-laptop-ort-int8",
        notice="Not a diagnosis.",
        device="clinic-laptop",
        profile=find_profile("clinic-laptop"),
        format="ort",
        precision="int8",
        rehearsal=False,
        toolkit_version="0.1.0",
        created="2026-11-22T11:06:53+00:00",
        artifact="model.ort",
        artifact_digest="a" * 64,
        source_digest="5" * 64,
        threshold=0.25,
        policy_digest="b" * 64,
        report_digest="c" * 64,
        budgets={"size_mib": "held"},
        files=list_files(tmp_path),
    )
    write_manifest(manifest, tmp_path)
    return tmp_path


def test_it_reads_back_as_it_was_written(bundle: Path) -> None:
    """Written again, what was read gives the same bytes; the whole device is in it."""
    before = (bundle / MANIFEST).read_bytes()
    manifest = read_manifest(bundle / MANIFEST)
    write_manifest(manifest, bundle)
    assert (bundle / MANIFEST).read_bytes() == before
    assert manifest.profile == find_profile("clinic-laptop")


def test_it_lists_every_file_but_the_lists(bundle: Path) -> None:
    """Files below folders are listed in POSIX form, the manifest, the sums and the signature are not."""
    write_sums(bundle)
    (bundle / SIGNATURE).write_bytes(b"")
    assert [(name, e.size_bytes) for name, e in list_files(bundle).items()] == [
        ("a.txt", 3),
        ("b/two.txt", 3),
    ]


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="coreutils' sha256sum is absent")
def test_sha256sum_takes_the_sums(bundle: Path) -> None:
    """`sha256sum -c` accepts the list, which holds the manifest too, and sees a change."""
    names = [line[66:] for line in write_sums(bundle).read_text().splitlines()]
    assert names == ["a.txt", "b/two.txt", MANIFEST]
    command = ["sha256sum", "--check", "--strict", "--quiet", SUMS]
    assert subprocess.run(command, cwd=bundle, check=False).returncode == 0
    (bundle / "a.txt").write_bytes(b"0ne")
    ended = subprocess.run(command, cwd=bundle, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout.splitlines()[0]) == (1, "a.txt: FAILED")


def _set(**fields: Any) -> Callable[[dict[str, Any]], str]:
    return lambda content: json.dumps({**content, **fields})


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (lambda content: "", "is not a bundle's manifest"),
        (lambda content: "[]", "is not a bundle's manifest"),
        (lambda content: "[" * 100_000, "is not a bundle's manifest"),
        (_set(schema_version=3), "of version 3; this udacimed-edge reads versions 1 and 2"),
        (_set(schema_version=1, toolkit_version="0.2.0"), "version 1 is that of udacimed-edge 0.1.0"),
        (_set(schema_version=1, renderers={"x": "1"}), "version 1 is that of udacimed-edge 0.1.0"),
        (lambda content: json.dumps(content)[:-1] + ', "name": "x"}', "the key 'name' stands twice"),
        (_set(surprise=1), "surprise: Extra inputs are not permitted"),
        (_set(threshold=1.5), "threshold: Input should be less than 1"),
        (_set(threshold=float("nan")), "NaN is not a finite number"),
        (_set(artifact_digest="A" * 64), "artifact_digest: String should match"),
        (_set(files={"a.txt": {"sha256": "0" * 64, "size_bytes": -1}}), "files.a.txt.size_bytes"),
        (_set(profile={"name": "x"}), "profile.title: Field required"),
        (_set(target="onnx"), "target: Input should be 'ort'"),
    ],
)
def test_a_broken_manifest_is_refused(
    broken: Callable[[dict[str, Any]], str], message: str, bundle: Path
) -> None:
    """Each thing that can be wrong with it is named."""
    path = bundle / MANIFEST
    path.write_text(broken(json.loads(path.read_text())))
    with pytest.raises(InputError, match=message):
        read_manifest(path)
