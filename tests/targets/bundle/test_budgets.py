"""What a device allows, against what can be told here."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from udacimed_edge.core.errors import GateRefusedError
from udacimed_edge.targets.bundle.budgets import check_budgets, require_size
from udacimed_edge.targets.bundle.selftest_process import SelftestMeasurement
from udacimed_edge.targets.devices.profile import find_profile

LAPTOP, PHONE = find_profile("clinic-laptop"), find_profile("android-phone")
GOOD = SelftestMeasurement(True, "32 images", latency_ms=1.0, images_per_second=500.0, ram_mib=90.0)


@pytest.mark.parametrize(
    ("measured", "message"),
    [
        (replace(GOOD, latency_ms=31.0), r"latency_ms 31.00 ms, allowed at most 30"),
        (replace(GOOD, images_per_second=9.0), r"images_per_second 9 small pictures, allowed at least 10"),
        (replace(GOOD, ram_mib=257.0), r"ram_mib 257 MiB, allowed at most 256"),
        (replace(GOOD, latency_ms=31.0, ram_mib=257.0), r"latency_ms 31.*; ram_mib 257"),
    ],
)
def test_a_broken_budget_is_refused(measured: SelftestMeasurement, message: str) -> None:
    """Each broken budget is named, and that it was measured here, not on the device."""
    with pytest.raises(GateRefusedError, match=rf"not on the device: {message}"):
        check_budgets(LAPTOP, 10.8, measured)


def test_a_large_artifact_is_refused(tmp_path: Path) -> None:
    """All files of an artifact count."""
    (tmp_path / "model.xml").write_bytes(b"x")
    with (tmp_path / "model.bin").open("wb") as weights:
        weights.truncate(49 << 20)
    with pytest.raises(GateRefusedError, match=r"weighs 49.0 MiB, and clinic-laptop allows 48"):
        require_size(tmp_path / "model.xml", LAPTOP)


def test_where_it_was_measured_is_said() -> None:
    """What travels with the bundle says where each budget was held; figures are for the console alone."""
    found = check_budgets(LAPTOP, 10.8, GOOD)
    assert found.how == {
        "size_mib": "held: 10.8 of 48 MiB",
        "latency_ms": "held on the machine that packaged, not on the device: at most 30",
        "images_per_second": "held on the machine that packaged, not on the device: at least 10",
        "ram_mib": "held on the machine that packaged, not on the device: at most 256",
    }
    assert "latency_ms: 1.00 ms, allowed at most 30" in found.shown


def test_what_was_not_measured_is_said() -> None:
    """Core ML is not timed here; an app's memory, and one the system does not tell, is not compared."""
    apple = check_budgets(LAPTOP, 10.8, None).how
    assert [name for name, text in apple.items() if text.startswith("not checked: Core ML")] == [
        "latency_ms",
        "images_per_second",
        "ram_mib",
    ]
    assert check_budgets(PHONE, 10.8, replace(GOOD, ram_mib=1000.0)).how["ram_mib"].startswith("not checked")
    assert check_budgets(LAPTOP, 10.8, replace(GOOD, ram_mib=None)).how["ram_mib"].startswith("not checked")
