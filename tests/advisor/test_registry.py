"""A user's members: one file and one entry each, and nothing else of the program changes."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import advisor
from advisor.cut_view import Estimator
from advisor.defenses.methods import METHODS
from advisor.errors import AdvisorError
from advisor.estimators import ESTIMATORS
from advisor.estimators.attacks import ATTACKS, Attack, verifying
from advisor.graph import PartitionGraph
from advisor.profilers import PROFILERS, Profiler
from advisor.registry import PlugInWarning, Registry
from advisor.reports import REPORTS, Report
from advisor.testing.attack_contract import AttackContract
from advisor.testing.estimator_contract import EstimatorContract
from advisor.testing.made_up_advices import DEMOS
from advisor.testing.profiler_contract import ProfilerContract
from advisor.testing.report_contract import ReportContract
from tests.conftest import Run, samples, tiny_net

ESTIMATOR = '''
from advisor.estimate import Estimate
from advisor.cut_view import ColumnSpec

class Norm:
    """Mean squared length of the activation."""
    needs = frozenset()
    columns = (ColumnSpec("squared_norm", "z²", "low", "measured", "mean over the samples"),)

    def at(self, view):
        return {"squared_norm": Estimate.of_mean(view.z.double().square().sum(1).numpy(), "z²")}

class Broken(Norm):
    columns = (ColumnSpec("broken", "1", "low", "measured", "it raises whatever it is given"),)

    def at(self, view):
        raise ZeroDivisionError("a slip")

class Twice(Norm):
    columns = (ColumnSpec("dcor", "1", "low", "measured", "a name that is taken"),)
'''

ATTACK = '''
from advisor.estimators.attacks import Recovered, ThreatModel

class Mean:
    """Answers with the mean of its own samples."""
    name, about, verifies = "mean", "the mean of the attacker's own samples, whatever was sent", True
    threat = ThreatModel(("cut and defense",), ("auxiliary inputs",), ("ask nothing",))

    def run(self, context):
        return Recovered(inputs=context.known.pixels.mean(0).expand(len(context), *context.template.shape[1:]))

class Broken(Mean):
    def run(self, context):
        raise ZeroDivisionError("a slip")
'''

REPORT = '''
from advisor.reports.content.text import clean

def render(advice):
    """The headline and what was not measured."""
    return clean("; ".join([advice.headline, *advice.unmeasured])) + "\\n"
'''

PROFILER = '''
from advisor.columns import Column

def columns(context):
    """Cuts before this one."""
    cuts = context.graph.cuts
    return (Column.of("depth", "1", "low", [float(cut.index) for cut in cuts], "measured", method="counted"),)

def broken(context):
    raise ZeroDivisionError("a slip")
'''


METHOD = '''
import torch
from torch import nn

from advisor.batches import carried
from advisor.defenses.training.base import Fitted, TrainedDefense

class Mix(nn.Module):
    """Channels mixed by a matrix."""
    def __init__(self, matrix):
        super().__init__()
        self.matrix = nn.Parameter(matrix.clone())

    def forward(self, z):
        return torch.einsum("oc,nchw->nohw", self.matrix, z)

class Leading(TrainedDefense):
    """A bottleneck: the leading principal directions of the channels."""
    name, about, settings = "leading", "principal directions of the channels", {"width": 2}

    def fit(self, task):
        (z,) = carried(task.graph, task.inputs, 0, task.cut.index)
        _, _, turned = torch.linalg.svd(z.movedim(1, -1).reshape(-1, z.shape[1]), full_matrices=False)
        return Fitted(Mix(turned[: task.recipe["width"]]), Mix(turned[: task.recipe["width"]].T))
'''


class Install:
    """A distribution of one file, as `pip install` would leave it."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.monkeypatch = folder, monkeypatch

    def __call__(self, name: str, source: str, group: str, entry: str) -> None:
        about = self.folder / f"{name}-1.0.dist-info"
        about.mkdir(parents=True)
        (self.folder / f"{name}.py").write_text(source, encoding="utf-8")
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n", encoding="utf-8")
        (about / "entry_points.txt").write_text(f"[partition_advisor.{group}]\n{entry}\n", encoding="utf-8")
        self.monkeypatch.syspath_prepend(str(self.folder))
        self.monkeypatch.delitem(sys.modules, name, raising=False)
        for registry in (ESTIMATORS, ATTACKS, REPORTS, PROFILERS, METHODS):
            registry._loaded.clear()  # what another test's module of the same name gave


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    return Install(tmp_path / "installed", monkeypatch)


