"""Plans and advice: what they say of budgets and leakage, and that nothing is lost in their files."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from advisor.advice import Advice, Gallery, check_model_file, load_advice
from advisor.columns import Column, Profile
from advisor.cuts import Cut, TensorSpec
from advisor.defenses import GaussianNoise, NoDefense, Quantize8
from advisor.errors import AdvisorError
from advisor.estimate import Estimate
from advisor.files import sha256
from advisor.plans import Plan
from advisor.requirements import Budgets
from tests.models import ZOO, traced

CUTS = (Cut(0, "input", (TensorSpec((6,), "float32"),)), Cut(1, "a", (TensorSpec((4,), "float32"),)))


def plan(**changes: Any) -> Plan:
    predicted = {
        "latency": Estimate(0.02, 0.001, 0.018, 0.022, "s", "estimated", "roofline"),
        "accuracy_drop": Estimate(math.nan, method="no labels"),
        "edge_memory": Estimate.exact(1e6, "B"),
        "score": Estimate(0.8, 0.05, 0.7, 0.9),
        "score_ssim": Estimate(0.2, 0.05, 0.1, 0.3),
    }
    return Plan(**{"cuts": (CUTS[1],), "defense": GaussianNoise(0.5, 2.0), "predicted": predicted, **changes})


def advice(**changes: Any) -> Advice:
    why = ("", "too few samples")
    profile = Profile(CUTS, {"rc2": Column.of("rc2", "z²", "high", [1.0, math.nan], "measured", why=why)}, {"seed": 0})
    parts: dict[str, Any] = {
        "headline": "Cut at a.",
        "best": plan(),
        "feasible": True,
        "reasons": ("fast", "private"),
        "zone": ("a",),
        "pareto": (plan(defense=Quantize8()), plan(defense=NoDefense())),
        "nearest": (plan(excess={"max_latency": 0.01, "max_accuracy_drop": math.nan}),),
        "baselines": (plan(kind="all-edge"), plan(kind="all-cloud")),
        "profile": profile,
        "budgets": Budgets(max_latency=0.03, max_accuracy_drop=0.02),
        "gallery": Gallery(("data:image/png;base64,AA",), {"a": ("data:image/png;base64,BB",)}, "digits"),
        "provenance": {"model": {"path": "m.pt", "sha256": "0" * 64}, "share": math.nan},
    }
    return Advice(**{**parts, **changes})


# ---- budgets and leakage --------------------------------------------------------------------------------------------


def test_excess_is_how_far_over_and_nan_where_not_measured() -> None:
    excess = Budgets(max_latency=0.015, max_accuracy_drop=0.02, max_edge_memory=2e6).excess(plan().predicted)
    assert excess.keys() == {"max_latency", "max_accuracy_drop"}
    assert excess["max_latency"] == pytest.approx(0.005)
    assert math.isnan(excess["max_accuracy_drop"])


def test_what_was_not_predicted_counts_as_missed() -> None:
    assert math.isnan(Budgets(max_latency=1.0).excess({})["max_latency"])


def test_a_budget_met_exactly_is_met() -> None:
    assert Budgets(max_latency=0.02).excess(plan().predicted) == {}
    assert not Budgets(max_latency=0.02).has_leakage
    assert Budgets(min_nmse=0.5).has_leakage
    assert Budgets(max_ssim=0.5).has_leakage


@pytest.mark.parametrize(
    ("verified", "score", "ssim"),
    [
        ({}, 0.8, 0.2),
        ({"nmse": 0.6, "ssim": 0.4}, 0.6, 0.4),
        ({"nmse": 0.9, "ssim": 0.1}, 0.8, 0.2),
        ({"nmse": math.nan, "ssim": math.nan}, 0.8, 0.2),
    ],
)
def test_leakage_is_the_worse_of_predicted_and_verified(verified: dict[str, float], score: float, ssim: float) -> None:
    made = plan(verified={key: Estimate(value) for key, value in verified.items()})
    assert made.leakage("score").value == score
    assert made.leakage("score_ssim").value == ssim


def test_an_attack_tells_where_nothing_was_predicted() -> None:
    made = plan(predicted={"score": Estimate(math.nan)}, verified={"nmse": Estimate(0.3)})
    assert made.leakage("score").value == 0.3


def test_a_plan_reads_as_cut_and_defense() -> None:
    assert str(plan()) == "a + gaussian(sigma=0.5, dfil=2)"
    assert plan().cut is CUTS[1]
    assert plan().feasible
    assert not plan(excess={"max_latency": 0.01}).feasible


# ---- files ----------------------------------------------------------------------------------------------------------


def test_advice_survives_its_json() -> None:
    payload = json.loads(json.dumps(advice().to_json(), allow_nan=False))
    again = Advice.from_json(payload)
    assert again.to_json() == payload
    assert again.best is not None
    assert again.best.defense == GaussianNoise(0.5, 2.0)
    assert [p.defense for p in again.pareto] == [Quantize8(), NoDefense()]
    assert [p.kind for p in again.baselines] == ["all-edge", "all-cloud"]
    assert math.isnan(again.nearest[0].excess["max_accuracy_drop"])
    assert again.nearest[0].excess["max_latency"] == 0.01
    assert again.profile["rc2"].why == ("", "too few samples")
    assert again.budgets == advice().budgets
    assert again.gallery == advice().gallery
    assert again.provenance["share"] is None
    assert (again.headline, again.reasons, again.zone, again.feasible) == (
        "Cut at a.",
        ("fast", "private"),
        ("a",),
        True,
    )


def test_advice_without_a_plan_survives_too() -> None:
    again = Advice.from_json(advice(best=None, feasible=False).to_json())
    assert again.best is None
    assert not again.feasible


def test_the_graph_stays_out_of_the_file() -> None:
    made = plan(graph=traced("two_inputs"), inputs=traced("two_inputs").inputs)
    payload = advice(best=made).to_json()
    assert "graph" not in payload["best"]
    assert payload["best"]["inputs"]["tensors"][1]["shape"] == [3]
    assert "graph" not in repr(made)


def test_a_plan_splits_before_and_after_its_file() -> None:
    graph, model = traced("branches"), ZOO["branches"].model()
    made = plan(cuts=(graph.cut("mul"),), defense=Quantize8(), graph=graph, inputs=graph.inputs)
    loaded = Advice.from_json(advice(best=made).to_json()).best
    assert loaded is not None
    x = ZOO["branches"].inputs(3)
    expected = graph.split("mul")[1](Quantize8().restore(Quantize8().apply(graph.split("mul")[0](x))))
    for edge, cloud in (made.split(), loaded.split(model)):
        assert torch.equal(cloud(edge(x)), expected)


def test_a_loaded_plan_asks_for_its_model() -> None:
    with pytest.raises(AdvisorError, match=r"loaded without its model\. Pass it: plan\.split\(model\)"):
        plan().split()


def test_advice_is_loaded_from_its_folder_or_file(tmp_path: Path) -> None:
    (tmp_path / "advice.json").write_text(json.dumps(advice().to_json()))
    assert load_advice(tmp_path).to_json() == load_advice(tmp_path / "advice.json").to_json() == advice().to_json()


def changed(**changes: Any) -> dict[str, Any]:
    return {**advice().to_json(), **changes}


BROKEN = changed()["best"]


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        ("text", "This is not an advice file: its top level"),
        (changed(schema_version="9.0"), r"schema version 9\.0, newer than .*pip install --upgrade"),
        (changed(best={**BROKEN, "defense": {"name": "ma gic", "parameters": {}}}), "unknown defense 'ma gic'"),
        (changed(best={**BROKEN, "defense": {"name": "gaussian", "parameters": {"volume": 1}}}), "volume"),
        (changed(best={**BROKEN, "defense": {"name": "gaussian", "parameters": {"sigma": "loud"}}}), "makes no sense"),
        (changed(best={**BROKEN, "defense": None}), "This is not an advice file"),
        (changed(best={**BROKEN, "kind": "half"}), "best.*kind"),
        (changed(best={**BROKEN, "cuts": []}), r"best.*cuts.*at least 1"),
        (changed(best={**BROKEN, "cuts": BROKEN["cuts"] * 3}), r"best.*cuts.*at most 2"),
        (changed(profile=[]), "This is not an advice file: profile"),
        (changed(pareto=7), r"pareto.*Write it with `advisor recommend --out`"),
    ],
)
def test_what_is_no_advice_is_refused_in_one_line(payload: Any, message: str) -> None:
    with pytest.raises(AdvisorError, match=message) as caught:
        Advice.from_json(payload)
    assert "\n" not in str(caught.value)


def test_a_newer_minor_version_may_say_more() -> None:
    assert Advice.from_json(changed(schema_version="1.9", mood="good")).headline == "Cut at a."


@pytest.mark.parametrize("named", ["nowhere", "model.pt2"])
def test_what_an_advice_is_is_said_where_something_else_is_named(named: str, tmp_path: Path) -> None:
    (tmp_path / "model.pt2").write_bytes(b"PK\x03\x04\xf6")
    with pytest.raises(AdvisorError, match=rf"{named}.* Name a folder or advice\.json that `advisor recommend` wrote"):
        load_advice(tmp_path / named)


def test_a_truncated_file_says_so(tmp_path: Path) -> None:
    text = json.dumps(advice().to_json())
    for size in (0, 10, len(text) // 2, len(text) - 1):
        (tmp_path / "advice.json").write_text(text[:size])
        with pytest.raises(AdvisorError, match=r"advice\.json is not readable JSON: .*truncated"):
            load_advice(tmp_path)


def test_another_model_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m.pt").write_bytes(b"weights")
    right = advice(provenance={"model": {"sha256": sha256(tmp_path / "m.pt")}})
    check_model_file(right, tmp_path / "m.pt")
    (tmp_path / "m.pt").write_bytes(b"other weights")
    with pytest.raises(AdvisorError, match=r"m\.pt is not the model of this advice .*Pass the right one with --model"):
        check_model_file(right, tmp_path / "m.pt")


def test_half_a_surrogate_pair_in_any_text_is_written_as_an_escape(tmp_path: Path) -> None:
    """File names and names of modules may hold one; JSON in UTF-8 cannot."""
    odd = {"headline": "cut at \udcff", "zone": ("a\ud800",), "unmeasured": ("x", "\udfff")}
    advice(**odd).save(tmp_path)
    found = load_advice(tmp_path)
    assert (found.headline, found.zone) == ("cut at \\udcff", ("a\\ud800",))
    written, plainly = advice(**odd).to_json(), advice().to_json()
    assert {k: v for k, v in written.items() if k not in odd} == {k: v for k, v in plainly.items() if k not in odd}


def test_advices_may_still_be_taken_from_where_plans_are() -> None:
    from advisor import load_advice, plans
    from advisor.plans import Advice as Same
    from advisor.plans import load_advice as same

    assert (Same, same) == (Advice, load_advice)
    with pytest.raises(AttributeError, match="has no attribute 'Gallery'"):
        getattr(plans, "Gallery")  # noqa: B009
