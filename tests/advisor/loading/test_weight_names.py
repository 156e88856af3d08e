"""What wrappers, ties and the architecture itself make of the names in a state dict."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from advisor.errors import AdvisorError
from advisor.loading import load_model


class Net(nn.Module):
    """One block of each kind of name, and a head that shares the embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(9, 4)
        self.block = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4))
        self.head = nn.Linear(4, 9, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.block(self.embedding(x)))  # type: ignore[no-any-return]


class Scaled(nn.Module):
    """A number, a weight that is normalised, and a state of its own that it would unpickle."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.linear = nn.utils.parametrizations.weight_norm(nn.Linear(4, 4))

    def get_extra_state(self) -> Any:
        return {"calls": 0}

    def set_extra_state(self, state: Any) -> None:
        raise AssertionError("a state out of a file was run")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(x) * self.scale  # type: ignore[no-any-return]


def lazy() -> nn.Module:
    return nn.Sequential(nn.LazyLinear(4), nn.ReLU(), nn.LazyLinear(2))


def saved(model: nn.Module, rename: Any = str) -> dict[str, Any]:
    return {rename(name): value for name, value in model.state_dict().items()}


def loaded(held: Any, folder: Path, arch: str = "Net") -> tuple[Any, tuple[str, ...]]:
    torch.save(held, folder / "m.pt")
    found = load_model(folder / "m.pt", arch=f"{__file__}:{arch}")
    return found.model, found.notes


WRAPPED: dict[str, Any] = {
    "DataParallel": lambda name: f"module.{name}",
    "DDP of a compiled model": lambda name: f"module._orig_mod.{name}",
    "Lightning of a compiled model": lambda name: f"model._orig_mod.{name}",
    "a compiled block": lambda name: name.replace("block.0", "block._orig_mod.0"),
    "DDP and a compiled block": lambda name: "module." + name.replace("block.0", "block.0._orig_mod"),
    "an activation checkpoint": lambda name: name.replace("block.", "block._checkpoint_wrapped_module."),
}


@pytest.mark.parametrize("rename", WRAPPED.values(), ids=WRAPPED)
@pytest.mark.parametrize("left_out", ["", "head.weight", "embedding.weight"])
def test_names_lose_what_wrappers_put_into_them(rename: Any, left_out: str, tmp_path: Path) -> None:
    """Also where a tied weight is stored once, and where counters of the wrapper stand beside."""
    model = Net()
    state = {k: v for k, v in saved(model, rename).items() if not left_out or not k.endswith(left_out)}
    beside = {} if rename("x") == "x" else {"n_averaged": torch.tensor(3)}
    got, notes = loaded(state | beside, tmp_path)
    ids = torch.arange(9)[None]
    assert torch.equal(got(ids), model(ids))
    assert len(notes) == 1


def test_what_is_missing_is_told_by_the_models_own_names(tmp_path: Path) -> None:
    state = {k: v for k, v in saved(Net(), lambda n: f"backbone.{n}").items() if "block.1" not in k}
    with pytest.raises(AdvisorError, match=r"2 missing \(block\.1\.weight, block\.1\.bias\)\.") as refusal:
        loaded(state, tmp_path)
    assert "unknown" not in str(refusal.value)


def test_weights_that_the_architecture_ties_and_the_file_does_not_are_refused(tmp_path: Path) -> None:
    state = saved(Net()) | {"head.weight": torch.zeros(9, 4)}
    with pytest.raises(AdvisorError, match=r"embedding\.weight and head\.weight are one weight .* and two in"):
        loaded(state, tmp_path)


def test_of_several_networks_the_one_that_the_architecture_names_is_taken(tmp_path: Path) -> None:
    model = Net()
    held = {"generator": saved(model, lambda n: f"module.{n}"), "critic": nn.Linear(2, 1).state_dict(), "epoch": 3}
    got, notes = loaded(held, tmp_path)
    assert torch.equal(got.embedding.weight, model.embedding.weight)
    assert notes[0] == "Took 'generator' from the checkpoint; it also holds 'critic'."
    with pytest.raises(AdvisorError, match=r"holds no weights but a dict of 2 keys: 'student' .*'teacher'"):
        loaded({"student": saved(model), "teacher": saved(Net())}, tmp_path)


def test_weights_that_lie_deeper_are_found(tmp_path: Path) -> None:
    model = Net()
    got, _ = loaded({"run": {"model": {"state_dict": saved(model)}}, "epoch": 3}, tmp_path)
    assert torch.equal(got.block[0].weight, model.block[0].weight)


def test_modules_read_older_names_of_their_own_and_no_state_that_they_may_run(tmp_path: Path) -> None:
    """Weight normalisation before parametrisations; a number stored as a row of one."""
    with pytest.warns(FutureWarning, match="deprecated"):
        older = nn.utils.weight_norm(nn.Linear(4, 4))
    state = {f"linear.{name}": value for name, value in older.state_dict().items()}
    got, notes = loaded({**state, "scale": torch.tensor([3.0]), "_extra_state": {"calls": 7}}, tmp_path, "Scaled")
    x = torch.rand(2, 4)
    torch.testing.assert_close(got(x), older(x) * 3)
    assert notes == ("Left out the extra state _extra_state: modules may run it.",)


def test_a_lazy_architecture_takes_the_shapes_of_the_file(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(7, 4), nn.ReLU(), nn.Linear(4, 2))
    got, _ = loaded(saved(model), tmp_path, "lazy")
    x = torch.rand(2, 7)
    assert torch.equal(got(x), model(x))
