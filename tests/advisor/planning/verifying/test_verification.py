"""`--verify`: which attack is run on which plan, and what is said where none was."""

from __future__ import annotations

import dataclasses
import math
import stat
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import advisor
from advisor.advice import Advice
from advisor.defenses import GaussianNoise, NoDefense
from advisor.errors import AdvisorError
from advisor.estimate import Estimate
from advisor.estimators.attacks.support import floors
from advisor.estimators.attacks.support.floors import fixed
from advisor.estimators.attacks.support.metrics import AttackResult
from advisor.planning.evaluating.evaluation import PlanEvaluator
from advisor.planning.evaluating.leakage_limits import LeakageLimits
from advisor.planning.selecting.selection import choose, with_excess
from advisor.planning.shared_study.study_storage import attack_folder
from advisor.planning.stages import Step
from advisor.planning.verifying import verification
from advisor.plans import Evidence, Plan
from advisor.reports import console, html, markdown
from advisor.requirements import Budgets
from advisor.support.checkpoint import Checkpoint
from advisor.testing import made_up_advices
from tests.advisor.plans import a_plan
from tests.conftest import tiny_net


class Words(nn.Module):
    """Ids, embeddings, two layers, three classes."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.mix, self.act, self.out = nn.Embedding(30, 6), nn.Linear(24, 24), nn.Tanh(), nn.Linear(24, 3)

    def forward(self, ids: Tensor) -> Tensor:
        return self.out(self.act(self.mix(self.embed(ids).flatten(1))))


def clouds(n: int = 80) -> tuple[Tensor, Tensor]:
    """Pictures of three classes."""
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(n) % 3
    x = 0.3 + 0.2 * y[:, None, None, None] + 0.2 * torch.rand(n, 1, 8, 8, generator=generator)
    return x, y


def recommended(**options: object) -> Advice:
    given = {"trials": 1, "defenses": "none", "verify": "quick"} | options
    return advisor.recommend(tiny_net(3), data=clouds(), **given)  # type: ignore[arg-type]


def test_discrete_inputs_are_verified_by_their_ids() -> None:
    ids = torch.randint(30, (60, 4), generator=torch.Generator().manual_seed(0))
    advice = advisor.recommend(
        Words().eval(), torch.zeros(2, 4).long(), data=(ids, torch.arange(60) % 3), trials=2, defenses="none",
        require_split=True,
    )  # fmt: skip
    best = advice.best_split
    assert best is not None
    mine = [e for e in advice.evidence if e.cut == best.cut.name]
    assert mine[0].attack == "ids"
    assert best.verified.keys() == {"top1", "top5"}
    assert best.verified["top1"] == mine[0].scores["top1"]
    assert any("attack on ids" in reason for reason in advice.reasons)
    assert any("--max-ids-recovered, which was not asked" in reason for reason in advice.reasons)
    assert "weaker than the strong attack that is predicted, was run: top 1" in markdown.render(advice)


@pytest.mark.slow
def test_a_limit_on_ids_is_held_by_attacks_one_plan_after_the_other() -> None:
    """No prediction tells how many ids are recovered."""
    ids = torch.randint(30, (60, 4), generator=torch.Generator().manual_seed(0))

    def asked(limit: float) -> Advice:
        return advisor.recommend(
            Words().eval(), torch.zeros(2, 4).long(), data=(ids, torch.arange(60) % 3), trials=4, defenses="none",
            require_split=True, max_ids_recovered=limit,
        )  # fmt: skip

    held = asked(1.0)
    assert held.feasible
    assert held.best is not None
    assert "top1" in held.best.verified
    assert "()" not in " ".join(held.reasons)
    missed = asked(0.0)
    assert not missed.feasible
    assert missed.best is not None
    assert missed.best.excess["max_ids_recovered"] > 0  # it was attacked
    assert "--max-ids-recovered by" in " ".join(missed.reasons)


@pytest.mark.slow
def test_verification_shows_how_far_each_attack_is() -> None:
    told: list[float] = []

    def progress(stage: str, share: float, what: str) -> None:
        if stage == "verify":
            told.append(share)

    advice = recommended(defenses="free", trials=8, progress=progress)
    assert advice.best_split is not None
    assert advice.best_split.is_of(advice.evidence[0])  # the chosen plan's stands before the others'
    assert told == sorted(told)
    assert told[-1] == 1
    assert len([share for share in told if 0 < share < 1 / 8]) >= 3


class Killed(BaseException):
    """As by a signal that cannot be caught."""


@pytest.mark.slow
def test_a_killed_verification_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(floors, "KEPT", 0)  # as in a process of its own
    saved: list[Path] = []
    save = Checkpoint.save

    def counted(self: Checkpoint, state: dict[str, object]) -> None:
        if self.file is not None:
            saved.append(self.file)
        save(self, state)

    def kill(stage: str, share: float, what: str) -> None:
        if stage == "verify" and share > 0.1:
            raise Killed

    monkeypatch.setattr(Checkpoint, "save", counted)
    whole = recommended(storage=f"sqlite:///{tmp_path / 'whole.db'}")
    steps = len(saved)
    saved.clear()
    storage = f"sqlite:///{tmp_path / 'killed.db'}"
    with pytest.raises(Killed):
        recommended(storage=storage, progress=kill)
    assert 0 < len(saved) < steps
    kept = tmp_path / "killed.db-attacks"
    files = [kept, *kept.rglob("*")]  # they hold private activations
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o700, 0o600}
    again = recommended(storage=storage)
    assert len(saved) == steps
    assert again.best_split is not None
    assert whole.best_split is not None
    assert again.best_split.verified == whole.best_split.verified
    assert not kept.exists()


@pytest.mark.parametrize(
    ("storage", "folder"),
    [
        (None, None),
        ("sqlite:///search.db", "search.db-attacks"),
        ("sqlite+pysqlite:////data/search.db?timeout=9", "/data/search.db-attacks"),
        ("sqlite:///:memory:", None),
        ("sqlite://", None),
        ("postgresql://user@host/db", None),
    ],
)
def test_attacks_are_kept_beside_a_study_in_a_file(storage: str | None, folder: str | None) -> None:
    assert attack_folder(storage) == (None if folder is None else Path(folder))


def test_ids_behind_too_much_work_are_said_not_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("advisor.planning.evaluating.plan_attacks.ID_MACS", 1.0)
    ids = torch.randint(30, (60, 4), generator=torch.Generator().manual_seed(0))
    advice = advisor.recommend(
        Words().eval(), torch.zeros(2, 4).long(), data=(ids, torch.arange(60) % 3), trials=2, defenses="none"
    )
    assert advice.best_split is not None
    said = [line for line in advice.unmeasured if "was not verified" in line]
    assert bool(said) == (not advice.best_split.verified)
    assert all("minutes a sample" in line for line in said)


@pytest.mark.slow
def test_an_attack_that_fails_leaves_a_plan_unverified_and_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(self: PlanEvaluator, *_: object, **__: object) -> None:
        raise AdvisorError("The attack failed: the inversion network diverged.", "This says nothing about privacy.")

    monkeypatch.setattr(PlanEvaluator, "attack", failing)
    advice = recommended(require_split=True)
    assert advice.best_split is not None
    assert advice.best_split.verified == {}
    assert advice.evidence == ()
    (said,) = [line for line in advice.unmeasured if "was not verified" in line and str(advice.best_split) in line]
    assert "diverged" in said
    assert advice.best_split.leakage("score") == advice.best_split.predicted["score"]
    assert "No attack was run on this plan" in markdown.render(advice)
    assert "diverged" in console.render(advice)


@pytest.mark.slow
def test_labels_of_a_u_shaped_plan_are_attacked_where_the_cloud_comes_closest_to_them() -> None:
    advice = recommended(tail="3")
    best = advice.best_split
    assert best is not None
    assert best.tail is not None
    attacks = [e.attack for e in advice.evidence if e.cut == best.cut.name]
    assert attacks == ["ka", "mlp-sim"]
    labels = advice.evidence[-1]
    assert math.isfinite(labels.scores["top1"].value)
    assert labels.notes[-1] == "on what the cloud computes of it up to 3"
    assert not any("Labels were not attacked" in line for line in advice.unmeasured)


@pytest.mark.slow
def test_where_the_cloud_computes_the_output_that_is_said() -> None:
    advice = recommended()
    assert [e.attack for e in advice.evidence] == ["ka"]
    assert any("Labels were not attacked: the cloud computes the model's output" in u for u in advice.unmeasured)
    unverified = recommended(verify="none")
    assert unverified.evidence == ()
    assert unverified.unmeasured[0].startswith("What a strong attack of 8,000 samples finds is not known at ")
    assert unverified.unmeasured[0].endswith("would do. Pass more of the attacker's samples with --aux.")


def made_up(name: str, nmse: float, floor: float) -> AttackResult:
    """A result of an attack, and what it would find in the output alone."""
    found = Estimate(nmse, 0.01, nmse - 0.02, nmse + 0.02)
    x = torch.zeros(4, 1, 8, 8)
    return AttackResult(found, found, found, found, x, x, name=name, source=fixed(Estimate(floor, 0.0, floor, floor)))


@pytest.mark.parametrize(("floor", "counted"), [(0.9, 0.3), (0.2, 0.2)])
def test_the_worst_attack_that_a_defense_must_face_counts_or_the_floor(
    floor: float, counted: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    run: list[str] = []

    def attacked(self: PlanEvaluator, plan: Plan, budget: str, progress: object, *, name: str) -> AttackResult:
        run.append(name)
        if name == "rmle":
            raise AdvisorError("The attack failed: it is out of luck.", "Try again.")
        return made_up(name, {"ka": 0.5, "wiener": 0.3}[name], floor)

    monkeypatch.setattr(PlanEvaluator, "attack", attacked)
    monkeypatch.setattr(NoDefense, "broken_by", ("wiener", "rmle", "pmc", "no-such-attack"))
    advice = recommended(require_split=True)
    best = advice.best_split
    assert best is not None
    assert run[:3] == ["ka", "wiener", "rmle"]
    assert best.verified["nmse"].value == counted
    shown = [e for e in advice.evidence if e.cut == best.cut.name]
    assert [e.attack for e in shown] == ["wiener", "ka"]
    assert shown[0].floor is not None
    assert shown[0].floor.value == floor
    assert any("output alone is read to 0.200" in note for note in shown[0].notes) == (floor < 0.3)
    assert any("rmle on" in line and "out of luck" in line for line in advice.unmeasured)
    assert Advice.from_json(advice.to_json()).evidence == advice.evidence


def test_evidence_of_an_older_version_is_marked_where_it_is_shown() -> None:
    old = Evidence("ka", "", "quick", "conv", "none", {}, 4)
    assert "by version 1 of ka; version 3 reads what a far larger channel" in old.outdated
    assert dataclasses.replace(old, version=3).outdated == ""
    assert dataclasses.replace(old, attack="ids").outdated == ""
    advice = dataclasses.replace(made_up_advices.digits(), evidence=(old,))
    assert "by version 1 of ka" in markdown.render(advice)
    assert "by version 1 of ka" in html.render(advice)


@pytest.mark.parametrize(("leaking", "count"), [(6, 7), (8, 7), (0, 3)])
def test_what_would_be_chosen_is_attacked_before_others_and_said_where_it_was_not(
    leaking: int, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fastest of the plans leak when they are attacked; of 9, the attacks reach 7."""
    limits = LeakageLimits(min_nmse=0.7, max_ssim=None, asked=True)
    plans = [a_plan(str(i), latency=0.001 * (i + 1), score=0.8 + 0.01 * i, defense=GaussianNoise(i)) for i in range(9)]
    tried: list[str] = []

    def attacked(judge: Any, plan: Plan, progress: Any) -> tuple[Plan, str]:
        tried.append(plan.cut.name)
        left = 0.1 if int(plan.cut.name) < leaking else 0.9
        return with_excess(
            dataclasses.replace(plan, verified={"nmse": Estimate.exact(left)}), Budgets(min_nmse=0.7), limits
        ), ""

    monkeypatch.setattr(verification, "attacked", attacked)
    monkeypatch.setattr(verification, "_whole_best", lambda judge, found: (found, choose(found.plans, limits)))
    monkeypatch.setattr(GaussianNoise, "strengthen", lambda self: None)
    judge: Any = SimpleNamespace(
        limits=limits, over=lambda **asked: False,
        evaluator=SimpleNamespace(results=SimpleNamespace(shared=False)),
        request=SimpleNamespace(output=SimpleNamespace(pictures=False)),
    )  # fmt: skip
    monkeypatch.setattr(verification, "labels_attacked", lambda judge, plan, progress: (plan, ""))
    *_, last = verification._attacks(judge, verification._Found(tuple(plans)), Step("verify", None))
    assert tried[: leaking + 1] == [str(i) for i in range(min(leaking + 1, 7))]
    assert len(tried) == count
    best = choose(last.plans, limits)
    assert best is not None
    assert bool(best.verified) == (leaking < 7)
    assert [said for said in last.unverified if "leaked more than they may" in said] == (
        [] if best.verified else [f"{best} was not attacked: 7 plans before it leaked more than they may"]
    )