@pytest.fixture
def graph() -> PartitionGraph:
    return advisor.trace(tiny_net(), torch.zeros(2, 1, 8, 8))


X = torch.from_numpy(samples(24)["x"])


def test_an_estimator_is_one_file_and_one_entry(install: Install, graph: PartitionGraph) -> None:
    install("my_norms", ESTIMATOR, "estimators", "norm = my_norms:Norm")
    found = advisor.leakage(graph, X, only=["squared_norm", "dcor"])
    assert list(found.columns) == ["dcor", "squared_norm"]
    assert found["squared_norm"].values[0] == pytest.approx(float(X.square().flatten(1).sum(1).mean()))
    assert "norm" in ESTIMATORS


def test_an_attack_is_one_file_and_one_entry(install: Install, graph: PartitionGraph, cli: Run) -> None:
    install("my_mean", ATTACK, "attacks", "mean = my_mean:Mean")
    assert advisor.attack(graph, 1, X, name="mean").nmse.value == pytest.approx(1.0)
    assert [member.name for member in verifying("input")] == ["ka", "mean"]
    assert "mean" in [row["name"] for row in json.loads(cli("attacks", "--json").stdout)]


def test_a_report_is_one_file_and_one_entry(install: Install, cli: Run, tmp_path: Path) -> None:
    install("my_line", REPORT, "reports", "line = my_line:render")
    advice = DEMOS["digits"]()
    advice.save(tmp_path / "out")
    assert cli("report", "out", "--format", "line").stdout.startswith(advice.headline)


def test_a_profiler_is_one_file_and_one_entry(install: Install, graph: PartitionGraph) -> None:
    install("my_depths", PROFILER, "profilers", "depth = my_depths:columns")
    assert advisor.profile(graph)["depth"].values.tolist() == list(range(len(graph.cuts)))


def test_dotted_paths_name_members_without_an_entry(
    graph: PartitionGraph, cli: Run, tmp_path: Path, tiny_model: Path, tiny_data: Path
) -> None:
    for name, source in (
        ("dotted_norm", ESTIMATOR),
        ("dotted_mean", ATTACK),
        ("dotted_line", REPORT),
        ("dotted_depth", PROFILER),
    ):
        (tmp_path / f"{name}.py").write_text(source, encoding="utf-8")
    DEMOS["digits"]().save(tmp_path / "out")
    shown = cli("leakage", tiny_model, "--data", tiny_data, "--only", "dotted_norm:Norm", "--json")
    assert list(json.loads(shown.stdout)["columns"]) == ["squared_norm"], shown.output
    assert "dotted_depth" not in sys.modules
    shown = cli("profile", tiny_model, "--also", "dotted_depth:columns", "--json")
    assert "depth" in json.loads(shown.stdout)["columns"], shown.output
    shown = cli("attack", tiny_model, "--data", tiny_data, "--cut", "1", "--name", "dotted_mean:Mean", "--json")
    assert shown.exit_code == 0, shown.output
    assert DEMOS["digits"]().headline in cli("report", "out", "--format", "dotted_line:render").stdout


def test_an_entry_never_takes_a_built_in_name(install: Install) -> None:
    install("my_fisher", ESTIMATOR, "estimators", "fisher = my_fisher:Norm")
    with pytest.warns(PlugInWarning, match=r"estimator 'fisher' of my_fisher is left out: the name is taken"):
        assert list(ESTIMATORS.working()) == list(ESTIMATORS.built_in)
    assert type(ESTIMATORS["fisher"]).__module__ == "advisor.estimators.fisher"


def test_a_column_that_is_measured_already_keeps_its_estimator(install: Install, graph: PartitionGraph) -> None:
    install("my_twice", ESTIMATOR, "estimators", "twice = my_twice:Twice")
    with pytest.warns(PlugInWarning, match=r"estimator of dcor is left out: dcor is measured already"):
        found = advisor.leakage(graph, X, only=["dcor"])
    assert found["dcor"].unit == "1"


