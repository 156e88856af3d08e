"""Exported programs that people save must load without trust; what torch would evaluate or unpickle must not."""

from __future__ import annotations

import io
import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from torch import nn

from advisor.errors import AdvisorError, UnsafeFileError
from advisor.loading import load_model
from advisor.loading.allowed_operators import is_plain
from advisor.loading.archives import inspect_archive
from advisor.loading.exported_programs import pt2
from advisor.loading.exported_programs.expressions import plain_expression
from advisor.tracing.tracer import trace
from tests import hostile


class Everyday(nn.Module):
    """Regions, contractions and buffers that exporters write in a way of their own."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.register_buffer("rows", torch.arange(4.0).expand(3, 4))
        self.register_buffer("mask", torch.zeros(1).expand(1000))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            still = self.linear(x)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            short = self.linear(x)
        turned = torch.einsum("bd,de->be", x, self.linear.weight)
        return still + short.float() + turned + self.rows.sum(0) + self.mask.sum()  # type: ignore[operator]


def exported(model: nn.Module, x: torch.Tensor, path: Path) -> Path:
    program = torch.export.export(model.eval(), (x,), dynamic_shapes=({0: torch.export.Dim.AUTO},))
    torch.export.save(program, path)
    return path


def _first_node(content: dict[str, Any]) -> dict[str, Any]:
    nodes: list[dict[str, Any]] = content["graph_module"]["graph"]["nodes"]
    return next(node for node in nodes if ".ops." in node["target"])


UNUSABLE: dict[str, Callable[[dict[str, Any]], object]] = {
    "no signature": lambda content: content["graph_module"].update(module_call_graph=[]),
    "another signature": lambda content: content["graph_module"]["module_call_graph"][0].update(fqn="inner"),
    "a call of what takes nothing": lambda content: _first_node(content).update(
        target="torch._functorch.predispatch._enter_dual_level"
    ),
}


def _changed(change: Callable[[dict[str, Any]], object], path: Path) -> Path:
    content = json.loads(hostile.member(hostile.honest("pt2"), "models/model.json"))
    change(content)
    return hostile.rewritten(hostile.honest("pt2"), {"models/model.json": json.dumps(content).encode()}, path)


@pytest.mark.parametrize("what", UNUSABLE)
def test_what_torch_makes_no_module_of_is_refused_in_one_line(what: str, tmp_path: Path) -> None:
    with pytest.raises(AdvisorError, match="torch cannot use this program"):
        trace(_changed(UNUSABLE[what], tmp_path / "m.pt2"))


def test_a_program_that_states_no_range_of_its_batch_is_taken(tmp_path: Path) -> None:
    path = _changed(lambda content: content.update(range_constraints={}), tmp_path / "m.pt2")
    assert len(trace(path).cuts) > 2


def test_einsum_regions_and_expanded_buffers_need_no_trust(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, x = Everyday().eval(), torch.rand(3, 4)
    program: Any = load_model(exported(model, torch.rand(2, 4), tmp_path / "m.pt2")).model
    torch.testing.assert_close(program.module()(x), model(x))


class Slopes(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.func.jvp(torch.tanh, (x,), (torch.ones_like(x),))[1]  # type: ignore[no-any-return]


class Autocast(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            short = self.linear(x)
        return short.float() + x  # type: ignore[no-any-return]


@pytest.mark.parametrize("model", [Slopes(), Autocast()], ids=["jvp", "autocast"])
def test_regions_of_the_strict_exporter_are_traced(model: nn.Module, tmp_path: Path) -> None:
    """Of what an autocast region returns, torch asserts the type that it would have outside of it."""
    x, path = torch.rand(3, 4), tmp_path / "m.pt2"
    shapes = ({0: torch.export.Dim.DYNAMIC},)
    torch.export.save(torch.export.export(model.eval(), (x,), dynamic_shapes=shapes, strict=True), path)
    edge, cloud = trace(path, x).split(0)
    with torch.no_grad():
        torch.testing.assert_close(cloud(edge(x)), model(x))


@pytest.mark.parametrize(("given", "length"), [(None, 20), (torch.rand(3, 3, 30), 30), (torch.rand(1, 3, 30), 30)])
def test_of_other_dynamic_sizes_those_of_the_example_are_taken(
    given: torch.Tensor | None, length: int, tmp_path: Path
) -> None:
    model = nn.Sequential(nn.Conv1d(3, 4, 3), nn.AdaptiveAvgPool1d(1), nn.Flatten()).eval()
    sizes = ({0: torch.export.Dim("n"), 2: torch.export.Dim("t", min=4, max=100)},)
    torch.export.save(torch.export.export(model, (torch.rand(2, 3, 20),), dynamic_shapes=sizes), tmp_path / "m.pt2")
    graph = trace(tmp_path / "m.pt2", given)
    assert [spec.shape for spec in graph.inputs.tensors] == [(3, length)]
    assert f"The program takes other sizes too; cuts and halves are for 3×{length}." in graph.notes
    x, (edge, cloud) = torch.rand(4, 3, length), graph.split(1)
    assert torch.equal(cloud(edge(x)), model(x))


@pytest.mark.parametrize("name", ["squeezenet1_1"])
def test_a_program_of_torchvision_needs_no_trust(name: str, tmp_path: Path) -> None:
    """All of the zoo: benchmarks/trust_zoo.py."""
    path = exported(torchvision.models.get_model(name), torch.rand(2, 3, 64, 64), tmp_path / "m.pt2")
    assert list(pt2.dangers(inspect_archive(path))) == []


class Called(nn.Module):
    def __init__(self, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.function(x)


F = nn.functional
OPERATIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "a vmap in the forward": torch.vmap(torch.vmap(torch.sin)),
    "randomised slopes, switched off": lambda x: F.rrelu(x, training=False),
    "attention": lambda x: F.scaled_dot_product_attention(x, x, x),
    "interpolate": lambda x: F.interpolate(x[:, None], scale_factor=2, mode="bicubic"),
    "area": lambda x: F.interpolate(x, size=3, mode="area"),
    "antialias": lambda x: F.interpolate(x[:, None], size=(3, 3), mode="bilinear", antialias=True),
    "grid_sample": lambda x: F.grid_sample(x[:, None], torch.zeros(x.shape[0], 2, 2, 2)),
    "fft": lambda x: torch.fft.irfft(torch.fft.rfft(x)),
    "complex": lambda x: torch.view_as_real(torch.polar(x, x)),
    "svdvals": lambda x: torch.linalg.svdvals(x),
    "inverse": lambda x: torch.linalg.inv(x @ x.mT + torch.eye(4)),
    "cumsum": lambda x: x.cumsum(1).flip(1),
    "topk": lambda x: x.topk(2, 1).values,
    "where": lambda x: torch.where(x > 0.5, x, -x).masked_fill(x < 0.1, 0.0),
    "index": lambda x: x[:, [0, 1]].index_select(1, torch.tensor([1])),
    "scatter": lambda x: torch.zeros_like(x).scatter_add(1, torch.zeros_like(x).long(), x),
    "roll": lambda x: x.roll(1, 1).unfold(1, 2, 1).flatten(1),
    "norms": lambda x: F.group_norm(F.instance_norm(x), 2) + F.layer_norm(x, (4,)) + F.normalize(x),
    "softmax": lambda x: F.log_softmax(F.gumbel_softmax(x, hard=True), 1) + F.softmin(x, 1),
    "activations": lambda x: F.mish(F.silu(F.gelu(F.elu(F.hardswish(F.softplus(x)))))),
    "chunk": lambda x: torch.cat([*x.chunk(2, 1), *x.split(1, 1), *x.unbind(1)][:4], 1),
    "pad": lambda x: F.pad(F.pad(x, (1, 1), mode="reflect"), (1, 1), mode="replicate"),
    "bucketize": lambda x: torch.bucketize(x, torch.linspace(0, 1, 5)),
    "one_hot": lambda x: F.one_hot(x.argmax(1), 4),
    "std": lambda x: x.std(1) + x.var(1) + x.amax(1) + x.logsumexp(1) + x.quantile(0.5, 1),
    "pixel_shuffle": lambda x: F.pixel_shuffle(x[:, :, None], 2),
    "convolutions": lambda x: F.conv_transpose1d(F.conv1d(x, torch.ones(2, 4, 2)), torch.ones(2, 4, 2)),
    "pools": lambda x: F.adaptive_max_pool1d(F.avg_pool1d(x, 2), 2) + F.lp_pool1d(x, 2, 2),
    "random": lambda x: x + torch.randn_like(x) * torch.rand(1) + torch.bernoulli(x),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_operations_that_only_compute_are_on_the_list(name: str) -> None:
    program = torch.export.export(Called(OPERATIONS[name]), (torch.rand(2, 4, 4),))
    for program_ in (program, program.run_decompositions()):
        buffer = io.BytesIO()
        torch.export.save(program_, buffer)
        document = hostile.member(buffer.getvalue(), "models/model.json")
        assert list(pt2.program_dangers(json.loads(document))) == []


def test_the_list_reaches_no_file_generator_or_foreign_memory() -> None:
    for name in ("from_file", "save", "set_", "set_data", "resize_", "manual_seed", "_reshape_alias", "_print"):
        assert not is_plain("aten", name)
    schemas = [s for s in torch._C._jit_get_all_schemas() if is_plain(*s.name.split("::"))]
    assert len(schemas) > 800
    words = ("filename", "file", "dir", "path", "module", "library")
    reaching = {s.name for s in schemas for a in s.arguments if a.name in words and str(a.type) == "str"}
    assert reaching == set()


@pytest.mark.parametrize(
    "name",
    ["data/Sample_inputs/model.pt", "Data/sample_inputs/model.pt", "DATA/WEIGHTS/model.pt", "extra2/x", "models/b.pt",
     "data/weights/weight_99999"],
)  # fmt: skip
def test_a_pickle_is_found_wherever_it_lies(name: str, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    payload = hostile.saved({"x": hostile.Payload(mark)})
    changes: dict[str, bytes | None] = {"data/sample_inputs/model.pt": None}
    path = hostile.rewritten(hostile.honest("pt2"), changes, tmp_path / "m.pt2", {f"{_root()}/{name}": payload})
    with pytest.raises(UnsafeFileError, match=r"would import (builtins|__builtin__)\.exec"):
        load_model(path)
    assert not mark.exists()


def test_a_member_that_torch_does_not_write_is_refused(tmp_path: Path) -> None:
    path = hostile.rewritten(hostile.honest("pt2"), {}, tmp_path / "m.pt2", {f"{_root()}/Models/model.json": b"{}"})
    with pytest.raises(AdvisorError, match=r"holds the member 'Models/model\.json' twice"):
        load_model(path)
    path = hostile.rewritten(hostile.honest("pt2"), {}, tmp_path / "n.pt2", {f"{_root()}/models/other.json": b"{}"})
    with pytest.raises(AdvisorError, match=r"no torch\.export writes a member 'models/other\.json'"):
        load_model(path)


def _root() -> str:
    return inspect_archive_of("pt2").root


def inspect_archive_of(kind: str) -> Any:
    from advisor.loading.content import Content

    return inspect_archive(Content(Path("m"), hostile.honest(kind)))


@pytest.mark.parametrize(
    "change",
    [
        lambda c, m: c["range_constraints"].update({"u99999999999": {"min_val": 0, "max_val": 9}}),
        lambda c, m: c["range_constraints"].update({hostile.expression(m): {"min_val": 0, "max_val": 9}}),
        lambda c, m: c["graph_module"]["graph"]["nodes"].append(
            {"target": "_operator.pow", "inputs": [{"name": "a", "arg": {"as_int": 10**9}, "kind": 1}], "outputs": [],
             "metadata": {}}
        ),
        lambda c, m: c["graph_module"]["module_call_graph"][0]["signature"].update(
            out_spec=json.dumps([1, {"type": "builtins.list", "children_spec": [],
                                     "context": '{"\\u005f_enum__": true, "fqn": "this:x", "name": "y"}'}])
        ),
    ],
)  # fmt: skip
def test_what_torch_would_count_import_or_raise_is_refused(change: Any, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    with pytest.raises(UnsafeFileError):
        load_model(hostile.program(change)(tmp_path, mark))
    assert not mark.exists()


@pytest.mark.parametrize(
    "text",
    ["1<<99999999999", "s0<<64", "2**s0", "LShift(1, 99999999999)", "PowByNatural(9, 10**9)", "(s0+1)**64**2", "s0^9",
     "((s0+s1)**60)**60", "Symbol('u99999999999')", "Max(" + "s0, Max(" * 50 + "s1" + ")" * 51, "-" * 5000 + "1", "5!",
     "s0[1]", "s0 if s1 else s2", "lambda: 1", "Symbol('s0', cls=Mod)", "Float('1', precision=10**9)", "\uff530"],
)  # fmt: skip
def test_sizes_that_would_take_all_memory_or_time_are_refused(text: str) -> None:
    assert not plain_expression(text)


# ---- one read -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["pt2", "torchscript", "state_dict", "safetensors"])
def test_a_file_that_is_swapped_after_the_first_look_does_not_matter(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every further opening of the path would find a hostile file; what is loaded is what was read."""
    from advisor.loading import model

    path, mark = tmp_path / "m", tmp_path / "mark"
    path.write_bytes(hostile.honest(kind))
    real = model.sniff

    def swapped(content: Any) -> Any:
        path.write_bytes(hostile.saved({"x": hostile.Payload(mark)}))
        return real(content)

    monkeypatch.setattr(model, "sniff", swapped)
    loaded = load_model(path, arch="tests.hostile:net")
    import hashlib

    assert loaded.sha256 == hashlib.sha256(hostile.honest(kind)).hexdigest()
    assert not mark.exists()


