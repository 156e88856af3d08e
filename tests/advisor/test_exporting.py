"""Exported halves: what they compute, that they need nothing but torch or ONNX Runtime, and what is refused."""

from __future__ import annotations

import dataclasses
import json
import math
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

import advisor
from advisor import exporting, wire
from advisor.cuts import TensorSpec
from advisor.defenses import Defense, GaussianNoise, NoDefense, Quantize8
from advisor.errors import AdvisorError
from advisor.exporting import checking, program
from advisor.exporting.freshness import check_freshness
from advisor.exporting.freshness import drawn as drawn_noise
from advisor.exporting.manifest import Exported
from advisor.exporting.parts import Part
from advisor.files import sha256
from advisor.graph import PartitionGraph
from advisor.plans import Plan
from tests.advisor.exported_once import exported
from tests.conftest import tree
from tests.models import ZOO, traced

DEFENSES = [NoDefense(), GaussianNoise(0.3), Quantize8()]


def plan_of(name: str, cut: str | int, defense: Defense | None = None) -> Plan:
    graph = traced(name)
    return Plan((graph.cut(cut),), defense or NoDefense(), {}, inputs=graph.inputs, graph=graph)


def loaded(folder: Path, name: str) -> nn.Module:
    return torch.export.load(folder / f"{name}.pt2").module()


class Masked(nn.Module):
    """Numbers with a mask beside them, and a dict as the answer."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(6, 6)
        self.b = nn.Linear(6, 3)

    def forward(self, x: Tensor, mask: Tensor) -> dict[str, Tensor]:
        return {"scores": self.b(torch.tanh(self.a(x)).masked_fill(mask, 0.0))}


def masked_graph() -> PartitionGraph:
    torch.manual_seed(0)
    return advisor.trace(Masked().eval(), (torch.rand(2, 6), torch.tensor([[True, False] * 3] * 2)))


# ---- what the halves compute ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("defense", DEFENSES, ids=str)
def test_loaded_halves_are_the_plan_s_own_at_any_batch(defense: Defense, tmp_path: Path) -> None:
    plan = plan_of("chain", "act", defense)
    made = plan.export(tmp_path / "out")
    edge, cloud = loaded(tmp_path / "out", "edge"), loaded(tmp_path / "out", "cloud")
    own_edge, own_cloud = plan.split()
    assert made.check.exact
    assert made.check.max_abs_difference == 0
    for batch in (1, 2, 7):
        x = ZOO["chain"].inputs(batch)
        torch.manual_seed(3)
        sent = edge(x, **drawn(made, batch))
        torch.manual_seed(3)
        meant = own_edge(x)
        assert all(map(torch.equal, pytree.tree_leaves(sent), pytree.tree_leaves(meant)))
        assert torch.equal(cloud(sent), own_cloud(meant))
        if defense.name == "none":
            assert torch.equal(cloud(edge(x)), ZOO["chain"].model()(x))


def drawn(made: Exported, batch: int) -> dict[str, Tensor]:
    """Noise for an edge half by torch's generator, in the order in which the plan's own half draws."""
    return {} if made.noise is None else {made.noise.name: torch.randn(batch, *made.noise.shape)}


def test_noise_is_an_input_of_the_edge_alone_and_the_files_draw_nothing(tmp_path: Path) -> None:
    made = plan_of("chain", "act", GaussianNoise(0.3)).export(tmp_path)
    edge, cloud = loaded(tmp_path, "edge"), loaded(tmp_path, "cloud")
    x = ZOO["chain"].inputs(4)
    bare, noise = traced("chain").split("act")[0], torch.randn(4, *made.noise.shape)
    assert torch.equal(edge(x, noise=noise), edge(x, noise=noise))
    assert torch.allclose(edge(x, noise=noise) - bare(x), 0.3 * noise, atol=1e-6)
    assert torch.equal(cloud(bare(x)), cloud(bare(x)))
    with pytest.raises(Exception, match=r"noise|input"):
        edge(x)
    programs = [torch.export.load(tmp_path / f"{name}.pt2") for name in ("edge", "cloud")]
    assert not [node for made in programs for node in made.graph.nodes if "rand" in str(node.target)]


def in_fresh_process(code: str, folder: Path) -> Any:
    """Run code that prints JSON where `advisor` cannot be imported; `folder` is its working directory."""
    blocked = "import sys, json; sys.modules['advisor'] = None; sys.path.insert(0, '.')\n"
    done = subprocess.run([sys.executable, "-I", "-c", blocked + code], capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


PT2 = """
import torch, wire, edge
found = {}
for folder in ("int8", "gaussian"):
    plan = json.load(open(f"{folder}/plan.json"))
    cloud = torch.export.load(f"{folder}/cloud.pt2").module()
    message = edge.Edge(folder).send(torch.linspace(0, 1, 108).reshape(1, 3, 6, 6))
    tensors = wire.unpack_torch(message, plan["crossings"][0]["tensors"])
    answer = cloud(tensors if len(tensors) > 1 else tensors[0])
    found[folder] = [answer.tolist(), len(message)]
