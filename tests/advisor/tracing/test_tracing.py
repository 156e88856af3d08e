"""Tracing: what people have comes in, what cannot says which line stops it, and nothing of the user's is changed."""

from __future__ import annotations

import logging
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim, export

import advisor
from advisor.errors import AdvisorError, DataError, TraceError
from advisor.inputs import InputSpec
from advisor.loading import shapes
from advisor.planning.preparing import load_and_trace
from advisor.tracing.refusals import refuse_detectors
from advisor.tracing.tracer import trace
from tests import models
from tests.models import ZOO, Chain, call, equal, traced, vectors

# ---- programs that their owner exported ---------------------------------------------------------------------------


def exported(name: str, rows: int, dynamic: bool = False) -> torch.export.ExportedProgram:
    x = ZOO[name].inputs(rows)
    args = x if isinstance(x, tuple) else (x,)
    return export(ZOO[name].model(), args, dynamic_shapes=tuple({0: Dim.AUTO} for _ in args) if dynamic else None)


@pytest.mark.parametrize("name", ["chain", "recurrent", "attention", "two_inputs", "tokens", "no_grad", "dict_output"])
def test_a_dynamic_program_is_as_good_as_its_model(name: str, tmp_path: Path) -> None:
    torch.export.save(exported(name, 2, dynamic=True), tmp_path / "model.pt2")
    graph = trace(torch.export.load(tmp_path / "model.pt2"))
    assert tuple(cut.name for cut in graph.cuts) == ZOO[name].cuts
    for rows in (1, 2, 5):
        assert equal(graph(ZOO[name].inputs(rows)), call(ZOO[name].model(), ZOO[name].inputs(rows)))


@pytest.mark.parametrize("frozen", [1, 3])
@pytest.mark.parametrize("name", ["chain", "attention", "two_inputs", "tokens", "dict_output", "residual"])
def test_a_program_of_frozen_batch_runs_any_batch(name: str, frozen: int) -> None:
    graph = trace(exported(name, frozen))
    assert graph.fixed_batch == frozen
    assert graph.notes == (f"The program has a fixed batch of {frozen}; it runs in groups of that size.",)
    assert set(ZOO[name].cuts) <= {cut.name for cut in graph.cuts}, "a group of one may be cut where time leads"
    assert frozen == 1 or len(graph.cuts) == len(ZOO[name].cuts)
    for rows in (1, 2, 3, 7):
        x, expected = ZOO[name].inputs(rows), call(ZOO[name].model(), ZOO[name].inputs(rows))
        assert close(graph(x), expected)
        for cut in graph.cuts:
            edge, cloud = graph.split(cut)
            found = cloud(call(edge, x))
            assert close(found, expected)
            assert rows != frozen or equal(found, expected)


def close(found: Any, expected: Any) -> bool:
    pairs = zip(torch.utils._pytree.tree_leaves(found), torch.utils._pytree.tree_leaves(expected), strict=True)
    return all(
        torch.allclose(a, b, atol=1e-5) and a.shape == b.shape if isinstance(a, Tensor) else a == b for a, b in pairs
    )


def test_a_first_dimension_of_the_batch_s_size_is_not_yet_the_batch() -> None:
    """Time leads, and is as long as the frozen batch: only the values tell."""

    class Swapped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.a(x.transpose(0, 1).tanh()).mean(0)

    torch.manual_seed(0)
    model = Swapped().eval()
    graph = trace(export(model, (torch.rand(3, 3, 4),)))
    assert [cut.name for cut in graph.cuts] == ["input", "output"]
    x = torch.rand(7, 3, 4)
    assert close(graph(x), model(x))


def test_an_output_that_cannot_be_joined_says_so() -> None:
    program = export(nn.LSTM(4, 6, batch_first=True).eval(), (torch.rand(3, 7, 4),))
    with pytest.raises(DataError, match=r"does not lead with the batch.*Pass exactly 3 samples"):
        trace(program).run((torch.rand(5, 7, 4),))


def test_dynamic_sizes_beside_the_batch_are_settled_by_the_example() -> None:
    program = export(
        ZOO["chain"].model(), (torch.rand(2, 3, 6, 6),), dynamic_shapes=({0: Dim.AUTO, 2: Dim.AUTO, 3: Dim.AUTO},)
    )
    graph = trace(program)
    assert tuple(cut.name for cut in graph.cuts) == ZOO["chain"].cuts
    assert graph.cut("conv").tensors[0].shape == (4, 6, 6)
    assert equal(graph(ZOO["chain"].inputs(5)), ZOO["chain"].model()(ZOO["chain"].inputs(5)))


# ---- examples -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [1, 2, 9])
def test_the_example_s_batch_does_not_matter(rows: int) -> None:
    graph = trace(ZOO["residual"].model(), ZOO["residual"].inputs(rows))
    assert graph.fixed_batch is None
    assert graph.cuts == traced("residual").cuts


def test_one_dict_argument_may_come_bare() -> None:
    (batch,) = ZOO["nested"].inputs(2)
    graph = trace(ZOO["nested"].model(), batch)
    expected = ZOO["nested"].model()(batch)
    assert torch.equal(graph(batch), expected)
    assert torch.equal(graph({"right": batch["right"], "left": batch["left"]}), expected), "order of keys"
    assert torch.equal(graph((batch["left"], *batch["right"])), expected), "flat"


