from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

import advisor
from advisor.errors import AdvisorError
from advisor.loading.shapes import example_of, infer_example, infer_input_shape
from advisor.planning.preparing.load_and_trace import load
from advisor.request import Request


def convolutional(channels: int, size: int, stride: int = 1) -> nn.Module:
    features = nn.Sequential(nn.Conv2d(channels, 4, 3, stride, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten())
    return nn.Sequential(features, nn.Linear(4 * (size // stride) ** 2, 3))


@pytest.mark.parametrize(
    ("model", "shape"),
    [
        (convolutional(3, 32), (3, 32, 32)),
        (convolutional(1, 28), (1, 28, 28)),
        (convolutional(1, 8), (1, 8, 8)),
        (convolutional(3, 64, 2), (3, 64, 64)),
        (convolutional(3, 224, 16), (3, 224, 224)),
        (nn.Sequential(nn.Flatten(), nn.Linear(784, 5)), (1, 28, 28)),
        (nn.Sequential(nn.Flatten(), nn.Linear(3072, 5)), (3, 32, 32)),
        (nn.Sequential(nn.Linear(13, 8), nn.ReLU(), nn.Linear(8, 2)), (13,)),
        (nn.Sequential(nn.Conv1d(2, 4, 5), nn.Flatten(), nn.Linear(4 * 252, 3)), (2, 256)),
        (nn.Sequential(nn.Conv2d(3, 8, 7, 2), nn.Conv2d(8, 8, 3, 8), nn.AdaptiveAvgPool2d(1)), (3, 224, 224)),
        (nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1)), (3, 32, 32)),
        (nn.Sequential(nn.Conv2d(4, 8, 3, groups=4), nn.AdaptiveAvgPool2d(1)), (4, 32, 32)),
    ],
)
def test_the_shape_is_one_the_layers_admit(model: nn.Module, shape: tuple[int, ...]) -> None:
    got, note = infer_input_shape(model)
    assert got == shape
    assert f"{','.join(map(str, shape))}" in note
    assert "--input-shape" in note


def test_a_model_that_begins_with_an_embedding_gets_token_ids() -> None:
    example, note = infer_example(nn.Sequential(nn.Embedding(50, 8), nn.Linear(8, 2)))
    assert example.dtype == torch.long
    assert example.shape == (2, 32)
    assert "token ids" in note


def test_of_a_known_shape_ids_are_taken_where_the_model_takes_nothing_else() -> None:
    ids = example_of(nn.Sequential(nn.Embedding(50, 8), nn.Flatten(), nn.Linear(96, 2)), (12,))
    assert (ids.dtype, ids.shape) == (torch.long, (2, 12))
    assert example_of(nn.Linear(12, 2), (12,)).dtype == torch.float32
    assert example_of(nn.ReLU(), (12,)).dtype == torch.float32  # takes both
    assert example_of(nn.Linear(13, 2), (12,)).dtype == torch.float32  # takes neither


@pytest.mark.parametrize("saved", ["pickle", "traced", "scripted"])
@pytest.mark.parametrize("stated", [True, False])
def test_a_model_of_ids_is_loaded_with_the_shape_of_its_data(saved: str, stated: bool, tmp_path: Path) -> None:
    model, ids = nn.Sequential(nn.Embedding(50, 8), nn.Flatten(), nn.Linear(96, 2)).eval(), torch.randint(50, (40, 12))
    if saved == "pickle":
        torch.save(model, tmp_path / "m.pt")
    else:
        script = torch.jit.script(model) if saved == "scripted" else torch.jit.trace(model, ids[:2])
        torch.jit.save(script, tmp_path / "m.pt")
    shape, data = ((12,), None) if stated else (None, (ids, None))
    loaded = load(Request.of(model=tmp_path / "m.pt", data=data, input_shape=shape), trust=True).loaded
    graph = advisor.trace(loaded.model, loaded.example_inputs)
    assert graph.inputs.tensors[0].dtype == "int64"
    edge, cloud = graph.split("0")
    assert torch.equal(cloud(edge(ids)), model(ids))


def test_the_model_is_left_as_found() -> None:
    model = convolutional(3, 32).train()
    model[0][1].eval()  # type: ignore[index]
    modes = [m.training for m in model.modules()]
    state, weights = torch.get_rng_state(), {k: v.clone() for k, v in model.state_dict().items()}
    infer_input_shape(model)
    assert [m.training for m in model.modules()] == modes
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(v, model.state_dict()[k]) for k, v in weights.items())
    assert not any(m._forward_hooks for m in model.modules())
    assert all(p.grad is None for p in model.parameters())


def test_what_cannot_be_inferred_names_the_option() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 2)

        def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
            return self.fc(a) + b  # type: ignore[no-any-return]

    with pytest.raises(AdvisorError, match=r"cannot be inferred \(tried 4, 32×4\).*--input-shape 3,224,224"):
        infer_input_shape(Two())
    with pytest.raises(AdvisorError, match="cannot be inferred"):
        infer_input_shape(nn.Identity())


def test_half_precision_models_are_tried_in_half_precision() -> None:
    assert infer_input_shape(nn.Linear(6, 2).to(torch.bfloat16))[0] == (6,)
