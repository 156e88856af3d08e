"""The gate believes nothing in an advice but what its digest vouches for, and passes nothing that is not measured."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import json
import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

import advisor
from advisor.advice import Advice
from advisor.computing import chosen_device
from advisor.computing.chosen_device import current
from advisor.errors import AdvisorError, GateError
from advisor.estimate import Estimate
from advisor.gate import Checked, Gate
from advisor.planning.release import release_measuring
from advisor.requirements import REQUIREMENTS
from advisor.support import memory_limit
from tests.conftest import samples, tiny_net

X, Y = (torch.from_numpy(part) for part in samples().values())
Edit = Callable[[Any], None]


@pytest.fixture(scope="module")
def advice() -> Advice:
    """A split plan with rounding of a module in memory, and what an attack is said to have found."""
    found = advisor.recommend(
        tiny_net(), data=(X, Y), trials=2, defenses="int8", verify="none", require_split=True, min_nmse=0, max_ssim=1
    )
    verified = {"nmse": Estimate(0.42, 0.02, 0.38, 0.46), "ssim": Estimate(0.48, 0.02, 0.44, 0.52)}
    best = next(plan for plan in found.pareto if plan.defense.name == "int8")
    return dataclasses.replace(found, best=dataclasses.replace(best, verified=verified))


@pytest.fixture
def saved(advice: Advice, tmp_path: Path) -> Path:
    advice.save(tmp_path)
    return tmp_path


@pytest.fixture
def edited(saved: Path) -> Callable[[Edit], Path]:
    def edit(change: Edit) -> Path:
        plain = json.loads((saved / "advice.json").read_text())
        change(plain)
        (saved / "advice.json").write_text(json.dumps(plain))
        return saved

    return edit


@pytest.fixture
def attacked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Attacks that were run, none of them for real: each leaves an NMSE of 0.4 (0.35 to 0.45)."""
    seen: list[str] = []

    scores = {
        "nmse": Estimate(0.4, 0.03, 0.35, 0.45), "ssim": Estimate(0.5, 0.02, 0.45, 0.55),
        "top1": Estimate(0.2, 0.01, 0.18, 0.22),
    }  # fmt: skip

    def attack(judge: object, plan: Any, budget: str, progress: object, name: str) -> Any:
        seen.append(f"{plan.cut.name} {plan.defense} {budget}")
        return SimpleNamespace(scores=scores, reported=scores["nmse"], top1=scores["top1"])

    monkeypatch.setattr(release_measuring.PlanEvaluator, "attack", attack)
    return seen


def retrained() -> nn.Module:
    other = tiny_net()
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(1.01)
    return other


def by_name(gate: Gate) -> dict[str, Checked]:
    return {check.name: check for check in gate.checks}


def test_costs_are_computed_again_and_held_against_the_limit(advice: Advice) -> None:
    latency = advice.best.predicted["latency"].value
    gate = advisor.check(advice, max_latency=latency * 1.001)
    assert gate.passed, gate.failures
    assert by_name(gate)["max_latency"].estimate.value == pytest.approx(latency)
    assert by_name(gate)["max_latency"].how == "recomputed"
    gate = advisor.check(advice, max_latency=latency * 0.5, max_edge_memory="1GiB")
    assert not gate.passed
    assert len(gate.failures) == 1
    assert gate.failures[0].startswith("--max-latency: the latency is ")
    assert by_name(gate)["max_edge_memory"].status == "met"
    with pytest.raises(GateError, match=r"The gate failed, 1 of 3 checks\. --max-latency: ") as caught:
        gate.require()
    assert caught.value.exit_code == 5