def test_positional_arguments_may_be_named() -> None:
    left, right = ZOO["two_inputs"].inputs(3)
    expected = ZOO["two_inputs"].model()(left, right)
    assert torch.equal(traced("two_inputs")({"right": right, "left": left}), expected)


def test_keywords_are_taken_in_any_order() -> None:
    x = ZOO["keywords"].inputs(3)
    assert torch.equal(traced("keywords")(dict(reversed(x.items()))), ZOO["keywords"].model()(**x))


def test_a_registered_type_may_be_the_input() -> None:
    class Takes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Linear(6, 2)

        def forward(self, x: models.Answer) -> Tensor:
            return self.a(x.logits).relu()

    model, x = Takes().eval(), models.Answer(torch.rand(3, 6))
    graph = trace(model, x)
    assert torch.equal(graph(x), model(x))
    with pytest.raises(DataError, match=r"type of its own\. Pass example_inputs"):
        trace(model, graph.inputs)


def test_the_input_spec_survives_json() -> None:
    from pydantic import TypeAdapter

    for name in ("chain", "keywords", "nested", "tokens"):
        adapter, inputs = TypeAdapter(InputSpec), traced(name).inputs
        again = adapter.validate_json(adapter.dump_json(inputs))
        assert [t.shape for t in torch.utils._pytree.tree_leaves(again.example())] == [
            t.shape for t in torch.utils._pytree.tree_leaves(inputs.example())
        ]
        assert [cut.name for cut in trace(ZOO[name].model(), again).cuts] == list(ZOO[name].cuts)


# ---- normalisation --------------------------------------------------------------------------------------------------


def test_normalisation_is_the_first_node() -> None:
    model, x = ZOO["chain"].model(), torch.rand(5, 3, 6, 6)
    mean, std = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
    graph = trace(model, x, normalization=(mean, std))
    assert [cut.name for cut in graph.cuts][:4] == ["input", "normalize/sub", "normalize", "conv"]
    expected = model((x - torch.tensor(mean).view(1, 3, 1, 1)) / torch.tensor(std).view(1, 3, 1, 1))
    assert torch.equal(graph(x), expected)
    again = trace(model, graph.inputs)
    assert [cut.name for cut in again.cuts] == [cut.name for cut in graph.cuts]


def test_normalisation_must_fit() -> None:
    with pytest.raises(DataError, match="normalisation has 2 channels, the input \\(3, 6, 6\\)"):
        trace(Chain(), torch.zeros(2, 3, 6, 6), normalization=((0.5, 0.5), (1.0, 1.0)))
    with pytest.raises(DataError, match="takes int64, which cannot be normalised"):
        trace(ZOO["tokens"].model(), ZOO["tokens"].inputs(2), normalization=((0.5,), (1.0,)))


# ---- what is refused -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (models.ValueBranch, r"cannot trace ValueBranch at models\.py:\d+ \(return bool\(x\.sum\(\) > 0\)  # the line"),
        (
            models.ValueSize,
            r"size of what 'index' returns depends on the values .* models\.py:\d+ \(return self\.a\(x\[",
        ),
        (models.NeedsGPU, r"cannot trace NeedsGPU at models\.py:\d+ \(return self\.a\(x\.to\(\"cuda:7\"\)\)\)"),
        (models.Constant, r"No output of this model depends on its input\. There is nothing to split"),
    ],
)
def test_what_cannot_be_traced_names_the_line(
    model: type[nn.Module], message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(TraceError, match=message) as caught:
        _ = trace(model(), torch.rand(2, 6)).cuts
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("example", "message"),
    [
        (torch.tensor(1.0), "no batch dimension"),
        (torch.zeros(0, 6), "example inputs are empty"),
        ((), "hold no tensor"),
        ("image", "type str are not supported"),
        (torch.zeros(2, 7), r"cannot trace .* at models\.py:\d+ .*same reduction dim"),
    ],
)
def test_bad_examples_are_one_line(example: Any, message: str) -> None:
    with pytest.raises(AdvisorError, match=message) as caught:
        trace(ZOO["branches"].model(), example)
    assert "\n" not in str(caught.value)


def test_unequal_numbers_of_samples_are_told_by_their_numbers() -> None:
    class Sum(nn.Module):
        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return x + y

    with pytest.raises(DataError, match=r"does not run on the example, whose inputs have 2 and 9 samples\. Pass"):
        trace(Sum(), (torch.rand(2, 3), torch.rand(9, 3)))


def test_an_input_without_batch_is_named() -> None:
    class Masked(nn.Module):
        def forward(self, x: Tensor, mask: Tensor) -> Tensor:
            return x @ mask

    with pytest.raises(TraceError, match=r"first dimension of the input 'mask' is not the batch"):
        trace(Masked(), (torch.rand(2, 5), torch.rand(5, 5)))