def test_a_pipe_is_no_model_and_does_not_wait(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "m.pt")
    for path in (tmp_path / "m.pt", Path("/dev/zero")):
        with pytest.raises(AdvisorError, match="is a pipe, socket or device, not a file"):
            load_model(path)


@pytest.mark.parametrize("name", ["n" * 5_000_000, "\x1b[2J" * 100_000])
def test_a_long_name_does_not_make_a_long_message(name: str, tmp_path: Path) -> None:
    torch.save({name: torch.zeros(1)}, tmp_path / "m.pt")
    for arch in (None, "tests.hostile:net"):
        with pytest.raises(AdvisorError) as caught:
            load_model(tmp_path / "m.pt", arch=arch)
        assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"\x80\x02}r\xff\xff\xff\x7fX\x01\x00\x00\x00aK\x01s.", "remembers a value number 2,147,483,647"),
        (b"\x80\x02)" + b"".join(b"\x94h" + bytes([i]) + b"h" + bytes([i]) + b"\x86" for i in range(60)) + b".",
         "a tuple in it is too large"),
        (pickle.dumps({2**61: 1}, 2), "a number too large is a key"),
        (b"\x80\x02}]K\x01s.", "a list is a key"),
        (b"\x80\x02N}b.", "sets the state of a NoneType"),
    ],
)  # fmt: skip
def test_a_pickle_that_would_hang_or_fill_memory_is_refused(data: bytes, fault: str, tmp_path: Path) -> None:
    path = hostile.rewritten(hostile.honest("state_dict"), {"data.pkl": data}, tmp_path / "m.pt")
    with pytest.raises(AdvisorError, match=fault):
        load_model(path)
