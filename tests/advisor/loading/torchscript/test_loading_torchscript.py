from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from advisor.errors import AdvisorError
from advisor.loading import load_model
from advisor.loading.torchscript.converter import convert
from advisor.tracing.tracer import trace


class Block(nn.Module):
    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, out, 3, padding=1)
        self.bn = nn.BatchNorm2d(out)
        self.down = nn.Conv2d(channels, out, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.bn(self.conv(x)) + self.down(x))


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3)
        self.body = nn.Sequential(Block(4, 6), Block(6, 6))
        self.head = nn.Linear(6, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(self.stem(x)).mean((2, 3)))  # type: ignore[no-any-return]


@pytest.fixture(params=["script", "trace"])
def saved(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[nn.Module, Path]:
    torch.manual_seed(0)
    model = Net().eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        x = torch.rand(1, 3, 16, 16)
        made: Any = torch.jit.script(model)
        if request.param == "trace":
            made = torch.jit.trace(model, x)  # type: ignore[no-untyped-call]
        torch.jit.save(made, tmp_path / "m.pt")
    return model, tmp_path / "m.pt"


def test_the_program_computes_the_same_at_any_batch(saved: tuple[nn.Module, Path]) -> None:
    model, path = saved
    program = load_model(path, input_shape=(3, 16, 16)).model
    assert isinstance(program, torch.export.ExportedProgram)
    x = torch.rand(5, 3, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(program.module()(x), model(x), rtol=0, atol=0)
    assert set(program.state_dict) >= {n for n, _ in model.named_parameters()}
    assert {n for n, _ in program.named_parameters()} == {n for n, _ in model.named_parameters()}


def test_cuts_are_named_by_the_owner_of_the_nearest_weights(saved: tuple[nn.Module, Path]) -> None:
    loaded = load_model(saved[1], input_shape=(3, 16, 16))
    names = [cut.name for cut in trace(loaded.model, loaded.example_inputs).cuts]
    assert names[:4] == ["input", "stem", "body.0/add", "body.0/relu"]
    assert names[4:6] == ["body.1/add", "body.1/relu"]
    assert names[-1] == "output"


def test_a_shape_that_nothing_tells_is_inferred_and_said(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(Net().eval()), tmp_path / "m.pt")
    loaded = load_model(tmp_path / "m.pt")
    assert loaded.input_shape == (3, 224, 224)
    assert any("Assumed input shape 3,224,224" in note for note in loaded.notes)


def test_what_the_converter_refuses_comes_with_the_lines_that_save_a_pt2() -> None:
    class Looping(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            while bool(x.sum() > 1):
                x = x / 2
            return x

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        script = torch.jit.script(Looping())
    with pytest.raises(
        AdvisorError, match=r"converter refuses this model.*torch\.export\.save\(program, 'model\.pt2'\)"
    ) as caught:
        convert(script, (torch.rand(2, 3),))
    assert "\n" not in str(caught.value)


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.head = nn.LSTM(6, 7, batch_first=True), nn.Linear(7, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.lstm(x)[0][:, -1])  # type: ignore[no-any-return]


def written(model: nn.Module, path: Path, frozen: bool) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        script = torch.jit.script(model.eval())
        torch.jit.save(torch.jit.freeze(script) if frozen else script, path)
    return path


@pytest.mark.parametrize("frozen", [False, True])
def test_weights_that_a_script_holds_as_constants_are_counted(frozen: bool, tmp_path: Path) -> None:
    """A list of weights in the script of an LSTM, and all weights of a frozen one; its batch is frozen by torch."""
    model, x = Recurrent(), torch.rand(4, 5, 6)
    loaded = load_model(written(model, tmp_path / "m.pt", frozen), input_shape=(5, 6))
    graph = trace(loaded.model, loaded.example_inputs)
    held = [v for v in graph.edge_parameters("output").values() if isinstance(v, nn.Parameter)]
    assert sum(v.numel() for v in held) == sum(p.numel() for p in model.parameters())
    for edge, cloud in (graph.split(i) for i in range(len(graph.cuts))):
        torch.testing.assert_close(cloud(edge(x)), model(x))


@pytest.mark.parametrize("dtype", [torch.float32, torch.half])
def test_a_frozen_script_tells_type_and_shape_by_its_constants(dtype: torch.dtype, tmp_path: Path) -> None:
    layers = nn.Sequential(nn.Linear(8, 12), nn.ReLU(), nn.Linear(12, 3)).to(dtype)
    loaded = load_model(written(layers, tmp_path / "m.pt", frozen=True))
    assert loaded.example_inputs is not None
    assert (loaded.input_shape, loaded.example_inputs[0].dtype) == ((8,), dtype)


def test_weights_packed_for_a_processor_are_no_question_of_trust(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        script = torch.jit.script(nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU()).eval())
        torch.jit.save(torch.jit.optimize_for_inference(script), tmp_path / "m.pt")
    with pytest.raises(AdvisorError, match=r"after torch\.jit\.optimize_for_inference.*Save it before that"):
        load_model(tmp_path / "m.pt", trust=True)
