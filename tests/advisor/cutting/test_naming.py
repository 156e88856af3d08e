"""Names as the user wrote them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from advisor.cutting.naming import operation
from advisor.tracing.tracer import trace
from tests.models import ZOO, Residual, traced


class Outer(nn.Module):
    """Blocks in a list, one of them called twice, and an operation of the forward between."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(4, 4), nn.ReLU()) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x) * 2
        return self.blocks[0](x)


def test_paths_operations_and_repeats() -> None:
    graph = trace(Outer().eval(), torch.rand(2, 4))
    assert [cut.name for cut in graph.cuts] == [
        "input", "blocks.0.0", "blocks.0.1", "mul", "blocks.1.0", "blocks.1.1", "mul#2", "blocks.0.0#2", "output",
    ]  # fmt: skip


def test_every_value_has_a_name_of_its_own() -> None:
    for name in ZOO:
        graph = traced(name)
        names = [graph.names[n] for n in graph.data_nodes if n.op == "call_function"]
        assert len(names) == len(set(names))


def test_the_ends_keep_their_names() -> None:
    graph = traced("end_names")
    assert graph.cut("input").index == 0
    assert graph.cut("output").index == 3
    assert graph.cut("output#2").tensors[0].shape == (4,)


def test_the_last_module_is_the_output() -> None:
    graph = traced("residual")
    assert graph.cut("head") == graph.cut("output")


def test_blocks_close_at_their_last_operation() -> None:
    model = nn.Sequential(nn.Sequential(Residual(), nn.Conv2d(2, 3, 1)), nn.Flatten(), nn.Linear(75, 2)).eval()
    blocks = {cut.name: cut.block for cut in trace(model, torch.rand(2, 3, 5, 5)).cuts}
    assert blocks["0.0.head"] == "0.0"
    assert blocks["0.1"] == "0"
    assert blocks["0.0/relu"] == ""


def test_operations_carry_plain_names() -> None:
    names = {operation(n) for n in traced("promotes").module.graph.nodes if n.op == "call_function"}
    assert names == {"linear", "to", "add"}


def test_without_module_stack_the_owner_of_a_weight_names() -> None:
    graph = trace(ZOO["residual"].model(), torch.rand(2, 3, 5, 5))
    for node in graph.module.graph.nodes:
        node.meta.pop("nn_module_stack", None)
    assert [cut.name for cut in graph.cuts] == ["input", "stem", "add", "relu#2", "output"]
