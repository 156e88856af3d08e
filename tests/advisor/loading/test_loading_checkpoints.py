"""What people's checkpoints hold, and what is taken of it."""

from __future__ import annotations

import copy
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_model
from torch import nn

from advisor.errors import AdvisorError
from advisor.loading import load_model
from advisor.loading.shapes import example_of
from tests import hostile


class Tied(nn.Module):
    """A language model whose head is its embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.head = nn.Embedding(50, 16), nn.Linear(16, 50, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.embedding(x))  # type: ignore[no-any-return]


def test_tied_weights_that_safetensors_keeps_once(tmp_path: Path) -> None:
    torch.manual_seed(3)
    model = Tied().eval()
    save_model(model, str(tmp_path / "m.safetensors"))
    loaded: Any = load_model(tmp_path / "m.safetensors", arch=f"{__file__}:Tied").model
    ids = torch.randint(0, 50, (3, 7))
    assert loaded.head.weight is loaded.embedding.weight
    torch.testing.assert_close(loaded(ids), model(ids), rtol=0, atol=0)


def test_a_weight_that_is_missing_and_not_tied_is_still_missing(tmp_path: Path) -> None:
    state = hostile.net().state_dict()
    torch.save({k: v for k, v in state.items() if k != "4.weight"}, tmp_path / "m.pt")
    with pytest.raises(AdvisorError, match=r"1 missing \(4\.weight\)"):
        load_model(tmp_path / "m.pt", arch="tests.hostile:net")


def test_of_a_module_and_its_average_the_average_is_taken(tmp_path: Path) -> None:
    model = hostile.net()
    average = copy.deepcopy(model)
    with torch.no_grad():
        average[0].weight.zero_()  # type: ignore[index, operator]
    torch.save({"epoch": 7, "model": model, "ema": average, "optimizer": None}, tmp_path / "m.pt")
    loaded = load_model(tmp_path / "m.pt", trust=True)
    assert loaded.notes == ("Took 'ema' from the checkpoint; it also holds 'model'.",)
    assert float(loaded.model[0].weight.abs().sum()) == 0  # type: ignore[index, union-attr]


@pytest.mark.parametrize(("plain", "mean"), [("model", "ema"), ("state_dict", "state_dict_ema"), ("model", "swa")])
def test_of_weights_and_their_average_the_average_is_taken(plain: str, mean: str, tmp_path: Path) -> None:
    model = hostile.net()
    average = torch.optim.swa_utils.AveragedModel(copy.deepcopy(model))
    with torch.no_grad():
        average.module[0].weight.zero_()
    torch.save({plain: model.state_dict(), mean: average.state_dict(), "optimizer": {}}, tmp_path / "m.pt")
    loaded = load_model(tmp_path / "m.pt", arch="tests.hostile:net")
    assert loaded.notes[0] == f"Took {mean!r} from the checkpoint; it also holds {plain!r}."
    assert float(loaded.model[0].weight.abs().sum()) == 0  # type: ignore[index, union-attr]


def test_an_average_of_something_else_is_not_taken(tmp_path: Path) -> None:
    state = hostile.net().state_dict()
    torch.save({"model": state, "ema": {"0.weight": state["0.weight"]}}, tmp_path / "m.pt")
    assert load_model(tmp_path / "m.pt", arch="tests.hostile:net").notes[0].startswith("Took 'model'")


@pytest.mark.parametrize("key", ["model_ema", "ema_state_dict", "params", "my_weights"])
def test_the_only_weights_in_a_checkpoint_are_taken(key: str, tmp_path: Path) -> None:
    torch.save({"epoch": 7, key: hostile.net().state_dict(), "loss": [0.1]}, tmp_path / "m.pt")
    loaded = load_model(tmp_path / "m.pt", arch="tests.hostile:net")
    assert loaded.notes == (f"Took {key!r} from the checkpoint.",)


def test_weights_of_unknown_names_are_listed(tmp_path: Path) -> None:
    state = hostile.net().state_dict()
    torch.save({"generator": state, "critic": state, "epoch": 7}, tmp_path / "m.pt")
    message = (
        r"holds no weights but a dict of 3 keys: 'generator' \(OrderedDict\), 'critic' \(OrderedDict\), 'epoch' \(int\)"
    )
    with pytest.raises(AdvisorError, match=message):
        load_model(tmp_path / "m.pt", arch="tests.hostile:net")


@pytest.mark.parametrize("dtype", [torch.half, torch.double])
def test_the_example_of_a_model_has_the_type_of_its_weights(dtype: torch.dtype) -> None:
    model = hostile.net().to(dtype)
    assert example_of(model, (3, 8, 8)).dtype == dtype


def test_a_half_torchscript_is_converted_in_half(tmp_path: Path) -> None:
    model = hostile.net().half()
    script = torch.jit.trace(model, torch.rand(2, 3, 8, 8).half())  # type: ignore[no-untyped-call]
    torch.jit.save(script, tmp_path / "m.pt")  # type: ignore[no-untyped-call]
    loaded = load_model(tmp_path / "m.pt")
    assert loaded.example_inputs is not None
    assert loaded.example_inputs[0].dtype == torch.half


def test_a_factory_that_exits_is_an_error_of_one_line(tmp_path: Path) -> None:
    torch.save(hostile.net().state_dict(), tmp_path / "m.pt")
    for line in ("sys.exit(0)", "raise SystemExit"):
        (tmp_path / "quits.py").write_text(f"import sys\ndef make(): {line}\n")
        with pytest.raises(AdvisorError, match="failed: SystemExit"):
            load_model(tmp_path / "m.pt", arch=f"{tmp_path / 'quits.py'}:make")


def test_a_module_here_replaces_none_that_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A downloaded folder with a `colorsys.py` in it: the standard library's is imported all the same."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    (tmp_path / "colorsys.py").write_text("raise RuntimeError('hijacked')\n")
    (tmp_path / "mine.py").write_text("import colorsys\nfrom torch import nn\ndef make(): return nn.Linear(2, 2)\n")
    torch.save(nn.Linear(2, 2).state_dict(), tmp_path / "m.pt")
    assert load_model(tmp_path / "m.pt", arch="mine:make").kind == "state_dict"
