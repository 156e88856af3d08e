"""What `trace` takes beside a module and an example: shared tensors, TorchScript in memory, nothing at all."""

from __future__ import annotations

import torch
from torch import nn

import advisor


class TwoBags(nn.Module):
    """Tells its two inputs apart."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(50, 8)
        self.head = nn.Linear(8, 3)

    def forward(self, a, b):
        return self.head(self.table(a).mean(1) - 2 * self.table(b).mean(1))


def test_one_tensor_for_two_inputs_is_still_two_inputs():
    model, ids = TwoBags().eval(), torch.arange(10).view(2, 5)
    graph = advisor.trace(model, (ids, ids))
    a, b = torch.arange(15).view(3, 5), torch.arange(15, 30).view(3, 5)
    with torch.no_grad():
        assert torch.equal(graph((a, b)), model(a, b))


def test_a_torchscript_module_in_memory_is_converted():
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 5)).eval()
    graph = advisor.trace(torch.jit.trace(module, torch.rand(1, 3, 8, 8)), torch.rand(2, 3, 8, 8))
    x = torch.rand(3, 3, 8, 8)
    with torch.no_grad():
        assert torch.equal(graph(x), module(x))
    assert [cut.name for cut in graph.cuts][1] == "0"


def test_without_an_example_a_token_model_is_traced_with_tokens():
    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(50, 8)
            self.head = nn.Linear(8, 3)

        def forward(self, ids):
            return self.head(self.table(ids).mean(1))

    graph = advisor.trace(Tokens().eval())
    assert graph.inputs.tensors[0].dtype == "int64"
