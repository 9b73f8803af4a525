"""The policy: what it refuses, and that nothing slips through for want of a measurement."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from udacimed_edge.core.errors import GateRefusedError, InputError
from udacimed_edge.validation.metrics.metrics import compare, compute_metrics, proportion
from udacimed_edge.validation.metrics.records import (
    Agreement,
    ChangedDecision,
    Comparison,
    Invariance,
    McNemar,
    Metrics,
)
from udacimed_edge.validation.policy.clauses import (
    AlteredAgreement,
    Clause,
    ClauseResult,
    ComputeHeld,
    DeviceAgreement,
    Evidence,
    FiniteOutputs,
    MaxAucDrop,
    MaxSpecificityDrop,
    MinAgreement,
    MinSensitivity,
    MinSpecificity,
    PrecisionHeld,
    ProcessorsHold,
    RecipeHeld,
)
from udacimed_edge.validation.policy.policy import Policy, PolicySettings, artifact_policy, source_policy

POSITIVES, NEGATIVES = 390, 234  # the test split of PneumoniaMNIST
SETTINGS = PolicySettings()


def metrics(tp: int = 388, tn: int = 200, auc: float = 0.99, negatives: int = NEGATIVES) -> Metrics:
    """What a good model measures, or one that differs as given."""
    fn, fp = POSITIVES - tp, negatives - tn
    return Metrics(
        tp=tp,
        fn=fn,
        tn=tn,
        fp=fp,
        sensitivity=proportion(tp, POSITIVES),
        specificity=proportion(tn, negatives),
        ppv=proportion(tp, tp + fp),
        npv=proportion(tn, tn + fn),
        accuracy=proportion(tp + tn, POSITIVES + negatives),
        auc=auc,
    )


def comparison(changed: int = 0, total: int = POSITIVES + NEGATIVES) -> Comparison:
    """A comparison in which so many decisions changed."""
    same = McNemar(only_source_correct=0, only_artifact_correct=0, p_value=1)
    decision = ChangedDecision(
        index=0,
        label="normal",
        source="normal",
        artifact="pneumonia",
        source_probability=0.4,
        artifact_probability=0.6,
    )
    return Comparison(
        changed=(decision,) * changed,
        agreement=(total - changed) / total,
        mcnemar_positives=same,
        mcnemar_negatives=same,
        max_probability_difference=0.2 if changed else 0.0,
        mean_probability_difference=0.0,
    )


GOOD = Evidence(
    artifact=metrics(),
    source=metrics(),
    comparison=comparison(),
    non_finite=0,
    invariance=Invariance(max_difference=0.0, flips=0),
    claimed_precision="int8",
    weight_dtypes={"int8": 11_167_808, "fp32": 4_802},
    macs={"int8": 141_624_320},
)


def refused(policy: Policy, evidence: Evidence) -> set[str]:
    """The names of the clauses that do not hold."""
    return {result.name for result in policy.judge(evidence) if not result.passed}


class TestArtifactPolicy:
    """The whole policy on one change to good evidence at a time."""

    def test_good(self) -> None:
        """Good evidence passes every clause, in silence."""
        policy = artifact_policy(SETTINGS)

        assert [result.passed for result in policy.judge(GOOD)] == [True] * 9
        policy.check(GOOD)

    @pytest.mark.parametrize(
        ("processors", "measured", "passed"),
        [
            ({"a": "PASS", "b": "PASS"}, "2 pass, 0 not computed here", True),
            ({"a": "PASS", "b": "SKIP"}, "1 pass, 1 not computed here", True),
            ({"a": "PASS", "b": "FAIL"}, "1 pass, 0 not computed here, b fails", False),
            ({"a": "SKIP"}, "not measured", False),
            ({}, "not measured", False),
        ],
    )
    def test_processors(self, processors: dict[str, str], measured: str, passed: bool) -> None:
        """Where the matrix was asked for, one processor at least was computed and none may fail."""
        evidence = replace(GOOD, processors=processors)

        clause = ProcessorsHold().judge(evidence)

        assert (clause.name, clause.measured, clause.passed) == ("processors", measured, passed)
        asked = refused(artifact_policy(SETTINGS, evidence), evidence)
        assert asked == ({"processors"} if processors and not passed else set())

    @pytest.mark.parametrize(
        ("change", "clauses"),
        [
            ({"non_finite": 1}, {"finite outputs"}),
            ({"artifact": metrics(tp=382)}, {"sensitivity"}),
            ({"artifact": metrics(tn=192)}, {"specificity drop"}),
            ({"artifact": metrics(auc=0.9799)}, {"AUC drop"}),
            ({"artifact": metrics(tp=390, tn=0, auc=0.5)}, {"specificity", "specificity drop", "AUC drop"}),
            ({"comparison": comparison(changed=13)}, {"agreement"}),
            ({"invariance": Invariance(max_difference=0.0011, flips=0)}, {"invariance"}),
            ({"invariance": Invariance(max_difference=1e-9, flips=1)}, {"invariance"}),
            ({"weight_dtypes": {"int8": 94_999, "fp32": 5_001}}, {"precision"}),
            ({"weight_dtypes": {"fp32": 11_172_610}}, {"precision"}),
            ({"weight_dtypes": {"uint8": 1}}, {"precision"}),
            ({"weight_dtypes": {}}, {"precision"}),
            ({"weight_dtypes": {"int8": 0}}, {"precision"}),
            ({"claimed_precision": "int4", "weight_dtypes": {"int4": 100}}, {"precision", "computation"}),
            ({"claimed_precision": ""}, {"precision", "computation"}),
            (
                {"claimed_precision": "fp32", "weight_dtypes": {"fp32": 99_999, "fp16": 1}},
                {"precision", "computation"},
            ),
            ({"macs": {"int8": 94_999, "fp32": 5_001}}, {"computation"}),
            ({"macs": {"fp32": 100_000}}, {"computation"}),
            ({"macs": {"int16": 18, "fp32": 1}}, {"computation"}),
            ({"macs": {}}, {"computation"}),
            ({"macs": {"int8": 49_999, "fp32": 50_001}, "float_layers": ("stem",)}, {"computation"}),
            (
                {"weight_dtypes": {"int8": 49_999, "fp32": 50_001}, "float_layers": ("stem",)},
                {"precision"},
            ),
            ({"claimed_precision": "fp16", "weight_dtypes": {"fp32": 1, "fp16": 99_999}}, {"precision"}),
            ({"claimed_precision": "fp16", "weight_dtypes": {"bf16": 100}}, {"precision"}),
            ({"source": None}, {"specificity drop", "AUC drop"}),
            ({"comparison": None}, {"agreement"}),
            ({"invariance": None}, {"invariance"}),
            ({"artifact": None}, {"sensitivity", "specificity", "specificity drop", "AUC drop"}),
        ],
    )
    def test_refused(self, change: dict[str, object], clauses: set[str]) -> None:
        """A change for the worse is refused by just the clauses that it concerns."""
        policy, evidence = artifact_policy(SETTINGS), replace(GOOD, **change)  # type: ignore[arg-type]

        assert refused(policy, evidence) == clauses
        with pytest.raises(GateRefusedError) as error:
            policy.check(evidence)
        assert all(f"  {name}: " in error.value.message for name in clauses)
        assert error.value.message.count("\n") == len(clauses)

    @pytest.mark.parametrize(
        "change",
        [
            {"artifact": metrics(tp=383)},
            {"artifact": metrics(tn=193)},
            {"artifact": metrics(auc=0.98)},
            {"artifact": metrics(tp=390, tn=234, auc=1.0)},
            {"comparison": comparison(changed=12)},
            {"comparison": comparison(changed=2, total=100)},
            {"invariance": Invariance(max_difference=0.001, flips=0)},
            {"weight_dtypes": {"int8": 95_000, "fp32": 5_000}},
            {
                "claimed_precision": "fp32",
                "weight_dtypes": {"fp32": 11_172_610, "int8": 0},
                "macs": {"fp32": 9},
            },
            {"macs": {"int8": 95_000, "fp32": 5_000}},
            {"macs": {"int16": 95_000, "fp32": 5_000}},
            {"macs": {"int8": 90_000, "int16": 5_000, "fp32": 5_000}},
            {"macs": {"int8": 50_000, "fp32": 50_000}, "float_layers": ("stem",)},
            {"claimed_precision": "fp16", "weight_dtypes": {"fp16": 11_172_610}},
        ],
    )
    def test_just_good_enough(self, change: dict[str, object]) -> None:
        """What lies on the bound, or above it, passes."""
        artifact_policy(SETTINGS).check(replace(GOOD, **change))  # type: ignore[arg-type]

    @pytest.mark.parametrize(
        ("claim", "asked"), [("fp32", True), ("int8", True), ("fp16", False), ("", True)]
    )
    def test_no_clause_that_cannot_fail(self, claim: str, asked: bool) -> None:
        """Where no share of the work is asked for there is no clause on it; an unknown claim keeps it."""
        evidence = replace(GOOD, claimed_precision=claim)
        names = [clause.name for clause in artifact_policy(SETTINGS, evidence).judge(evidence)]
        assert ("computation" in names) is asked
        assert "precision" in names

    @pytest.mark.parametrize(
        ("recipes", "measured", "passed"),
        [
            ({}, "not measured", False),
            ({1: False, 2: False}, "none of 2 holds", False),
            ({1: False, 2: True}, "recipe 2 holds", True),
            ({1: False, 2: False, 3: True}, "recipe 3 holds", True),
            ({1: True, 2: False, 3: False}, "none of 3 holds", False),
        ],
    )
    def test_recipes(self, recipes: dict[int, bool], measured: str, passed: bool) -> None:
        """What was made by recipes stands on a recipe that held, or does not leave."""
        evidence = replace(GOOD, recipes=recipes)
        result = RecipeHeld().judge(evidence)
        assert (result.name, result.measured, result.passed) == ("recipe", measured, passed)
        asked = refused(artifact_policy(SETTINGS, evidence), evidence)
        assert asked == ({"recipe"} if recipes and not passed else set())

    @pytest.mark.parametrize(
        ("kind", "clause"),
        [("altered", "agreement on altered images"), ("executed_here", "agreement with the run here")],
    )
    @pytest.mark.parametrize(("changed", "passed"), [(3, True), (4, False)])
    def test_agreement_of_another_kind(self, kind: str, clause: str, changed: int, passed: bool) -> None:
        """On altered images, and on a device, at most 2 % of the decisions may be others."""
        found = Agreement(images=156, changed=changed, max_difference=0.5)
        evidence = replace(GOOD, **{kind: found})  # type: ignore[arg-type]
        assert refused(artifact_policy(SETTINGS, evidence), evidence) == (set() if passed else {clause})

    def test_what_is_not_measured_of_another_kind_does_not_pass(self) -> None:
        """A clause that is asked without a figure does not hold."""
        for clause in (AlteredAgreement(0.98), DeviceAgreement(0.98)):
            assert not clause.judge(GOOD).passed

    def test_specificity_has_a_floor(self) -> None:
        """An artifact and a source model that call most healthy people ill are refused, however alike."""
        ill = metrics(tn=116)
        evidence = replace(GOOD, artifact=ill, source=ill)
        assert refused(artifact_policy(SETTINGS), evidence) == {"specificity"}
        assert refused(artifact_policy(PolicySettings(min_specificity=0.4)), evidence) == set()
        assert refused(artifact_policy(PolicySettings(min_specificity=None)), evidence) == set()

    def test_nothing_measured(self) -> None:
        """Evidence of which nothing but finite outputs was measured passes no other clause."""
        evidence = Evidence(artifact=None, non_finite=0)

        results = artifact_policy(SETTINGS).judge(evidence)

        assert [result.name for result in results if result.passed] == ["finite outputs"]

    def test_settings_are_used(self) -> None:
        """Each bound that a user sets is the one that is applied, and applied to its own clause."""
        evidence = replace(
            GOOD, artifact=metrics(tp=386, tn=198, auc=0.985), comparison=comparison(changed=6)
        )
        strict = {"min_sensitivity": 0.99, "max_specificity_drop": 0.005, "max_auc_drop": 0.004}
        names = ["sensitivity", "specificity drop", "AUC drop", "agreement"]

        assert refused(artifact_policy(SETTINGS), evidence) == set()
        for (key, bound), name in zip({**strict, "min_agreement": 0.995}.items(), names, strict=True):
            assert refused(artifact_policy(PolicySettings(**{key: bound})), evidence) == {name}


class TestSensitivity:
    """Seven missed of 390, and not one more."""

    @pytest.mark.parametrize(("found", "passed"), [(390, True), (383, True), (382, False), (0, False)])
    def test_bound(self, found: int, passed: bool) -> None:
        """383 of 390 is enough for 0.98 and 382 is not."""
        result = MinSensitivity(0.98).judge(replace(GOOD, artifact=metrics(tp=found)))

        assert result.passed is passed
        assert result.requirement == ">= 0.98, at most 7 of 390 missed"
        assert result.measured == f"{found / 390:.4f}, {390 - found} missed"

    def test_everyone_ill(self) -> None:
        """A model that calls everyone ill passes sensitivity alone and is refused all the same."""
        labels = np.repeat([1, 0], [POSITIVES, NEGATIVES]).astype(np.uint8)
        source = np.where(labels == 1, 0.9, 0.1)
        everyone = np.full(len(labels), 0.9)
        evidence = replace(
            GOOD,
            source=compute_metrics(labels, source, 0.5),
            artifact=compute_metrics(labels, everyone, 0.5),
            comparison=compare(labels, source, everyone, 0.5),
        )

        broken = {"specificity", "specificity drop", "AUC drop", "agreement"}
        assert refused(artifact_policy(SETTINGS), evidence) == broken
        assert refused(source_policy(SETTINGS), evidence) == {"specificity"}

    def test_of_nobody(self) -> None:
        """The sensitivity among no images at all is not enough."""
        nobody = metrics().model_copy(update={"sensitivity": proportion(0, 0)})

        assert not MinSensitivity(0.0).judge(replace(GOOD, artifact=nobody)).passed

    def test_nan_bound(self) -> None:
        """A bound of NaN lets nothing pass."""
        nan = float("nan")
        with pytest.raises(InputError):
            MinSensitivity(nan).judge(GOOD)
        for clause in (MaxSpecificityDrop(nan), MaxAucDrop(nan), MinAgreement(nan)):
            assert not clause.judge(GOOD).passed


class TestRounding:
    """Equality at the bound is not lost in the last bit."""

    @settings(max_examples=50, deadline=None)
    @given(lost=st.integers(0, 100), before=st.integers(100, 200), cents=st.integers(0, 50))
    def test_specificity_drop(self, lost: int, before: int, cents: int) -> None:
        """Of 200 normal images a drop passes if and only if it does so in whole numbers."""
        evidence = replace(
            GOOD,
            source=metrics(tn=before, negatives=200),
            artifact=metrics(tn=before - lost, negatives=200),
        )

        passed = MaxSpecificityDrop(cents / 100).judge(evidence).passed

        assert passed == (lost <= 2 * cents)

    @pytest.mark.parametrize(("after", "passed"), [(0.98, True), (0.98 - 1e-9, False), (1.0, True)])
    def test_auc_drop(self, after: float, passed: bool) -> None:
        """A drop of just the bound passes, although 0.99 - 0.98 is not 0.01 in doubles."""
        assert 0.99 - 0.98 > 0.01

        assert MaxAucDrop(0.01).judge(replace(GOOD, artifact=metrics(auc=after))).passed is passed


class TestSourcePolicy:
    """What a source model must do before anything is made from it."""

    @pytest.mark.parametrize(
        ("evidence", "clauses"),
        [
            (Evidence(artifact=metrics(), non_finite=0), set()),
            (Evidence(artifact=metrics(tp=383, tn=117), non_finite=0), set()),
            (Evidence(artifact=metrics(tp=382), non_finite=0), {"sensitivity"}),
            (Evidence(artifact=metrics(tn=116), non_finite=0), {"specificity"}),
            (Evidence(artifact=None, non_finite=3), {"finite outputs", "sensitivity", "specificity"}),
            (Evidence(artifact=None, non_finite=0), {"sensitivity", "specificity"}),
        ],
    )
    def test_clauses(self, evidence: Evidence, clauses: set[str]) -> None:
        """It must be finite, find 98 % of the ill and call half of the healthy normal."""
        assert refused(source_policy(SETTINGS), evidence) == clauses

    def test_uses_settings(self) -> None:
        """The sensitivity asked for is the one that the settings name."""
        evidence = Evidence(artifact=metrics(tp=388), non_finite=0)

        assert refused(source_policy(PolicySettings(min_sensitivity=1.0)), evidence) == {"sensitivity"}

    @pytest.mark.parametrize(("asked", "least"), [(None, 117), (0.6, 141), (0.4, 94)])
    def test_specificity_floor(self, asked: float | None, least: int) -> None:
        """Half of the 234 healthy, where the settings of version 0.1.0 name no floor; else what they name."""
        policy = source_policy(PolicySettings(min_specificity=asked))
        for tn, refusals in ((least, set()), (least - 1, {"specificity"})):
            assert refused(policy, Evidence(artifact=metrics(tn=tn), non_finite=0)) == refusals

    def test_result_text(self) -> None:
        """A refusal says in one line what was measured and what is required."""
        result = MinSpecificity(0.5).judge(Evidence(artifact=metrics(tn=116), non_finite=0))

        assert str(result) == (
            "specificity: 0.4957, 118 called ill; required: >= 0.5, at most 117 of 234 called ill"
        )


class TestPolicy:
    """All-of."""

    @pytest.mark.parametrize("empty", [(), [], iter(())])
    def test_empty(self, empty: tuple[Clause, ...]) -> None:
        """A policy without clauses is refused."""
        with pytest.raises(ValueError, match="would accept anything"):
            Policy(empty)

    @pytest.mark.parametrize("make", [list, iter])
    def test_clauses_stay(self, make: Callable[[tuple[Clause, ...]], tuple[Clause, ...]]) -> None:
        """What a policy was made from can be emptied or used up without weakening it."""
        clauses = make((FiniteOutputs(),))
        policy = Policy(clauses)
        if isinstance(clauses, list):
            clauses.clear()

        for _ in range(2):
            assert refused(policy, replace(GOOD, non_finite=1)) == {"finite outputs"}

    def test_frozen(self) -> None:
        """Neither a policy, nor its clauses, nor the evidence can be changed."""
        policies = [artifact_policy(SETTINGS), source_policy(SETTINGS)]

        for held in (GOOD, *policies, *(clause for policy in policies for clause in policy.clauses)):
            with pytest.raises(FrozenInstanceError):
                held.least = 0.0  # type: ignore[union-attr]

    def test_judges_on(self) -> None:
        """Every clause is judged, in order, also after one has failed."""
        policy = Policy((MinSensitivity(0.98), FiniteOutputs(), PrecisionHeld()))

        results = policy.judge(replace(GOOD, artifact=None))

        assert [(r.name, r.passed) for r in results] == [
            ("sensitivity", False),
            ("finite outputs", True),
            ("precision", True),
        ]

    def test_defect_is_no_pass(self) -> None:
        """An error inside a clause is not taken for a verdict."""

        class Broken:
            def judge(self, evidence: Evidence) -> ClauseResult:
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            Policy((FiniteOutputs(), Broken())).check(GOOD)

    def test_results_stored_whole(self) -> None:
        """What is read back from JSON equals what was judged, and says what was required."""
        for result in artifact_policy(SETTINGS).judge(GOOD):
            assert ClauseResult.model_validate_json(result.model_dump_json()) == result
            assert result.requirement
            assert result.measured

    def test_computation_shows_counts(self) -> None:
        """What was counted, and what of, stands in the result; 16-bit activations are counted as int8."""
        result = ComputeHeld().judge(replace(GOOD, macs={"int16": 190, "fp32": 10}))

        assert result.requirement == "at least 95% of multiply-accumulates int8"
        assert result.measured == "fp32 10 (5.00%), int8 190 (95.00%)"

    def test_a_claim_that_nobody_knows(self) -> None:
        """The clause on computation says which claim it cannot hold anything against."""
        result = ComputeHeld().judge(replace(GOOD, claimed_precision="int4"))

        assert not result.passed
        assert result.requirement == "multiply-accumulates of the claimed type 'int4'"

    def test_precision_shows_counts(self) -> None:
        """The weights are listed by type, so that a share beside the bound can be checked."""
        result = PrecisionHeld().judge(replace(GOOD, weight_dtypes={"int8": 94_999, "fp32": 5_001}))

        assert result.measured == "fp32 5,001 (5.00%), int8 94,999 (95.00%)"
        assert result.requirement == "at least 95% of weight elements int8"


class TestEvidence:
    """What a policy looks at."""

    def test_same_images(self) -> None:
        """Figures of different splits are not compared."""
        with pytest.raises(ValueError, match="different images"):
            replace(GOOD, artifact=metrics(negatives=233))


class TestPolicySettings:
    """The bounds that a user may set."""

    def test_defaults(self) -> None:
        """The defaults are those that the documentation promises."""
        assert SETTINGS.model_dump() == {
            "min_sensitivity": 0.98,
            "max_specificity_drop": 0.03,
            "max_auc_drop": 0.01,
            "min_agreement": 0.98,
            "min_specificity": 0.5,
        }

    @pytest.mark.parametrize("field", list(PolicySettings.model_fields))
    @pytest.mark.parametrize("value", [float("nan"), float("inf"), -0.01, 1.01])
    def test_outside(self, field: str, value: float) -> None:
        """A bound that is not between 0 and 1 is refused, and so is NaN."""
        with pytest.raises(ValidationError):
            PolicySettings(**{field: value})

    def test_unknown(self) -> None:
        """A misspelled bound is refused and not ignored."""
        with pytest.raises(ValidationError, match="min_sensitivty"):
            PolicySettings(min_sensitivty=0.5)  # type: ignore[call-arg]

    def test_frozen(self) -> None:
        """A bound cannot be loosened after it was set."""
        with pytest.raises(ValidationError, match="frozen"):
            SETTINGS.min_sensitivity = 0.5

    def test_digest_pinned(self) -> None:
        """The digest of the default policy changes only with the policy: then old reports no longer count."""
        assert SETTINGS.digest() == "478996aa330ff154a6dd1e0192892e9810d814603b6e529bd084af5aa1472215"
        old = PolicySettings(min_specificity=None)
        assert old.digest() == "e2578dff7732ed3d827c54772c2507ca6fd91b50c6e22943aa416e6f86f0b6c0"  # 0.1.0's

    @pytest.mark.parametrize("field", list(PolicySettings.model_fields))
    def test_digest_differs(self, field: str) -> None:
        """Every bound is part of the digest."""
        assert PolicySettings(**{field: 0.4}).digest() != SETTINGS.digest()

    def test_digest_canonical(self) -> None:
        """Settings that are equal have equal digests, however they were written."""
        assert PolicySettings(min_sensitivity=1).digest() == PolicySettings(min_sensitivity=1.0).digest()
        stored = PolicySettings.model_validate_json(SETTINGS.model_dump_json())
        assert stored.digest() == SETTINGS.digest()

    @pytest.mark.parametrize(
        ("name", "value"),
        [("MAX_INVARIANCE", 1.0), ("MIN_WEIGHT_SHARE", {"int8": 0.0}), ("MIN_MAC_SHARE", {"int8": 0.0})],
    )
    def test_digest_of_fixed_bounds(self, monkeypatch: pytest.MonkeyPatch, name: str, value: object) -> None:
        """A bound that a later version changes is part of the digest too."""
        before = SETTINGS.digest()

        monkeypatch.setattr(f"udacimed_edge.validation.policy.policy.{name}", value)

        assert SETTINGS.digest() != before
