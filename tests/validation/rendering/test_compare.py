"""Two reports side by side: who is affected, and whether the policy minds."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from udacimed_edge.core.errors import InputError
from udacimed_edge.validation.judging.compare import compare_reports
from udacimed_edge.validation.policy.policy import PolicySettings
from udacimed_edge.validation.rendering.compare_text import change_markdown
from udacimed_edge.validation.report import Report

Make = Callable[..., Report]


def test_for_whom(make: Make) -> None:
    """Each image whose decision changed is in the one list that says what that means for its patient."""
    change = compare_reports(
        make(answers={9: 0.1, 600: 0.9}), make("openvino", answers={5: 0.9, 10: 0.1, 601: 0.9})
    )

    assert change.newly_missed == (10,)
    assert change.newly_found == (5, 9)
    assert change.new_alarms == (601,)
    assert change.alarms_gone == (600,)
    assert [c.index for c in change.comparison.changed] == [5, 9, 10, 600, 601]


def test_no_matter(make: Make) -> None:
    """Few changes that every bound allows do not matter."""
    change = compare_reports(make(), make("openvino", answers={9: 0.1}))

    assert change.reasons == ()
    assert "**It does not matter under the policy.**" in change_markdown(change)


def test_the_verdict_turned(make: Make) -> None:
    """An artifact that fails where its predecessor passed matters, and every broken bound is named."""
    change = compare_reports(make(), make("openvino", answers=dict.fromkeys(range(100, 120), 0.1)))

    assert change.reasons[0] == "the verdict turned from PASS to FAIL"
    assert [reason.split(":")[0] for reason in change.reasons[1:]] == ["sensitivity", "AUC drop", "agreement"]
    assert "**It matters under the policy.** the verdict turned" in change_markdown(change)


def test_two_that_pass_may_differ_too_much(make: Make) -> None:
    """Two that agree with their source, but not with each other, matter although both pass."""
    first = make(answers=dict.fromkeys(range(400, 406), 0.2) | dict.fromkeys(range(500, 505), 0.9))
    second = make("openvino", answers=dict.fromkeys(range(406, 412), 0.2))
    assert (first.verdict, second.verdict) == ("PASS", "PASS")

    settings = [clause.name for clause in compare_reports(first, second).clauses if not clause.passed]

    assert settings == ["agreement"]


def test_written_out(make: Make) -> None:
    """The text has the counts of both, the images, the paired interval and what else differs."""
    text = change_markdown(compare_reports(make(), make("openvino", answers={9: 0.1})))

    for line in (
        "# From ort int8 to openvino int8",
        "| Missed | 3 of 390 | 4 of 390 |",
        "- With pneumonia, found before and missed now: 1 (by index: 9)",
        "- Without, called normal before and ill now: 0",
        "| Sensitivity | 1 | 0 | -0.0026 | -0.0144 to +0.0072 | 1.0000 |",
        "| Executed by | ort 1.0 | openvino 1.0 |",
    ):
        assert line in text.splitlines()


def test_rehearsal(make: Make) -> None:
    """A comparison on synthetic data says so first."""
    data = {"origin": "synthetic"}
    assert (
        "REHEARSAL"
        in change_markdown(compare_reports(make(data=data), make("openvino", data=data))).splitlines()[2]
    )


def test_one_artifact_judged_twice_has_two_names(make: Make) -> None:
    """Reports on the same artifact are told apart, by the device where that differs."""
    elsewhere = make(update={"executor": "executed on Pixel 8, Android 15, as stated in p.csv"})
    text = change_markdown(compare_reports(make(), elsewhere))
    again = change_markdown(compare_reports(make(), make(update={"created": "later"})))

    assert text.startswith("# From ort int8 to ort int8 on Pixel 8\n")
    first, _, second = again.splitlines()[0].removeprefix("# From ").partition(" to ")
    assert first != second


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"data": {"digest": "9" * 64}}, "are of different data: pneumoniamnist_64.npz, test split"),
        ({"settings": PolicySettings(min_sensitivity=0.9)}, "are of different policies"),
        ({"threshold": 0.4}, "have different thresholds: 0.500000 and 0.400000"),
        ({"update": {"schema_version": 2}}, "are of different versions: version 1 and version 2"),
        ({"answers": {4: float("nan")}}, "has no answers to compare: FAIL, finite outputs: 1 images"),
    ],
)
def test_what_cannot_be_compared_is_refused(make: Make, other: dict[str, object], message: str) -> None:
    """Reports of other data, policies, thresholds or versions, or without answers, are errors that say so."""
    with pytest.raises(InputError, match=message):
        compare_reports(make(), make("openvino", **other))


def test_a_skipped_artifact_cannot_be_compared(make: Make, skipped: Report) -> None:
    """What was not executed has nothing to compare."""
    with pytest.raises(InputError, match="coreml fp16 has no answers to compare: SKIP"):
        compare_reports(make(), skipped)