def test_it_computes_where_it_was_told_to(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def attack(judge: object, *_: Any, **__: Any) -> Any:
        seen.append(f"{current()} {memory_limit.limit()}")
        raise AdvisorError("no attack here.")

    monkeypatch.setattr(release_measuring.PlanEvaluator, "attack", attack)
    monkeypatch.setattr(chosen_device, "chosen", lambda wanted: torch.device("cpu:0" if wanted == "cuda:7" else "cpu"))
    for compute in ("cuda:7", "cpu"):
        advisor.check(saved, tiny_net(), (X, Y), min_nmse=0.1, compute=compute, memory="2GiB")
    assert seen == [f"cpu:0 {2**31}", f"cpu {2**31}"]
    monkeypatch.undo()
    with pytest.raises(AdvisorError, match="This computer has no cuda:7"):
        advisor.check(saved, tiny_net(), (X, Y), min_nmse=0.1, compute="cuda:7")


def test_a_recorded_number_that_was_edited_is_not_believed(edited: Callable[[Edit], Path]) -> None:
    """The plan is said to take a nanosecond and to leak nothing: the model says otherwise, or nothing does."""

    def lie(plain: Any) -> None:
        plan = plain["best"]
        plan["predicted"]["latency"] |= {"value": 1e-9, "low": 1e-9, "high": 1e-9}
        plan["predicted"]["score"] |= {"value": 1.0, "low": 1.0, "high": 1.0}
        plan["verified"]["nmse"] |= {"value": 1.0, "low": 1.0, "high": 1.0}

    folder = edited(lie)
    gate = advisor.check(folder, max_latency="1ms", min_nmse=0.9)
    assert [check.status for check in gate.checks] == ["not measured"] * 3
    assert gate.failures[0].startswith("The model could not be checked: ")
    gate = advisor.check(folder, tiny_net(), max_latency="1us", min_nmse=0.9)
    found = by_name(gate)
    assert found["max_latency"].status == "moved"  # the last check of that name
    assert any("--max-latency: the latency is" in line for line in gate.failures)
    assert "latency moved: the advice says 0.001 µs, now it is " in " ".join(gate.failures)
    assert found["min_nmse"].status == "not measured"
    assert "given in Python. Pass --data" in found["min_nmse"].failure


def test_the_digest_vouches_for_what_is_recorded(advice: Advice, saved: Path, attacked: list[str]) -> None:
    gate = advisor.check(saved, digest=advice.digest, max_latency="10s")
    assert gate.passed, gate.failures
    assert gate.digest == advice.digest
    assert set(by_name(gate)) == {"digest", "model", "max_latency", "min_nmse", "max_ssim"}  # its own budgets too
    assert by_name(gate)["min_nmse"].how == "recorded; the digest vouches for it"
    assert attacked == []
    gate = advisor.check(saved, digest="sha256:" + advice.digest.upper().lower(), min_nmse=0.999, max_ssim=1)
    assert gate.failures[0].startswith("--min-nmse: the attacker's NMSE is ")


def test_another_digest_fails_and_vouches_for_nothing(advice: Advice, edited: Callable[[Edit], Path]) -> None:
    folder = edited(lambda plain: plain["budgets"].update(max_latency=99.0))
    gate = advisor.check(folder, digest=advice.digest, max_latency="10s")
    assert not gate.passed
    assert gate.failures[0] == f"The advice is another one: its digest is {gate.digest}, not {advice.digest}."
    assert by_name(gate)["model"].status == "not measured"


def test_the_digest_is_that_of_the_canonical_json(advice: Advice, saved: Path) -> None:
    plain = json.loads((saved / "advice.json").read_bytes())
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert hashlib.sha256(text.encode()).hexdigest() == advice.digest == advisor.load_advice(saved).digest
    (saved / "advice.json").write_text(json.dumps(plain, indent=4), newline="\r\n")  # laid out otherwise
    assert advisor.check(saved, digest=advice.digest).digest == advice.digest


@pytest.mark.parametrize("digest", ["", "abc", "g" * 64, "sha1:" + "0" * 64])
def test_what_is_no_digest_is_refused(advice: Advice, digest: str) -> None:
    with pytest.raises(AdvisorError, match="is no SHA-256 digest"):
        advisor.check(advice, digest=digest, max_latency=1)


def test_nothing_asked_is_no_pass(advice: Advice) -> None:
    with pytest.raises(AdvisorError, match=r"Nothing is asked of this advice\. State a requirement"):
        advisor.check(advice)
    assert not Gate("plan", "0" * 64, ()).passed


def test_a_retrained_model_keeps_its_costs_and_is_attacked_again(
    advice: Advice, saved: Path, attacked: list[str]
) -> None:
    gate = advisor.check(
        saved,
        retrained(),
        (X, Y),
        digest=advice.digest,
        max_latency="10s",
        min_nmse=0.3,
        max_ssim=1,
        max_accuracy_drop=1,
    )
    found = by_name(gate)
    assert gate.passed, gate.failures
    assert found["model"].found == "the same architecture, other weights"
    assert found["data"].found == "the same"
    assert found["max_latency"].estimate.value == pytest.approx(advice.best.predicted["latency"].value)
    assert (found["min_nmse"].how, found["min_nmse"].estimate.value) == ("attacked again", 0.4)
    assert "labels" in found["max_accuracy_drop"].estimate.method
    assert attacked == [f"{advice.best.cut.name} int8 quick"]
    stricter = advisor.check(saved, retrained(), (X, Y), digest=advice.digest, min_nmse=0.38)
    assert stricter.failures == (
        "--min-nmse: the attacker's NMSE is 0.350 at the bad end of its 90 % interval (0.400 by itself), at least "
        "0.380 is asked (attacked again).",
    )


def test_other_weights_without_samples_are_not_taken_on_trust(advice: Advice, saved: Path) -> None:
    gate = advisor.check(saved, retrained(), digest=advice.digest, min_nmse=0, max_ssim=1)
    assert [by_name(gate)[name].status for name in ("model", "min_nmse", "max_ssim")] == ["met", *["not measured"] * 2]
    assert "Pass --data" in gate.failures[0]


def test_other_samples_are_measured_again(advice: Advice, saved: Path, attacked: list[str]) -> None:
    gate = advisor.check(saved, tiny_net(), (X.flip(-1), Y), digest=advice.digest, min_nmse=0.3, max_ssim=1)
    assert by_name(gate)["data"].found == "others"
    assert len(attacked) == 1


def test_without_the_digest_the_attack_is_run_again(advice: Advice, attacked: list[str]) -> None:
    gate = advisor.check(advice, max_ssim=1, verify="strong")  # model and data are still in memory
    assert attacked == [f"{advice.best.cut.name} int8 strong"]
    assert by_name(gate)["max_ssim"].status == "met"


def test_evidence_that_is_no_longer_found_has_moved(edited: Callable[[Edit], Path], attacked: list[str]) -> None:
    def lie(plain: Any) -> None:
        plain["best"]["predicted"]["score"] |= {"value": 0.99, "low": 0.98, "high": 1.0}
        plain["best"]["verified"]["nmse"] |= {"value": 0.99, "low": 0.98, "high": 1.0}

    gate = advisor.check(edited(lie), tiny_net(), (X, Y), min_nmse=0)
    assert gate.failures == ("attacker's NMSE moved: the advice says 0.990, now it is 0.400 (attacked again).",)
    assert by_name(gate)["evidence"].status == "moved"


def test_leakage_that_no_estimator_tells_is_what_the_attack_says(
    advice: Advice, attacked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    row = dataclasses.replace(REQUIREMENTS["max_ssim"], name="max_again", quantity="top1", measurement="ids_again")
    monkeypatch.setitem(REQUIREMENTS, row.name, row)
    gate = advisor.check(advice, requirements={"max_again": 0.5})
    assert (by_name(gate)["max_again"].how, by_name(gate)["max_again"].estimate.value) == ("attacked again", 0.2)
    assert not advisor.check(advice, requirements={"max_again": 0.21}).passed  # at the bad end it is 0.22


def test_an_attack_that_fails_is_no_privacy(advice: Advice, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise AdvisorError("it diverged.", "Report it.")

    monkeypatch.setattr(release_measuring.PlanEvaluator, "attack", broken)
    gate = advisor.check(advice, min_nmse=0)
    assert gate.failures == ("--min-nmse: the attacker's NMSE could not be measured (the attack failed: it diverged).",)


def test_an_attack_that_fails_beside_others_is_named(
    advice: Advice, attacked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    works = release_measuring.PlanEvaluator.attack

    def attack(judge: Any, plan: Any, budget: str, progress: object, name: str) -> Any:
        if name == "rmle":
            raise AdvisorError("it diverged.", "Report it.")
        return works(judge, plan, budget, progress, name)

    monkeypatch.setattr(release_measuring.PlanEvaluator, "attack", attack)
    monkeypatch.setattr(release_measuring, "faced", lambda plan, secret: ("ka", "rmle"))
    gate = advisor.check(advice, min_nmse=0)
    assert gate.passed
    assert "The attack rmle failed, which says nothing about privacy: it diverged." in gate.notes


def test_limits_are_held_against_the_interval_that_is_asked_for(advice: Advice) -> None:
    latency = by_name(advisor.check(advice, max_latency=1e3))["max_latency"].estimate
    assert latency is not None
    between = (latency.value + latency.high) / 2
    assert advisor.check(advice, max_latency=between).passed
    gate = advisor.check(advice, max_latency=between, confidence=0.9)
    assert not gate.passed
    assert "at the bad end of its 90 % interval" in gate.failures[0]
    wider = advisor.check(advice, max_latency=latency.high * (1 + 1e-9), confidence=0.99)
    assert "at the bad end of its 99 % interval" in wider.failures[0]
    with pytest.raises(AdvisorError, match=r"A confidence of 1\.5 makes no sense"):
        advisor.check(advice, max_latency=1, confidence=1.5)


def test_nan_passes_no_check(advice: Advice, attacked: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    missing = dataclasses.replace(
        advice, best=dataclasses.replace(advice.best, predicted={}, verified={}, graph=None), evidence=()
    )
    gate = advisor.check(missing, digest=missing.digest, min_nmse=0)
    assert by_name(gate)["min_nmse"].failure.startswith("--min-nmse: the attacker's NMSE could not be measured")
    unknown = Estimate(math.nan, method="no reason")
    monkeypatch.setattr(release_measuring.PlanEvaluator, "costs", lambda *_: {"latency": unknown})
    gate = advisor.check(advice, max_latency=1e9)
    assert gate.failures == ("--max-latency: the latency could not be measured (no reason).",)
    assert json.loads(json.dumps(gate.to_json(), allow_nan=False))["passed"] is False


@pytest.mark.parametrize("model", [nn.Sequential(*list(tiny_net())[:-1]), nn.Sequential(*list(tiny_net())[:3])])
def test_another_architecture_is_another_model(advice: Advice, saved: Path, model: nn.Module) -> None:
    gate = advisor.check(saved, model, (X, Y), digest=advice.digest, max_latency=1)
    assert gate.failures[0].startswith("The model is not that of the advice: ")
    assert all(check.status != "met" for check in gate.checks if check.name in advice.budgets.limits)


def test_measured_costs_count_for_the_same_architecture_only_under_the_digest(
    edited: Callable[[Edit], Path], advice: Advice
) -> None:
    folder = edited(lambda plain: plain["request"]["target"].update(device="ssh://board"))
    gate = advisor.check(folder, tiny_net(), max_latency="10s")
    assert "its costs were measured on a device: --digest vouches" in gate.failures[0]
    digest = advisor.load_advice(folder).digest
    gate = advisor.check(folder, retrained(), digest=digest, max_latency="10s", requirements={"min_nmse": 0})
    assert by_name(gate)["max_latency"].how == "recorded; the digest vouches for it"
    gate = advisor.check(folder, tiny_net(), max_latency="10s", device="raspberry-pi-5")
    assert gate.passed, gate.failures


def test_nothing_sent_leaks_nothing(attacked: list[str]) -> None:
    whole = advisor.recommend(tiny_net(), data=(X, Y), trials=1, defenses="none", verify="none")
    assert whole.verdict == "all-edge"
    gate = advisor.check(whole, min_nmse=1, max_ssim=0, max_accuracy_drop=0)
    assert gate.passed, gate.failures
    assert gate.plan == "everything on the edge"
    assert attacked == []


def test_the_advice_of_no_plan_fails(advice: Advice) -> None:
    empty = dataclasses.replace(advice, best=None, best_split=None)
    assert advisor.check(empty, max_latency=1).failures == ("The advice has no plan.",)


def test_what_is_unknown_is_refused(advice: Advice) -> None:
    with pytest.raises(AdvisorError, match=r"There is no option 'joy'\. See the documentation"):
        advisor.check(advice, max_latency=1, joy=2)
    with pytest.raises(AdvisorError, match=r"There is no option 'max_latncy'\. Did you mean max_latency\?"):
        advisor.check(advice, max_latency=1, max_latncy=2)


def test_the_model_is_left_as_found(advice: Advice) -> None:
    model = tiny_net().train()
    before = copy.deepcopy(model.state_dict())
    advisor.check(advice, model, max_latency="10s")
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


FITS = tuple(torch.from_numpy(part) for part in samples(120).values())


@pytest.fixture(scope="module")
def fitted() -> Advice:
    """Plans of a bottleneck and of a local head."""
    return advisor.recommend(
        tiny_net(), data=FITS, defenses="bottleneck,local-head", recipe="epochs=1,batch=32", effort="quick",
        verify="none", require_split=True, min_nmse=0, max_ssim=1,
    )  # fmt: skip


@pytest.mark.slow
def test_a_local_head_is_measured_with_its_own_weights_and_sends_nothing(
    fitted: Advice, tmp_path: Path, attacked: list[str]
) -> None:
    head = next(plan for plan in fitted.baselines if plan.kind == "local-head")
    head.fitted.keep(head.graph, None, tmp_path)
    chosen = dataclasses.replace(fitted, best=head, verdict="local-head")
    (tmp_path / "advice.json").write_text(json.dumps(chosen.to_json()))
    assert advisor.load_advice(tmp_path).best.kind == "local-head"
    gate = advisor.check(tmp_path, tiny_net(), FITS, max_latency="10s", max_accuracy_drop=1, min_nmse=1, max_bytes=0)
    assert {check.name for check in gate.checks if check.status != "met"} == set(), gate.failures
    for limit, quantity in (("max_latency", "latency"), ("max_accuracy_drop", "accuracy_drop")):
        assert by_name(gate)[limit].estimate.value == pytest.approx(head.predicted[quantity].value)
    assert attacked == []
    tight = advisor.check(tmp_path, tiny_net(), FITS, max_latency=head.predicted["latency"].value / 2)
    assert not tight.passed
    head.fitted.file(tmp_path).unlink()
    gone = advisor.check(tmp_path, tiny_net(), FITS, max_latency="10s")
    assert "The weights of local-head at " in gone.failures[0]


@pytest.mark.slow
def test_a_fitted_plan_is_measured_with_its_own_weights(fitted: Advice, tmp_path: Path, attacked: list[str]) -> None:
    (x, y), made = FITS, fitted
    plan = next(plan for plan in made.plans if plan.fitted is not None and plan.kind == "split")
    chosen = dataclasses.replace(made, best=plan, best_split=plan)
    plan.fitted.keep(plan.graph, None, tmp_path)
    (tmp_path / "advice.json").write_text(json.dumps(chosen.to_json()))
    asked = {"max_latency": "10s", "max_accuracy_drop": 1, "min_nmse": 0.3}
    fine = advisor.check(tmp_path, tiny_net(), (x, y), **asked)
    assert {check.name for check in fine.checks if check.status != "met"} <= {"evidence"}  # the attack here is none
    drop = by_name(fine)["max_accuracy_drop"].estimate
    assert drop.value == pytest.approx(plan.predicted["accuracy_drop"].value)
    assert by_name(fine)["max_latency"].estimate.value == pytest.approx(plan.predicted["latency"].value)
    assert attacked
    other = advisor.check(tmp_path, retrained(), (x, y), digest=fine.digest, **asked)
    assert {by_name(other)[name].status for name in ("max_accuracy_drop", "min_nmse")} == {"not measured"}
    plan.fitted.file(tmp_path).unlink()
    gone = advisor.check(tmp_path, tiny_net(), (x, y), **asked)
    assert "The weights of bottleneck at " in gone.failures[0]
    assert not any(check.status == "met" for check in gone.checks if check.name in asked)
