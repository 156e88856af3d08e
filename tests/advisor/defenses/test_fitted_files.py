"""A variant in a file: the same bits again, without its method's code; refused where it was changed or is another's."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor, nn

import advisor
from advisor.batches import carried
from advisor.defenses.training.fitted_files import KEY, load_variant, save_variant, variant_digest
from advisor.errors import AdvisorError
from advisor.graph import PartitionGraph
from advisor.variant import Variant, variant_of
from tests.advisor.test_variant import CUT, Down, FromMean, Same, Statistics, Up, base
from tests.estimators.nets import DigitNet, digits, fixed
from tests.models import ZOO, equal, traced

Change = Callable[[dict[str, Any]], None]


def tuned() -> Variant:
    weights = {name: p + 0.01 for name, p in fixed(DigitNet()).named_parameters()}
    edge = {name: weights[name] for name in ("conv1.weight", "conv2.bias")}
    own = {"conv1.bias": base().constant(next(n for n in base().module.graph.nodes if n.target == "conv1.bias"))}
    return variant_of(
        base(), CUT, fixed(Down()), fixed(Up()), {"method": "made up", "sigma": [0.2, 1.0]},
        edge_weights=edge | own, cloud_weights={"fc.weight": weights["fc.weight"]},
    )  # fmt: skip


def same(first: PartitionGraph, second: PartitionGraph, x: Any) -> bool:
    return first.digest == second.digest and equal(first(x), second(x))


# ---- there and back ----------------------------------------------------------------------------------------------


def test_a_file_holds_what_changed_and_gives_the_same_bits_again(tmp_path: Path) -> None:
    variant = dataclasses.replace(tuned(), notes=(*base().notes, "As meant."))
    path = save_variant(variant, tmp_path)
    assert path == tmp_path / "defenses" / f"{variant_digest(variant)}.safetensors"
    assert hashlib.sha256(path.read_bytes()).hexdigest() == path.stem
    held = load(path.read_bytes())
    assert {key for key in held if key.startswith(("edge/", "cloud/"))} == {
        "edge/conv1.weight", "edge/conv2.bias", "cloud/fc.weight"
    }  # fmt: skip
    again = load_variant(path, base())
    x, _ = digits(9)
    assert same(variant, again, x)
    assert again.recipe == variant.recipe
    assert (again.at, again.notes, again.changes) == (variant.at, variant.notes, variant.changes)
    assert [cut.name for cut in again.cuts] == [cut.name for cut in variant.cuts]
    edge, cloud = again.split(again.payload)
    assert torch.equal(cloud(edge(x)), variant(x))
    assert save_variant(again, tmp_path) == path


@pytest.mark.parametrize("name", ["residual", "tokens", "recurrent", "hard_batch"])
def test_other_graphs_and_payloads_of_several_kinds_come_back(name: str, tmp_path: Path) -> None:
    graph = traced(name)
    cut = next(cut for cut in graph.cuts[1:-1] if all(spec.is_floating for spec in cut.tensors))
    variant = variant_of(graph, cut, Same(), Same())
    again = load_variant(save_variant(variant, tmp_path), graph)
    assert same(variant, again, ZOO[name].inputs(graph.fixed_batch or 3))
    assert again.changes == ()


class Shaped(nn.Module):
    """Sizes of the batch, a dtype, a list, infinity: all that a row must carry."""

    def forward(self, z: Tensor) -> Tensor:
        n = z.shape[0]
        first, second = z.reshape(n * 16, 16).to(torch.float64).chunk(2, 1)
        return torch.cat([first, second], 1).to(torch.float32).clamp(-float("inf"), 9.0).reshape(n, 16, 4, 4)


def test_sizes_dtypes_and_tensors_of_several_outputs_come_back(tmp_path: Path) -> None:
    x, _ = digits(5)
    for variant in (
        variant_of(base(), CUT, Shaped(), Shaped()),
        variant_of(base(), CUT, fixed(Statistics()), fixed(FromMean())),
    ):
        again = load_variant(save_variant(variant, tmp_path), base())
        assert same(variant, again, x)
        assert again.payload.tensors == variant.payload.tensors


def test_a_fit_names_its_data_and_seed_and_comes_back(tmp_path: Path) -> None:
    x, _ = digits(60)
    variant = advisor.defend(base(), CUT, "bottleneck", x, seed=3, width=2, epochs=1, batch=30)
    again = advisor.load_variant(advisor.save_variant(variant, tmp_path), base())
    assert same(variant, again, x)
    assert again.recipe == variant.recipe
    assert (again.recipe["seed"], again.recipe["sigma"]) == (3, [0.2, 1.0])
    assert again.changes == ("edge weights", "cloud weights", "app")
    other = advisor.defend(base(), CUT, "bottleneck", x[:50], seed=3, width=2, epochs=1, batch=30)
    assert other.recipe["data"] != variant.recipe["data"]


def test_a_variant_says_who_must_change_what() -> None:
    assert variant_of(base(), CUT, fixed(Down()), fixed(Up())).changes == ("app",)
    weight = {"fc.bias": torch.ones(10)}
    assert variant_of(base(), CUT, Same(), Same(), cloud_weights=weight).changes == ("cloud weights",)
    assert tuned().changes == ("edge weights", "cloud weights", "app")


# ---- refused -----------------------------------------------------------------------------------------------------


def test_another_model_is_refused(tmp_path: Path) -> None:
    path = save_variant(tuned(), tmp_path)
    other = advisor.trace(fixed(DigitNet()), digits(2)[0])
    with pytest.raises(AdvisorError, match=r"was fitted to another model .* Pass the model that it was fitted to"):
        load_variant(path, other)


def test_changed_bytes_are_refused(tmp_path: Path) -> None:
    path = save_variant(tuned(), tmp_path)
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)
    with pytest.raises(AdvisorError, match="is not what was written: its name is not its SHA-256"):
        load_variant(path, base())
    with pytest.raises(AdvisorError, match=r"was changed since it was written\. Remove it"):
        save_variant(tuned(), tmp_path)


def rewritten(tmp_path: Path, change: Change, drop: str = "", more: dict[str, Tensor] | None = None) -> Path:
    """A file with another description, under the name that fits its bytes."""
    data = save_variant(tuned(), tmp_path).read_bytes()
    size = int.from_bytes(data[:8], "little")
    header = json.loads(json.loads(data[8 : 8 + size])["__metadata__"][KEY])
    change(header)
    tensors = {k: v for k, v in load(data).items() if not drop or drop not in k} | (more or {})
    made = save(tensors, {KEY: json.dumps(header)})
    path = tmp_path / f"{hashlib.sha256(made).hexdigest()}.safetensors"
    path.write_bytes(made)
    return path


def operation(index: int, **changes: Any) -> Change:
    def change(header: dict[str, Any]) -> None:
        rows = [row for row in header["encoder"]["rows"] if row["op"] != "constant"]
        rows[index].update(changes)

    return change


def flipped(header: dict[str, Any]) -> None:
    last = header["encoder"]["rows"][-1]
    last.update(op="aten.flip.default", args=[*last["args"], [0]])


def grown(header: dict[str, Any]) -> None:
    """A huge tensor of which the payload is a corner."""
    part = header["encoder"]
    rows = part["rows"]
    for op, *args in (
        ("aten.repeat.default", [1, 1, 2**20, 2**12]), ("aten.slice.Tensor", 2, 0, 4), ("aten.slice.Tensor", 3, 0, 4)
    ):  # fmt: skip
        rows.append({"op": op, "args": [{"node": part["inputs"] + len(rows) - 1}, *args]})
    part["results"] = [{"node": part["inputs"] + len(rows) - 1}]


def put(**changes: Any) -> Change:
    return lambda header: header.update(changes)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (put(schema=2), "no fitted defense of this version"),
        (put(code="os.system"), "no fitted defense of this version"),
        (put(base="x"), "no fitted defense of this version"),
        (put(at="nowhere"), "does not fit the model.*nowhere"),
        (put(recipe={"a b": 1}), "no fitted defense of this version"),
        (put(recipe={"deep": {"er": 1}}), "no fitted defense of this version"),
        (put(recipe={"long": "x" * 2000}), "no fitted defense of this version"),
        (put(notes=["x"] * 51), "no fitted defense of this version"),
        (operation(0, op="os.system"), "would call 'os.system'"),
        (operation(0, op="aten.save.default"), "would call 'aten.save.default'"),
        (operation(0, op="aten.tanh_.default"), "writes or draws"),
        (operation(0, op="aten.rand_like.default", args=[{"node": 0}]), "writes or draws"),
        (operation(0, args=[{"node": 99}]), "a value in it is"),
        (operation(0, args=[{"node": True}]), "a value in it is"),
        (operation(0, args=[{"dtype": "load"}]), "a value in it is"),
        (operation(0, args=[{"node": 0}], op="aten.reshape.default"), "no usable defense"),
        (grown, "would compute"),
        (flipped, "depends on the others of its batch"),
        (operation(-1, op="mul", args=[{"node": 0}, {"node": 0}]), "a size from two others"),
    ],
)
def test_hostile_descriptions_are_refused(change: Change, reason: str, tmp_path: Path) -> None:
    with pytest.raises(AdvisorError, match=reason):
        load_variant(rewritten(tmp_path, change), base())


def test_tensors_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    def nothing(header: dict[str, Any]) -> None:
        """The description stays."""

    for drop, more, reason in (
        ("encoder/", None, "reads a tensor that is not there"),
        ("", {"elsewhere/w": torch.zeros(2)}, "of no part"),
        ("", {"encoder/unread": torch.zeros(2)}, "nothing reads its tensor 'unread'"),
        ("edge/conv1.weight", {"edge/conv1.weight": torch.zeros(2)}, "has no weight 'conv1.weight' of this shape"),
        ("", {"edge/fc.bias": torch.full((10,), torch.nan)}, "holds what is no number"),
    ):
        with pytest.raises(AdvisorError, match=reason):
            load_variant(rewritten(tmp_path, nothing, drop, more), base())


def test_what_is_no_file_of_ours_is_refused(tmp_path: Path) -> None:
    for data in (b"", b"\x00" * 40, save({"a": torch.zeros(2)}), save({"a": torch.zeros(2)}, {KEY: "{"})):
        path = tmp_path / f"{hashlib.sha256(data).hexdigest()}.safetensors"
        path.write_bytes(data)
        with pytest.raises(AdvisorError, match=r"no safetensors file|no fitted defense|not readable JSON"):
            load_variant(path, base())
    with pytest.raises(AdvisorError, match="There is no file"):
        load_variant(tmp_path / "gone.safetensors", base())


class Drawing(nn.Module):
    def forward(self, z: Tensor) -> Tensor:
        return torch.where(z > 0, z, z.exp())


def test_the_payload_of_a_loaded_variant_is_that_of_the_saved_one(tmp_path: Path) -> None:
    variant = variant_of(base(), CUT, Drawing(), nn.Identity())
    again = load_variant(save_variant(variant, tmp_path), base())
    x, _ = digits(4)
    sent, same_again = (carried(v, (x,), 0, v.payload.index)[0] for v in (variant, again))
    assert torch.equal(sent, same_again)