@pytest.mark.parametrize(
    ("source", "entry", "reason"),
    [
        ("raise ImportError('no such thing')", "bad = my_bad:Norm", r"ImportError: no such thing"),
        ("x = 1", "bad = my_bad:Norm", r"has no attribute 'Norm'"),
        ("class Norm:\n    columns = ()", "bad = my_bad:Norm", r"it has no needs, at"),
    ],
    ids=["raises", "missing", "no member"],
)
def test_one_that_cannot_be_loaded_is_left_out_alone(
    install: Install, graph: PartitionGraph, source: str, entry: str, reason: str
) -> None:
    install("my_bad", source, "estimators", entry)
    with pytest.warns(PlugInWarning, match=rf"estimator 'bad' of my_bad does not work \(.*{reason}.*left out"):
        found = advisor.leakage(graph, X, only=["dcor"])
    assert not np.isnan(found["dcor"].values).any()
    with pytest.raises(AdvisorError, match=reason):
        ESTIMATORS.find("bad")


def test_an_estimator_that_raises_loses_its_own_values_alone(install: Install, graph: PartitionGraph) -> None:
    install("my_broken", ESTIMATOR, "estimators", "broken = my_broken:Broken")
    found = advisor.leakage(graph, X, only=["broken", "dcor"])
    assert np.isnan(found["broken"].values).all()
    assert set(found["broken"].why) == {"the estimator failed (ZeroDivisionError: a slip)"}
    assert not np.isnan(found["dcor"].values).any()


def test_a_profiler_that_raises_is_left_out_alone(install: Install, graph: PartitionGraph) -> None:
    install("my_slip", PROFILER, "profilers", "slip = my_slip:broken")
    with pytest.warns(PlugInWarning, match=r"profiler 'slip' is left out: it failed \(ZeroDivisionError: a slip\)"):
        assert math.isfinite(advisor.profile(graph)["latency"].values[0])


def test_an_attack_that_raises_has_failed(install: Install, graph: PartitionGraph) -> None:
    install("my_failure", ATTACK, "attacks", "failure = my_failure:Broken")
    with pytest.raises(
        AdvisorError, match=r"attack failed: mean raised ZeroDivisionError: a slip.*nothing about privacy"
    ):
        advisor.attack(graph, 1, X, name="failure")


def test_the_command_line_says_what_is_left_out(install: Install, cli: Run, tiny_model: Path) -> None:
    install("my_bad_point", "raise ImportError('no such thing')", "profilers", "bad = my_bad_point:columns")
    with pytest.warns(PlugInWarning, match="left out"):
        assert cli("profile", tiny_model).exit_code == 0


def test_a_trained_bottleneck_is_one_file_and_one_entry(install: Install) -> None:
    install("my_method", METHOD, "methods", "leading = my_method:Leading")
    x = torch.from_numpy(samples(60)["x"])
    graph = advisor.trace(tiny_net(), x[:2])
    variant = advisor.defend(graph, "3", "leading", x)
    assert variant.payload.tensors[0].shape == (2, 3, 3)
    assert advisor.profile(variant)["bytes"].at(variant.payload).value == 2 * 3 * 3 * 4
    edge, cloud = variant.split(variant.payload)
    assert torch.equal(cloud(edge(x)), variant(x))
    assert "leading" in METHODS


def test_unknown_names_are_refused_with_the_nearest() -> None:
    with pytest.raises(AdvisorError, match=r"no report 'htlm'\. Did you mean 'html'\? Known: card, console, csv, html"):
        REPORTS.find("htlm")
    with pytest.raises(AdvisorError, match=r"nowhere:Thing is no attack \(ModuleNotFoundError.*Name it as package"):
        ATTACKS.find("nowhere:Thing")


def test_a_name_from_a_file_never_imports() -> None:
    """`find` takes dotted paths, for people; looking a name up does not."""
    with pytest.raises(KeyError):
        ATTACKS["os:system"]
    assert "os:system" not in ATTACKS


def test_members_are_loaded_when_they_are_used() -> None:
    registry: Registry[object] = Registry("thing", {"one": "nowhere:One"}, lambda found: found)
    assert list(registry) == ["one"]
    with pytest.raises(ModuleNotFoundError):
        registry["one"]


def made(source: str, name: str) -> Any:
    """What a file would hold."""
    space: dict[str, Any] = {"__name__": "made_up"}
    exec(source, space)
    return space[name]


class TestMyEstimator(EstimatorContract):
    @pytest.fixture
    def estimator(self) -> Estimator:
        return made(ESTIMATOR, "Norm")()


class TestMyAttack(AttackContract):
    @pytest.fixture
    def member(self) -> Attack:
        return made(ATTACK, "Mean")()


class TestMyReport(ReportContract):
    @pytest.fixture
    def report(self) -> Report:
        return made(REPORT, "render")


class TestMyProfiler(ProfilerContract):
    @pytest.fixture
    def profiler(self) -> Profiler:
        return made(PROFILER, "columns")