@pytest.mark.parametrize(
    ("name", "x", "message"),
    [
        ("chain", torch.rand(3, 3, 7, 7), r"shape \(3, 7, 7\) a sample, the model takes \(3, 6, 6\)"),
        ("chain", torch.ones(3, 3, 6, 6, dtype=torch.int64), r"is torch\.int64, the model takes torch\.float32"),
        ("tokens", torch.rand(3, 5), r"is torch\.float32, the model takes torch\.int64"),
        ("chain", torch.tensor(1.0), "shape"),
        ("two_inputs", torch.rand(3, 6), "takes 2 inputs, the data has 1"),
        ("two_inputs", (torch.rand(3, 6), torch.rand(4, 3)), "different numbers of samples: 3, 4"),
        ("nested", {"left": torch.rand(3, 6), "middle": [torch.rand(3, 3)] * 2}, "nested otherwise .* takes: batch"),
    ],
)
def test_data_that_does_not_fit_is_one_line(name: str, x: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        traced(name).flat(x)


def test_data_is_converted_to_the_model_s_precision() -> None:
    (x,) = traced("half").flat(torch.rand(2, 3, 6, 6, dtype=torch.float64))
    assert x.dtype is torch.float16


# ---- left as found --------------------------------------------------------------------------------------------------


def state(model: nn.Module) -> list[Any]:
    return [
        [m.training for m in model.modules()],
        [(n, p.requires_grad, p.grad is None, p.clone()) for n, p in model.named_parameters()],
        [(n, b.clone()) for n, b in model.named_buffers()],
        [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()],
        [torch.get_rng_state(), torch.get_num_threads(), torch.get_default_dtype(), torch.is_grad_enabled()],
        [np.random.get_state()[1].tolist(), random.getstate(), logging.getLogger("torch").level],  # type: ignore[index]
        torch.backends.mha.get_fastpath_enabled(),
    ]


class Raises(Chain):
    """Changes what it can, then raises."""

    def forward(self, x: Tensor) -> Tensor:
        torch.manual_seed(99)
        random.seed(99)
        np.random.seed(99)
        raise ValueError("no such luck")


@pytest.mark.parametrize("name", ["chain", "writes_buffer", "no_grad", "hard_batch"])
def test_the_model_is_left_as_found(name: str) -> None:
    model = ZOO[name].model()
    next(model.children()).train()
    before = state(model)
    graph = trace(model, ZOO[name].inputs(2))
    x = ZOO[name].inputs(3)
    for cut in graph.cuts:
        edge, cloud = graph.split(cut)
        cloud(call(edge, x))
    assert _same(state(model), before)


def test_the_model_is_left_as_found_when_forward_raises() -> None:
    model = Raises()
    model.bn.eval()
    before = state(model)
    with pytest.raises(TraceError, match=r"cannot trace Raises at test_tracing\.py:\d+ .*no such luck"):
        trace(model, torch.zeros(2, 3, 6, 6))
    assert _same(state(model), before)


def test_what_a_forward_keeps_in_a_dictionary_is_none_of_the_exporter() -> None:
    """LeViT keeps its attention's biases so: what torch.export leaves there has no values."""

    class Keeps(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bias, self.kept, self.seen = nn.Parameter(torch.rand(6)), {"": {}}, [0]

        def forward(self, x: Tensor) -> Tensor:
            inner = self.kept[""]
            if "bias" not in inner:
                inner["bias"] = self.bias.square()
                self.seen.append(1)
            return x + inner["bias"]

    model, x = Keeps().eval(), torch.rand(3, 6)
    graph = trace(model, vectors(6)(2))
    assert (model.kept, model.seen) == ({"": {}}, [0])
    with torch.no_grad():
        assert torch.equal(graph(x), x + model.bias.square())
        assert torch.equal(model(x), graph(x))


def _same(first: Any, second: Any) -> bool:
    if isinstance(first, list | tuple):
        return len(first) == len(second) and all(map(_same, first, second))
    return torch.equal(first, second) if isinstance(first, Tensor) else bool(first == second)


def test_a_graph_traces_to_itself() -> None:
    assert trace(traced("chain")) is traced("chain")


def test_without_example_the_layers_tell() -> None:
    graph = trace(nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 2)).eval())
    assert graph.cut("input").tensors[0].shape == (6,)
    assert equal(graph(vectors(6)(3)), graph(vectors(6)(3)))


def test_a_detector_is_refused_at_once_and_its_backbone_is_traced(monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision.models.detection import ssdlite320_mobilenet_v3_large

    detector = ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None).eval()
    with pytest.raises(TraceError, match=r"SSD is a detector: .* Trace its backbone, model\.backbone"):
        trace(detector, torch.zeros(2, 3, 32, 32))
    with pytest.raises(TraceError, match=r"SSD is a detector: .* Trace its backbone, model\.0\.backbone"):
        refuse_detectors(nn.Sequential(detector))
    for module in (shapes, load_and_trace):
        monkeypatch.setattr(module, "infer_example", lambda model: pytest.fail("inputs were tried out"))
    for use in (trace, advisor.profile, advisor.recommend):
        with pytest.raises(TraceError, match="SSD is a detector"):
            use(detector)
    refuse_detectors(detector.backbone)
