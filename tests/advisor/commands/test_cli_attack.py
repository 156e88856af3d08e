"""`advisor attack` on an advice, its options, and what the report then shows."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import advisor
from advisor.advice import Advice, load_advice
from advisor.estimators.attacks import ATTACKS
from advisor.reports import markdown
from tests.conftest import Run, samples, tiny_net


@pytest.fixture(scope="module")
def verified(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path, tiny_data: Path) -> Path:
    """Folder of an advice whose plan was attacked once."""
    from advisor.cli import app

    folder = tmp_path_factory.mktemp("verified") / "out"
    given = ("recommend", tiny_model, "--data", tiny_data, "--trials", 4, "--verify", "quick", "--out", folder)
    assert CliRunner().invoke(app, [str(g) for g in given]).exit_code == 0
    return folder


@pytest.fixture
def out(verified: Path, cli: Run, tmp_path: Path) -> Advice:
    """A copy of it as `out`."""
    shutil.copytree(verified, tmp_path / "out")
    return load_advice("out")


def test_every_attack_is_listed_with_its_threat_model(cli: Run) -> None:
    plain = cli("attacks")
    assert plain.exit_code == 0
    rows = json.loads(cli("attacks", "--json").stdout)
    assert [row["name"] for row in rows] == list(ATTACKS)
    for member in ATTACKS.values():
        assert f"{member.name}: {member.about}" in " ".join(plain.stdout.split())
        assert str(member.threat) in " ".join(plain.stdout.split())
    assert {row["recovers"] for row in rows} == {"input", "label", "ids"}


def test_an_advice_is_attacked_at_its_plan_and_keeps_the_evidence(out: Advice, cli: Run, tiny_data: Path) -> None:
    before = out
    result = cli("attack", "out/advice.json", "--data", tiny_data, "--repeats", "2", "--pictures", "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert before.best_split is not None
    assert (found["cut"], found["defense"]) == (before.best_split.cut.name, str(before.best_split.defense))
    assert "report.html" in result.stderr
    after = load_advice("out")
    assert after.evidence[:-1] == before.evidence
    kept = after.evidence[-1]
    assert (kept.attack, kept.repeats, kept.samples) == ("ka", 2, 5)
    assert kept.scores["nmse"].value == pytest.approx(found["nmse"]["value"])
    assert kept.threat == str(ATTACKS["ka"].threat)
    assert [shown.which for shown in kept.pictures] == ["best", "median", "worst"]
    assert (after.headline, after.zone) == (before.headline, before.zone)
    page = Path("out/report.html").read_text()
    assert page.count(kept.pictures[0].reconstruction) >= 1
    assert "The attacks that were run" in page
    assert str(ATTACKS["ka"].threat) in page
    assert "Attacks that were run" in markdown.render(after)
    again = cli("attack", "out", "--cut", "2", "--name", "rmle", "--data", tiny_data)
    assert again.exit_code == 0, again.output
    assert "Threat model: knows cut and defense, edge weights" in " ".join(again.stdout.split())
    second = load_advice("out").evidence[-1]
    assert (second.attack, second.cut, second.defense) == ("rmle", "2", "none")


def test_a_plan_of_the_front_is_attacked_by_its_number(out: Advice, cli: Run, tiny_data: Path) -> None:
    number, plan = len(out.pareto), out.pareto[-1]
    result = cli("attack", "out", "--plan", number, "--data", tiny_data, "--json")
    assert result.exit_code == 0, result.output
    kept = load_advice("out").evidence[-1]
    assert (kept.cut, kept.defense) == (plan.cut.name, str(plan.defense))
    for given, said in (
        (("out", "--plan", 99), "The front has no plan number 99. It has: 1: "),
        (("out", "--plan", 1, "--cut", "2"), "--plan and --cut both say what to attack."),
        (("tiny.pt", "--plan", 1), "--plan numbers the plans of an advice."),
    ):
        refused = cli("attack", *given, "--data", tiny_data)
        assert (refused.exit_code, said in refused.stderr) == (2, True), refused.stderr


def test_a_u_shaped_plan_is_attacked_with_its_tail(
    out: Advice, cli: Run, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cuts = out.profile.cuts
    plan = dataclasses.replace(out.pareto[0], cuts=(cuts[2], cuts[4]))
    dataclasses.replace(out, pareto=(plan,)).save(tmp_path / "out")
    given: dict[str, Any] = {}
    whole = advisor.attack_cuts
    monkeypatch.setattr(advisor, "attack_cuts", lambda *args, **more: given.update(more) or whole(*args, **more))
    result = cli("attack", "out", "--plan", 1, "--data", tiny_data)
    assert result.exit_code == 0, result.output
    assert given["tail"].name == cuts[4].name
    assert load_advice("out").evidence[-1].cut == cuts[2].name


@pytest.mark.slow
def test_a_fitted_plan_is_attacked_at_its_payload_on_what_its_fit_has_not_seen(
    tiny_model: Path, cli: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.savez(tmp_path / "many.npz", **samples(120))
    asked = ("--defenses", "bottleneck", "--recipe", "epochs=1,batch=32", "--min-nmse", "0", "--require-split")
    given = ("--data", tmp_path / "many.npz", "--verify", "none", "--effort", "quick", "--out", "out")
    made = cli("recommend", tiny_model, *asked, *given)
    assert made.exit_code == 0, made.output
    advice = load_advice("out")
    plan = next(plan for plan in advice.plans if plan.fitted is not None)
    dataclasses.replace(advice, pareto=(plan,)).save(tmp_path / "out")
    given: dict[str, Any] = {}
    whole = advisor.attack_cuts

    def heard(graph: Any, cuts: Any, x: Any, aux: Any, **more: Any) -> Any:
        given.update(private=x, attacker=aux)
        return whole(graph, cuts, x, aux, **more)

    monkeypatch.setattr(advisor, "attack_cuts", heard)
    result = cli("attack", "out", "--plan", 1, "--seed", 5)
    assert result.exit_code == 0, result.output
    assert load_advice("out").evidence[-1].cut == plan.cut.name != plan.fitted.at
    roles = advice.provenance["roles"]  # those of the fit, whatever the seed of the attack
    assert {role: len(x) for role, x in given.items()} == {role: roles[role]["samples"] for role in given}
    assert "not the samples that the advice was made from" not in result.stderr
    refused = cli("attack", "out", "--plan", 1, "--defense", "int8")
    assert (refused.exit_code, "A fitted plan is attacked with its own defense." in refused.stderr) == (2, True)


@pytest.mark.slow
def test_an_advice_is_attacked_on_its_own_data_unless_other_is_given(recommend: Run, cli: Run, tmp_path: Path) -> None:
    made = recommend("--normalize", "mean=0.5,std=0.25", "--seed", 3, "--trials", 2, "--verify", "none", "--out", "out")
    assert made.exit_code == 0, made.output
    mine = cli("attack", "out")
    assert mine.exit_code == 0, mine.output
    assert "not the samples" not in mine.stderr
    assert "synthetic" not in mine.stdout
    assert "normalised by mean 0.5 and std 0.25" in mine.stderr
    np.savez(tmp_path / "others.npz", **samples(30))
    other = cli("attack", "out", "--data", "others.npz")
    assert other.exit_code == 0, other.output
    assert "these are not the samples that the advice was made from" in other.stderr


@pytest.mark.slow
@pytest.mark.parametrize("normalize", ["none", "mean=0.5,std=0.25"])
def test_what_a_library_s_advice_was_made_with_is_found_in_it(
    normalize: str, cli: Run, tiny_data: Path, tmp_path: Path
) -> None:
    torch.save(tiny_net().state_dict(), tmp_path / "w.pt")
    arch = "tests.conftest:tiny_net"
    advised = advisor.recommend("w.pt", data=tiny_data, arch=arch, normalize=normalize, trials=2, verify="none")
    advised.save("out")
    assert advised.best_split is not None
    result = cli("attack", "out", "--data", tiny_data, "--arch", arch, "--cut", advised.best_split.cut.name, "--json")
    assert result.exit_code == 0, result.output
    x = torch.from_numpy(np.load(tiny_data)["x"])
    expected = advisor.attack(advised.best_split.graph, advised.best_split.cut, x, defense=advised.best_split.defense)
    assert json.loads(result.stdout)["nmse"]["value"] == pytest.approx(expected.nmse.value)


@pytest.mark.slow
def test_a_model_with_a_name_is_attacked_by_its_name(cli: Run, tmp_path: Path) -> None:
    np.savez(tmp_path / "few.npz", x=samples(shape=(3, 32, 32))["x"])
    given = ("--data", "few.npz", "--granularity", "block", "--trials", 2, "--verify", "none", "--out", "out")
    made = cli("recommend", "torchvision:squeezenet1_1@random", *given)
    assert made.exit_code in (0, 3), made.output
    result = cli("attack", "out")
    assert result.exit_code == 0, result.output
    assert load_advice("out").evidence


def test_another_model_than_the_advice_s_is_refused(out: Advice, cli: Run, tiny_data: Path) -> None:
    Path("other.pt").write_bytes(b"another")
    result = cli("attack", "out", "--model", "other.pt", "--data", tiny_data)
    assert result.exit_code == 2
    assert "not the model of this advice" in result.stderr


def test_an_advice_of_before_has_no_evidence(out: Advice) -> None:
    payload = json.loads(Path("out/advice.json").read_text())
    del payload["evidence"]
    assert Advice.from_json(payload).evidence == ()


def test_verification_leaves_its_evidence(out: Advice) -> None:
    advice = out
    assert advice.best_split is not None
    ours = [
        e
        for e in advice.evidence
        if e.cut == advice.best_split.cut.name and e.defense == str(advice.best_split.defense)
    ]
    assert ours
    assert ours[0].scores["nmse"] == advice.best_split.verified["nmse"]
    assert ours[0].pictures == ()


def test_labels_auxiliary_data_and_a_folder_to_resume_from(cli: Run, tiny_model: Path, tmp_path: Path) -> None:
    many = samples(120)
    np.savez(tmp_path / "many.npz", **many)
    given = ("attack", tiny_model, "--data", "many.npz", "--json")
    result = cli(*given, "--cut", "2", "--name", "mlp-sim", "--labels", "20")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["top1"]["value"] is not None
    assert found["nmse"]["value"] is None
    assert "20 labelled samples" in found["notes"][0]
    x, y = torch.from_numpy(many["x"]), torch.from_numpy(many["y"])
    expected = advisor.attack(advisor.trace(tiny_model), "2", x, name="mlp-sim", y=y, labels=20)
    assert found["top1"]["value"] == pytest.approx(expected.top1.value)
    result = cli(*given, "--cut", "4", "--aux", "many.npz", "--aux-samples", "50", "--resume", "kept")
    assert result.exit_code == 0, result.output
    assert any("50 of 120" in note for note in json.loads(result.stdout)["notes"])
    assert not (tmp_path / "kept").exists()  # it held private activations, and the attack ended well


def test_several_cuts_are_attacked_one_after_the_other_in_their_order(
    cli: Run, tiny_model: Path, tiny_data: Path
) -> None:
    given = ("attack", tiny_model, "--data", tiny_data, "--json", "--aux-samples", "12")
    result = cli(*given, "--cut", "4", "--cut", "2")
    assert result.exit_code == 0, result.output
    rows = json.loads(result.stdout)
    assert [row["cut"] for row in rows] == ["2", "4"]
    alone = json.loads(cli(*given, "--cut", "4").stdout)
    assert rows[1] == alone
    plain = cli(*given[:4], "--cut", "2", "--cut", "4").stdout
    assert plain.index("activation at 2,") < plain.index("activation at 4,")


def test_digits_that_name_a_cut_are_a_name_and_that_is_said(cli: Run, tmp_path: Path) -> None:
    model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.ReLU(), torch.nn.Linear(4, 3)).eval()
    torch.export.save(torch.export.export(model, (torch.zeros(2, 4),)), tmp_path / "line.pt2")
    np.savez(tmp_path / "line.npz", x=np.random.default_rng(0).random((40, 4), dtype=np.float32))
    result = cli("attack", "line.pt2", "--data", "line.npz", "--cut", "1", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["cut"] == "1"
    assert "1 is taken for a name, of cut number 2; cut number 1 is '0'" in " ".join(result.stderr.split())


def test_a_cut_that_cannot_be_attacked_does_not_hide_the_others(cli: Run, tiny_model: Path, tiny_data: Path) -> None:
    """The input itself is copied; after it fewer numbers cross, and no unbiased attacker exists."""
    result = cli(
        "attack", tiny_model, "--data", tiny_data, "--cut", "0", "--cut", "output", "--name", "unbiased", "--json"
    )
    assert result.exit_code == 2
    rows = json.loads(result.stdout)
    assert rows[0]["nmse"]["value"] < 1e-6
    assert "no unbiased attacker" in rows[1]["failed"]
    assert "says nothing about privacy" in result.stderr


def test_the_worst_attack_prints_what_each_of_its_members_found(cli: Run, tiny_model: Path, tiny_data: Path) -> None:
    given = ("attack", tiny_model, "--cut", "2", "--data", tiny_data, "--name", "worst", "--defense", "int8")
    plain = cli(*given)
    assert plain.exit_code == 0, plain.output
    assert f"Version {ATTACKS['worst'].version} of this attack." in " ".join(plain.stdout.split())
    found = json.loads(cli(*given, "--json").stdout)
    assert set(found["members"]) == {"ka", "wiener", "floor"}
    lowest = min(found["members"], key=lambda name: found["members"][name]["value"])
    assert (found["which"], found["version"]) == (lowest, ATTACKS["worst"].version)
    assert found["nmse"]["value"] == found["members"][lowest]["value"]
    assert f"The lowest NMSE is by {lowest}" in " ".join(plain.stdout.split())
    for name in found["members"]:
        assert f"  {name} " in plain.stdout