print(json.dumps(found))
"""


@pytest.mark.slow
def test_halves_run_with_torch_alone_and_noise_differs_between_fresh_processes(tmp_path: Path) -> None:
    plan = plan_of("chain", "act", Quantize8())
    made = plan.export(tmp_path / "int8")
    plan_of("chain", "act", GaussianNoise(0.3)).export(tmp_path / "gaussian")
    for name in ("wire.py", "edge.py"):
        shutil.copy(tmp_path / "int8" / name, tmp_path)
    first, second = (in_fresh_process(PT2, tmp_path) for _ in range(2))
    edge, cloud = plan.split()
    x = torch.linspace(0, 1, 108).reshape(1, 3, 6, 6)
    answer, size = first["int8"]
    assert torch.allclose(torch.tensor(answer), cloud(edge(x)), atol=1e-6)
    assert made.crossings[0].sample_bytes == plan.defense.wire_bytes(plan.cut)
    assert size == 16 + 3 * (4 + 4 * 8) + made.crossings[0].sample_bytes == made.crossings[0].message_bytes
    assert first["int8"] == second["int8"]
    assert first["gaussian"][0] != second["gaussian"][0]


def test_the_files_say_nothing_of_the_computer_that_made_them(tmp_path: Path) -> None:
    plan_of("chain", "act", GaussianNoise(0.3)).export(tmp_path)
    import zipfile

    for path in tmp_path.glob("*.pt2"):
        with zipfile.ZipFile(path) as archive:
            content = b"".join(archive.read(name) for name in archive.namelist())
        assert str(Path(advisor.__file__).parent).encode() not in content
        assert b"site-packages" not in content


def test_each_half_holds_its_own_weights_only(tmp_path: Path) -> None:
    plan_of("chain", "act").export(tmp_path)
    held = [set(torch.export.load(tmp_path / f"{name}.pt2").state_dict) for name in ("edge", "cloud")]
    assert all("conv" in name or "bn" in name for name in held[0])
    assert all("head" in name for name in held[1])
    assert {name.split(".")[-2] for name in held[0] | held[1]} == {"conv", "bn", "head"}


@pytest.mark.parametrize("defense", [NoDefense(), Quantize8()], ids=str)
def test_a_mask_crosses_as_it_is_beside_what_is_defended(defense: Defense, tmp_path: Path) -> None:
    graph = masked_graph()
    plan = Plan((graph.cut(0),), defense, {}, inputs=graph.inputs, graph=graph)
    made = plan.export(tmp_path)
    roles = [t.role for t in made.crossings[0].tensors]
    assert roles == (["values"] * 2 if defense.name == "none" else ["codes", "low", "step", "values"])
    assert made.crossings[0].tensors[-1].dtype == "bool"
    assert made.crossings[0].sample_bytes == defense.wire_bytes(plan.cut)
    edge, cloud = loaded(tmp_path, "edge"), loaded(tmp_path, "cloud")
    x, mask = torch.rand(3, 6), torch.rand(3, 6) > 0.5
    assert torch.equal(edge(x, mask)[-1], mask)
    expected = plan.split()[1](plan.split()[0](x, mask))
    assert torch.equal(cloud(edge(x, mask))["scores"], expected["scores"])


@pytest.mark.parametrize("defense", [NoDefense(), Quantize8()], ids=str)
def test_three_parts_for_a_u_shaped_plan(defense: Defense, tmp_path: Path) -> None:
    graph = traced("chain")
    cuts = (graph.cut("conv"), graph.cut("act"))
    plan = Plan(cuts, defense, {}, inputs=graph.inputs, graph=graph)
    made = plan.export(tmp_path)
    assert [(p.name, p.place) for p in made.parts] == [("edge-head", "edge"), ("cloud", "cloud"), ("edge-tail", "edge")]
    assert [(c.sender, c.receiver, c.cut) for c in made.crossings] == [
        ("edge-head", "cloud", "conv"),
        ("cloud", "edge-tail", "act"),
    ]
    head, body, tail = (loaded(tmp_path, part.name) for part in made.parts)
    x = ZOO["chain"].inputs(4)
    own_head, own_body, own_tail = plan.split()
    assert torch.equal(tail(body(head(x))), own_tail(own_body(own_head(x))))
    assert defense.name != "none" or torch.equal(tail(body(head(x))), ZOO["chain"].model()(x))
    assert [t.role for t in made.crossings[1].tensors] == ["values"]


@pytest.mark.parametrize("defense", [NoDefense(), Quantize8()], ids=str)
def test_several_tensors_cross_one_cut(defense: Defense, tmp_path: Path) -> None:
    graph = advisor.trace(ZOO["dense"].model(), ZOO["dense"].inputs(2), max_tensors=2)
    cut = next(c for c in graph.cuts[1:-1] if len(c.tensors) == 2)
    plan = Plan((cut,), defense, {}, inputs=graph.inputs)
    made = plan.export(tmp_path, model=ZOO["dense"].model())
    edge, cloud = loaded(tmp_path, "edge"), loaded(tmp_path, "cloud")
    own_edge, own_cloud = plan.split(ZOO["dense"].model())
    x = ZOO["dense"].inputs(5)
    assert len(edge(x)) == len(made.crossings[0].tensors) == 2 * len(defense.wire_roles)
    assert torch.equal(cloud(edge(x)), own_cloud(own_edge(x)))


@pytest.mark.parametrize("name", ["dict_output", "dataclass_output", "keywords", "nested", "tokens", "hard_batch"])
def test_inputs_and_outputs_of_every_form(name: str, tmp_path: Path) -> None:
    graph = traced(name)
    made = plan_of(name, 1).export(tmp_path)
    edge, cloud = loaded(tmp_path, "edge"), loaded(tmp_path, "cloud")
    x = ZOO[name].inputs(graph.fixed_batch or 3)
    args, kwargs = ((), x) if isinstance(x, dict) else (x if isinstance(x, tuple) else (x,), {})
    answer = cloud(edge(*args, **kwargs))
    expected = graph(x)
    tensors = [v for v in pytree.tree_leaves(answer) if isinstance(v, Tensor)]
    meant = [v for v in pytree.tree_leaves(expected) if isinstance(v, Tensor)]
    assert all(map(torch.equal, tensors, meant))
    assert len(tensors) == len(meant) == len(made.parts[-1].outputs)
    assert made.batch == graph.fixed_batch
    if name == "dict_output":
        assert answer.keys() == expected.keys()


# ---- plan.json ------------------------------------------------------------------------------------------------------


def test_plan_json_says_what_is_there_and_is_read_again(tmp_path: Path, digits_advice: advisor.Advice) -> None:
    made = advisor.export(digits_advice, tmp_path)
    payload = json.loads((tmp_path / "plan.json").read_text())
    assert payload == made.to_json() == advisor.load_export(tmp_path).to_json()
    assert digits_advice.best_split is not None
    assert payload["cuts"] == [digits_advice.best_split.cut.name]
    assert payload["defense"] == {
        "name": digits_advice.best_split.defense.name,
        "parameters": digits_advice.best_split.defense.parameters,
    }
    assert (
        set(payload["files"])
        == {"edge.pt2", "cloud.pt2", "wire.py", "edge.py"}
        == {p.name for p in tmp_path.iterdir()} - {"plan.json"}
    )
    assert all(sha256(tmp_path / name) == entry["sha256"] for name, entry in payload["files"].items())
    assert payload["predicted"]["latency"]["unit"] == "s"
    assert (tmp_path / "wire.py").read_bytes() == Path(str(wire.__file__)).read_bytes()
    assert payload["parts"][0]["inputs"][0]["shape"] == [1, 8, 8]
    assert payload["model"]["why"].startswith("no file holds this model")


def test_a_file_that_was_changed_since_is_refused(tmp_path: Path) -> None:
    exported("silu", tmp_path)
    with (tmp_path / "edge.pt2").open("ab") as file:
        file.write(b"x")
    with pytest.raises(AdvisorError, match=r"edge\.pt2 is not the file of its plan\.json"):
        advisor.load_export(tmp_path)


COMPARED = {
    "runtime": "torch", "batches": [1, 2], "exact": True, "tolerance": 0.0, "max_abs_difference": 0.0,
    "top1_equal": 1.0,
}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema_version": "9.0"}, r"schema version 9\.0, newer than this advisor's 2\.0"),
        ({"kind": "advice"}, "not a plan file: no kind"),
        ({"parts": 7}, "not a plan file: parts"),
        ({"check": {**COMPARED, "tolerance": "nan"}}, r"not a plan file: check\.tolerance: .*finite"),
        ({"check": {**COMPARED, "max_abs_difference": "inf"}}, r"not a plan file: check\.max_abs_difference: .*finite"),
        ({"files": {"../x": {"sha256": "", "bytes": 1}}}, r"names '\.\./x', which is no file beside it"),
        ({"files": {"..": {"sha256": "", "bytes": 1}}}, r"names '\.\.', which is no file beside it"),
    ],
)
def test_what_is_no_plan_file(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    exported("silu", tmp_path)
    payload = json.loads((tmp_path / "plan.json").read_text())
    (tmp_path / "plan.json").write_text(json.dumps(payload | changes))
    with pytest.raises(AdvisorError, match=message):
        advisor.load_export(tmp_path)


# ---- what is refused, and what stays --------------------------------------------------------------------------------


def test_an_export_that_disagrees_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = program.read

    def wrong(path: Path) -> nn.Module:
        module = original(path)
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.add_(1e-4)
        return module

    monkeypatch.setattr(program, "read", wrong)
    with pytest.raises(
        AdvisorError, match=r"exported edge part differs from the plan's own by .* in sent0_0, 0 is allowed"
    ):
        plan_of("functional", "silu").export(tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


class Logarithm(nn.Module):
    """NaN where the layer gives less than `least`."""

    def __init__(self, least: float) -> None:
        super().__init__()
        self.scale, self.least = nn.Linear(4, 4), least

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.log(self.scale(x).relu() - self.least)


def test_a_plan_that_answers_nan_is_not_exported(tmp_path: Path) -> None:
    graph = advisor.trace(Logarithm(0.5).eval(), torch.rand(3, 4) + 1)
    plan = Plan((graph.cut("relu"),), NoDefense(), {}, inputs=graph.inputs, graph=graph)
    with pytest.raises(AdvisorError, match="answers NaN for random numbers"):
        plan.export(tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("broken", [0, 1])
def test_an_exported_half_that_answers_nan_is_not_kept(broken: int) -> None:
    plan, graph = plan_of("functional", "silu"), traced("functional")
    parts = exporting_parts(plan, graph)
    runners = [_runner(part, graph, float("nan") if i == broken else 0.0) for i, part in enumerate(parts)]
    with pytest.raises(AdvisorError, match=f"exported {parts[broken].name} part differs .* by inf"):
        checking.check(parts, runners, graph, exact=False, runtime="test")


def test_exported_halves_that_answer_nan_one_after_the_other_are_not_kept() -> None:
    """Each is right when given the plan's own tensors; the second makes NaN of the last bits of the first."""
    plan, graph = plan_of("functional", "silu"), traced("functional")
    first, second = parts = exporting_parts(plan, graph)
    seen: list[torch.Tensor] = []

    def edge(flat: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        seen.append(_runner(first, graph, 0.0)(flat)[0])
        return [seen[-1] * (1 + 1e-6)]

    def cloud(flat: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        return _runner(second, graph, 0.0 if torch.equal(flat[0], seen[-1]) else float("nan"))(flat)

    with pytest.raises(AdvisorError, match="answer NaN one after the other"):
        checking.check(parts, [edge, cloud], graph, exact=False, runtime="test")


def _runner(part: Part, graph: PartitionGraph, more: float) -> checking.Runner:
    def run(flat: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        return [t + more for t in checking._meant(part, graph, flat)]

    return run


def test_an_edge_that_repeats_its_noise_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = plan_of("functional", "silu", GaussianNoise(0.1))
    graph = traced("functional")
    part = exporting_parts(plan, graph)[0]
    right = _runner(part, graph, 0.0)
    assert check_freshness(plan, part, right, graph).promised == pytest.approx(0.01)
    repeated = part.noise and drawn_noise(part.noise, 2000)
    wrong: dict[str, checking.Runner] = {
        "repeats": lambda flat: right((*flat[:-1], repeated[: len(flat[0])])),
        "too weak": lambda flat: right((*flat[:-1], flat[-1] * 0.95)),
        "too strong": lambda flat: right((*flat[:-1], flat[-1] * 1.05)),
        "alike": lambda flat: right((*flat[:-1], (flat[-1] + repeated[: len(flat[0])]) / 2**0.5)),
    }
    for runner in wrong.values():
        with pytest.raises(AdvisorError, match=r"differ by noise of variance .*, while 0\.01 is promised"):
            check_freshness(plan, part, runner, graph)


def test_no_mask_that_an_export_is_checked_with_hides_everything_or_nothing() -> None:
    from advisor.exporting.parts import random_inputs

    shapes = ((7,), (4, 5), (6, 1))
    specs = [TensorSpec(shape, "bool") for shape in shapes]
    for mask in random_inputs(specs, 2000):
        lines = mask if mask.shape[-1] > 1 else mask.flatten(1)
        assert lines.any(-1).all()
        assert (~lines).any(-1).all()
    (flags,) = random_inputs([TensorSpec((), "bool")], 9)
    assert flags.all()


class Nearness(nn.Module):
    """An operation that chooses its algorithm by the number of samples: at more than 25 another one."""

    def __init__(self) -> None:
        super().__init__()
        self.points, self.o = nn.Parameter(torch.randn(5, 6)), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.o(torch.cdist(x, self.points).neg().exp())


def test_halves_take_more_samples_than_an_operation_chose_its_way_for(tmp_path: Path) -> None:
    model = Nearness().eval()
    graph = advisor.trace(model, torch.rand(4, 6))
    plan = Plan(cuts=(graph.cut("exp"),), defense=NoDefense(), predicted={}, inputs=graph.inputs, graph=graph)
    made = plan.export(tmp_path)
    assert made.check.batches == (2, 1, 5, 26)
    edge, cloud = (torch.export.load(tmp_path / f"{name}.pt2").module() for name in ("edge", "cloud"))
    for count in (1, 25, 40):
        x = torch.rand(count, 6)
        assert torch.equal(cloud(edge(x)), model(x))


def exporting_parts(plan: Plan, graph: PartitionGraph) -> Any:
    from advisor.exporting.parts import parts_of, random_inputs

    return parts_of(plan, graph, random_inputs(graph.inputs.tensors, 3))


def test_a_second_split_replaces_the_first_as_a_whole_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    exported("silu", tmp_path)
    first = tree(tmp_path)
    plan_of("functional", "linear").export(tmp_path)
    assert set(tree(tmp_path)) == set(first)
    assert advisor.load_export(tmp_path).cuts == ("linear",)
    assert (tmp_path / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("name", ["edge.pt2", "plan.json", "wire.py"])
def test_somebody_else_s_file_is_not_overwritten(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(AdvisorError, match=rf"{name} is there already, and is not of an earlier split.*--out"):
        plan_of("functional", "silu").export(tmp_path)
    assert tree(tmp_path) == {name: b"mine"}


def test_a_half_that_was_changed_after_a_split_is_not_overwritten(tmp_path: Path) -> None:
    exported("silu", tmp_path)
    (tmp_path / "cloud.pt2").write_text("tuned")
    before = tree(tmp_path)
    with pytest.raises(AdvisorError, match=r"cloud\.pt2 is there already"):
        plan_of("functional", "silu").export(tmp_path)
    assert tree(tmp_path) == before


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("mine")
    with pytest.raises(AdvisorError, match=r"Cannot write .*taken.*--out"):
        plan_of("functional", "silu").export(tmp_path / "taken" / "below")


def test_an_unknown_format_and_a_missing_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = plan_of("functional", "silu")
    with pytest.raises(AdvisorError, match=r"no format 'tflite'\. Use pt2 or onnx"):
        plan.export(tmp_path, "tflite")  # type: ignore[arg-type]
    monkeypatch.setattr(exporting, "find_spec", lambda name: None if name == "onnxscript" else name)
    with pytest.raises(AdvisorError, match=r"needs onnxscript\. Install it: pip install 'partition-advisor\[onnx\]'"):
        plan.export(tmp_path, "onnx")
    assert tree(tmp_path) == {}


def test_a_plan_without_its_model_or_with_another(tmp_path: Path) -> None:
    plan = dataclasses.replace(plan_of("functional", "silu"), graph=None)
    with pytest.raises(AdvisorError, match=r"model that was in memory\. Pass its file with --model"):
        plan.export(tmp_path / "out")
    with pytest.raises(AdvisorError, match=r"no legal cut 'silu'"):
        plan.export(tmp_path / "out", model=ZOO["dense"].model())
    other = dataclasses.replace(plan.cut, tensors=(dataclasses.replace(plan.cut.tensors[0], shape=(9,)),))
    with pytest.raises(AdvisorError, match=r"At silu this model sends float32\[8\], the advice says float32\[9\]"):
        dataclasses.replace(plan, cuts=(other,)).export(tmp_path / "out", model=ZOO["functional"].model())
    assert list(tmp_path.iterdir()) == []
    assert plan.export(tmp_path / "out", model=ZOO["functional"].model()).check.exact


def test_an_advice_without_a_plan(tmp_path: Path, digits_advice: advisor.Advice) -> None:
    with pytest.raises(AdvisorError, match="holds no plan to write"):
        advisor.export(dataclasses.replace(digits_advice, best=None, best_split=None), tmp_path)


def test_random_numbers_of_the_user_are_left_alone(tmp_path: Path) -> None:
    plan = plan_of("functional", "silu", GaussianNoise(0.1))
    before = torch.get_rng_state()
    plan.export(tmp_path)
    assert torch.equal(torch.get_rng_state(), before)


# ---- ONNX -----------------------------------------------------------------------------------------------------------

onnxruntime = pytest.importorskip("onnxruntime", reason="pip install 'partition-advisor[onnx]'")
ONNX = """
import numpy as np, onnxruntime as ort, wire, edge
plan = json.load(open("plan.json"))
sender, cloud = edge.Edge("."), ort.InferenceSession("cloud.onnx")
crossing = plan["crossings"][0]["tensors"]
answers = []
for batch in (1, 4):
    x = np.linspace(0, 1, 6 * batch, dtype="float32").reshape(batch, 6)
    message = sender.send(x)
    received = wire.unpack(message, crossing)
    feeds = {spec["name"]: array for spec, array in zip(crossing, received)}
    answers.append([message.hex(), cloud.run(None, feeds)[0].tolist()])
assert "torch" not in sys.modules
print(json.dumps(answers))
"""


@pytest.fixture(scope="module")
def onnx_folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Exported]]:
    made = {}
    for defense in (GaussianNoise(0.3), Quantize8()):
        folder = tmp_path_factory.mktemp(defense.name)
        exported("silu", folder, defense, "onnx")
        made[defense.name] = (folder, advisor.load_export(folder))
    return made


def test_onnx_halves_run_with_onnx_runtime_alone(onnx_folders: dict[str, tuple[Path, Exported]]) -> None:
    folder, made = onnx_folders["int8"]
    edge, cloud = plan_of("functional", "silu", Quantize8()).split()
    for batch, (_, answer) in zip((1, 4), in_fresh_process(ONNX, folder), strict=True):
        x = torch.linspace(0, 1, 6 * batch).reshape(batch, 6)
        assert torch.allclose(torch.tensor(answer), cloud(edge(x)), atol=1e-2)
    assert made.check.tolerance == 1e-3
    assert made.check.max_abs_difference < 1e-2
    assert made.check.runtime.startswith("onnxruntime")


def test_a_half_that_the_optimiser_of_onnx_refuses_is_written_as_it_is(tmp_path: Path) -> None:
    class Ghost(nn.Module):
        """Batch normalisation of at most 128 samples at once, as TabNet has it."""

        def __init__(self) -> None:
            super().__init__()
            self.normal = nn.BatchNorm1d(6)

        def forward(self, x: Tensor) -> Tensor:
            return torch.cat([self.normal(part) for part in x.chunk(math.ceil(x.shape[0] / 128), 0)])

    model = Ghost().eval()
    graph = advisor.trace(model, torch.rand(2, 6))
    Plan((graph.cut(0),), NoDefense(), {}, inputs=graph.inputs, graph=graph).export(tmp_path, "onnx")
    edge, cloud = advisor.runtime.Edge(tmp_path), advisor.runtime.Cloud(tmp_path)
    x = torch.rand(5, 6)
    with torch.no_grad():
        assert np.allclose(cloud.receive(edge.send(x)), model(x), atol=1e-6)


def test_onnx_noise_is_an_input_and_fresh_in_each_process(onnx_folders: dict[str, tuple[Path, Exported]]) -> None:
    folder, made = onnx_folders["gaussian"]
    first, second = (in_fresh_process(ONNX, folder) for _ in range(2))
    assert first[1][0] != second[1][0]
    import onnx

    graph = onnx.load(folder / "edge.onnx").graph
    assert [i.name for i in graph.input] == [t.name for t in made.parts[0].inputs]
    assert graph.input[-1].name == "noise"
    assert not [n.op_type for n in graph.node if "Random" in n.op_type]
    session = onnxruntime.InferenceSession(str(folder / "edge.onnx"))
    with pytest.raises(ValueError, match=r"Required inputs \(\['noise'\]\) are missing"):
        session.run(None, {graph.input[0].name: np.zeros((4, 6), np.float32)})


def test_the_batch_axis_of_onnx_halves_is_called_batch(onnx_folders: dict[str, tuple[Path, Exported]]) -> None:
    import onnx

    for folder, _ in onnx_folders.values():
        for path in folder.glob("*.onnx"):
            graph = onnx.load(path).graph
            for value in (*graph.input, *graph.output):
                assert value.type.tensor_type.shape.dim[0].dim_param == "batch"
            text = str(graph)
            assert not re.findall(r'dim_param: "[^"]*\bs\d+', text)


def test_onnx_files_name_no_path_of_this_computer(onnx_folders: dict[str, tuple[Path, Exported]]) -> None:
    for folder, _ in onnx_folders.values():
        for path in folder.glob("*.onnx"):
            assert str(Path(advisor.__file__).parent).encode() not in path.read_bytes()


class Unknown(nn.Module):
    """Uses an operator that ONNX has no word for."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.special.bessel_j0(torch.relu(x))


def test_an_operator_that_onnx_lacks_is_named_and_nothing_is_left(tmp_path: Path) -> None:
    graph = advisor.trace(Unknown(), torch.rand(2, 4))
    plan = Plan((graph.cut("relu"),), NoDefense(), {}, inputs=graph.inputs, graph=graph)
    with pytest.raises(AdvisorError, match=r"cloud part: it has no operator for [a-z]+\.[a-z_]*bessel_j0") as caught:
        plan.export(tmp_path / "out", "onnx")
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_number_format_that_onnx_runtime_lacks(tmp_path: Path) -> None:
    with pytest.raises(AdvisorError, match=r"ONNX Runtime cannot run the edge part: .*Use --format pt2"):
        plan_of("bfloat16", "act").export(tmp_path / "out", "onnx")
    assert list(tmp_path.iterdir()) == []
