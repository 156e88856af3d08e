from __future__ import annotations

import sys
import warnings
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from advisor.errors import AdvisorError, UnsafeFileError
from advisor.files import sha256
from advisor.loading import LoadedModel, load_model
from advisor.loading.architectures import random_torchvision, transform_facts
from advisor.loading.factories import build
from tests import hostile

ARCH = "tests.hostile:net"
X = torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def outputs(loaded: LoadedModel) -> torch.Tensor:
    model = loaded.model.module() if isinstance(loaded.model, torch.export.ExportedProgram) else loaded.model
    with torch.no_grad():
        return model(X)  # type: ignore[no-any-return]


def expected() -> torch.Tensor:
    with torch.no_grad():
        return hostile.net()(X)  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("pt2", {}),
        ("torchscript", {}),
        ("state_dict", {"arch": ARCH}),
        ("safetensors", {"arch": ARCH}),
        ("module", {"trust": True}),
        ("module", {"trust": lambda reason: True}),
    ],
)
@pytest.mark.parametrize("name", ["model.pt", "model.safetensors", "model"])
def test_each_kind_is_told_by_its_bytes_and_computes_what_was_saved(
    kind: str, options: dict[str, object], name: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_bytes(hostile.honest(kind))
    loaded = load_model(path, **options)  # type: ignore[arg-type]
    assert loaded.kind == {"pt2": "export"}.get(kind, kind)
    assert loaded.sha256 == sha256(path)
    assert loaded.weights == "file"
    torch.testing.assert_close(outputs(loaded), expected(), rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", ["pt2", "torchscript"])
def test_the_input_shape_comes_from_the_file(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "m"
    path.write_bytes(hostile.honest(kind))
    loaded = load_model(path)
    assert loaded.input_shape == (3, 8, 8)
    assert loaded.example_inputs is not None
    assert loaded.example_inputs[0].shape == (2, 3, 8, 8)


def test_a_stated_input_shape_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "m"
    path.write_bytes(hostile.honest("state_dict"))
    loaded = load_model(path, arch=ARCH, input_shape=(3, 8, 8))
    assert loaded.input_shape == (3, 8, 8)
    with pytest.raises(AdvisorError, match="size below 1"):
        load_model(path, arch=ARCH, input_shape=(3, 0, 8))


def test_a_state_dict_needs_an_architecture(tmp_path: Path) -> None:
    path = tmp_path / "m"
    path.write_bytes(hostile.honest("state_dict"))
    with pytest.raises(AdvisorError, match=r"holds weights only \(9 tensors.*--arch package\.module:factory"):
        load_model(path)


def test_a_legacy_state_dict_is_read(tmp_path: Path) -> None:
    torch.save(hostile.net().state_dict(), tmp_path / "m", _use_new_zipfile_serialization=False)
    loaded = load_model(tmp_path / "m", arch=ARCH)
    torch.testing.assert_close(outputs(loaded), expected())


@pytest.mark.parametrize("key", ["state_dict", "model", "model_state_dict"])
def test_a_state_dict_is_found_in_a_checkpoint(key: str, tmp_path: Path) -> None:
    weights = {f"module.{k}": v for k, v in hostile.net().state_dict().items()}
    torch.save({"epoch": 3, key: weights, "loss": torch.tensor(0.1)}, tmp_path / "m")
    loaded = load_model(tmp_path / "m", arch=ARCH)
    torch.testing.assert_close(outputs(loaded), expected())
    assert loaded.notes == (f"Took {key!r} from the checkpoint.", "Took the weights under 'module.', 9 of 9.")


def test_lightning_weights_are_taken_from_beside_others(tmp_path: Path) -> None:
    weights = {f"model.{k}": v for k, v in hostile.net().state_dict().items()}
    torch.save({"state_dict": {**weights, "loss.weight": torch.ones(10)}}, tmp_path / "m")
    loaded = load_model(tmp_path / "m", arch=ARCH)
    torch.testing.assert_close(outputs(loaded), expected())
    assert loaded.notes[1] == "Took the weights under 'model.', 9 of 10."


def test_weights_that_are_there_twice_are_refused(tmp_path: Path) -> None:
    own = hostile.net().state_dict()
    torch.save({f"{name}.{k}": v for name in ("model", "ema") for k, v in own.items()}, tmp_path / "m")
    with pytest.raises(AdvisorError, match=r"more than once: under 'model\.', 'ema\.'.*Save those that you deploy"):
        load_model(tmp_path / "m", arch=ARCH)


def test_another_number_of_classes_is_an_argument(tmp_path: Path) -> None:
    torch.save(random_torchvision("squeezenet1_1", num_classes=3).state_dict(), tmp_path / "m")
    with pytest.raises(AdvisorError, match=r"2 of another shape.*--arch 'torchvision:resnet18\(num_classes=10\)'"):
        load_model(tmp_path / "m", arch="torchvision:squeezenet1_1")
    loaded = load_model(tmp_path / "m", arch="torchvision:squeezenet1_1(num_classes=3)")
    assert isinstance(loaded.model, nn.Module)
    assert loaded.model(torch.zeros(1, 3, 64, 64)).shape == (1, 3)


def test_mismatching_weights_are_listed_shortly(tmp_path: Path) -> None:
    weights = OrderedDict(hostile.net().state_dict())
    weights["0.weight"] = weights["0.weight"][:2]
    weights["new"] = weights.pop("4.bias")
    torch.save(weights, tmp_path / "m")
    shapes = r"0\.weight \(2, 3, 3, 3\) instead of \(4, 3, 3, 3\)"
    match = rf"1 missing \(4\.bias\); 1 unknown \(new\); 1 of another shape \({shapes}"
    with pytest.raises(AdvisorError, match=match):
        load_model(tmp_path / "m", arch=ARCH)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("kind", ["state_dict", "pt2", "module", "torchscript"])
def test_weights_that_are_not_finite_are_refused(kind: str, bad: float, tmp_path: Path) -> None:
    model = hostile.net()
    with torch.no_grad():
        model[0].weight[0, 0, 0, 0] = bad  # type: ignore[index]
    path = tmp_path / "m.pt2"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if kind == "pt2":
            torch.export.save(torch.export.export(model, (torch.rand(2, 3, 8, 8),)), path)
        elif kind == "torchscript":
            torch.jit.save(torch.jit.script(model), path)
        else:
            torch.save(model if kind == "module" else model.state_dict(), path)
    with pytest.raises(
        AdvisorError, match=r"The weight '0\.weight' of m\.pt2 holds NaN or infinity \(1 of 108 values\)"
    ):
        load_model(path, arch=ARCH, trust=True)


@pytest.mark.parametrize("bad", [1.0, float("nan")])
def test_weights_of_eight_bits_are_looked_at_too(bad: float, tmp_path: Path) -> None:
    weights = {name: value.detach() for name, value in hostile.net().state_dict().items()}
    weights["0.weight"] = torch.full_like(weights["0.weight"], bad).to(torch.float8_e4m3fn)
    save_file(weights, path := tmp_path / "m.safetensors")
    if bad == 1:
        assert load_model(path, arch=ARCH).model[0].weight[0, 0, 0, 0] == 1  # type: ignore[index,union-attr]
    else:
        with pytest.raises(AdvisorError, match=r"holds NaN or infinity \(108 of 108 values\)"):
            load_model(path, arch=ARCH)


def test_an_infinite_mask_is_no_fault(tmp_path: Path) -> None:
    class Masked(nn.Linear):
        def __init__(self) -> None:
            super().__init__(4, 4)
            self.register_buffer("mask", torch.full((4, 4), float("-inf")).triu(1))

        mask: torch.Tensor

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return (super().forward(x)[:, None] + self.mask).softmax(-1)

    torch.export.save(torch.export.export(Masked(), (torch.rand(2, 4),)), tmp_path / "m.pt2")
    assert load_model(tmp_path / "m.pt2").kind == "export"


# ---- architectures ---------------------------------------------------------------------------------------------------

SOURCE = """
from safetensors.torch import save_file
from torch import nn
def make(): return nn.Linear(3, 2)
def wrong(): return 3
def broken(): raise ValueError("no")
def takes(n): return nn.Linear(n, 2)
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "some_nets.py").write_text(SOURCE)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    sys.modules.pop("some_nets", None)


@pytest.mark.parametrize("arch", ["some_nets:make", "some_nets.py:make", "some_nets:takes(3)", "some_nets:takes(n=3)"])
def test_the_current_directory_is_searched_and_the_path_restored(arch: str, here: Path) -> None:
    before = list(sys.path)
    assert isinstance(build(arch), nn.Linear)
    assert sys.path == before


@pytest.mark.parametrize(
    ("arch", "match"),
    [
        ("some_nets", "not of the form"),
        ("no_such_nets:make", "cannot import 'no_such_nets'"),
        ("no_such_nets.py:make", "no file"),
        ("some_nets:mak", "Did you mean make"),
        ("some_nets:wrong", "gave a int, not an nn.Module"),
        ("some_nets:broken", "failed: ValueError: no"),
        ("some_nets:takes", "failed: TypeError.*Arguments go in parentheses"),
        ("some_nets:takes(n=x)", "no Python literals"),
        ("some_nets:takes(3", "has no function 'takes\\(3'"),
        ("torchvision:squeezenet1_1(classes=3)", "failed: TypeError.*'classes'"),
    ],
)
def test_a_bad_architecture_is_explained(arch: str, match: str, here: Path) -> None:
    before = list(sys.path)
    with pytest.raises(AdvisorError, match=match):
        build(arch)
    assert sys.path == before


# ---- a model that code builds ----------------------------------------------------------------------------------------

BUILDS = """
import torch
from torch import nn
def drawn(): return nn.Linear(3, 2)
def told(n=2):
    net = nn.Linear(3, n)
    nn.init.ones_(net.weight), nn.init.zeros_(net.bias)
    return net
net = told()
open("ran", "w").close()
"""


@pytest.fixture
def builder(here: Path) -> Path:
    (here / "some_nets.py").write_text(BUILDS)
    return here


@pytest.mark.parametrize(
    ("name", "weights"),
    [
        ("some_nets.py:told", "file"), ("some_nets:told(n=4)", "file"), ("some_nets.py:net", "file"),
        ("some_nets.py:drawn", "random"), ("some_nets:drawn", "random"),
    ],
)  # fmt: skip
def test_a_model_may_be_what_code_builds(name: str, weights: str, builder: Path) -> None:
    state = torch.get_rng_state()
    first, second = (load_model(name, trust=True) for _ in range(2))
    assert (first.name, first.path, first.sha256, first.weights) == (name, None, "", weights)
    assert isinstance(first.model, nn.Linear)
    assert isinstance(second.model, nn.Linear)
    assert torch.equal(first.model.weight, second.model.weight)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("name", ["some_nets.py:told", "some_nets:told"])
def test_code_that_is_named_runs_only_where_it_is_trusted(name: str, builder: Path) -> None:
    with pytest.raises(UnsafeFileError, match="it names code, which would be run"):
        load_model(name)
    assert not (builder / "ran").exists()


def test_a_file_of_code_is_told_how_to_name_what_builds_the_model(builder: Path) -> None:
    with pytest.raises(AdvisorError, match=r"is code, not a model file\. Name .* some_nets\.py:FUNCTION --trust"):
        load_model("some_nets.py", trust=True)


def test_a_file_whose_name_looks_like_code_is_a_file(builder: Path) -> None:
    torch.save({"weight": torch.ones(2)}, builder / "some_nets.py:told")
    with pytest.raises(AdvisorError, match="holds weights only"):
        load_model("some_nets.py:told", trust=True)
    assert not (builder / "ran").exists()


# ---- torchvision -----------------------------------------------------------------------------------------------------


def test_random_torchvision_weights_repeat_and_leave_the_generator(monkeypatch: pytest.MonkeyPatch) -> None:
    state = torch.get_rng_state()
    first, second = (load_model("torchvision:squeezenet1_1@random") for _ in range(2))
    assert torch.equal(torch.get_rng_state(), state)
    assert isinstance(first.model, nn.Module)
    assert isinstance(second.model, nn.Module)
    for a, b in zip(first.model.parameters(), second.model.parameters(), strict=True):
        assert torch.equal(a, b)
    assert (first.weights, first.input_shape, first.normalization, first.notes) == ("random", (3, 224, 224), None, ())
    assert not first.model.training


def test_pretrained_weights_come_from_the_cache_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", lambda *a, **k: pytest.fail("it must not download"))
    loaded = load_model("torchvision:squeezenet1_1")
    assert loaded.weights == "random"
    assert "No pretrained weights of squeezenet1_1 are cached" in loaded.notes[0]
    model = random_torchvision("squeezenet1_1", seed=7)
    (tmp_path / "checkpoints").mkdir()
    path = tmp_path / "checkpoints" / "squeezenet1_1-b8a52dc0.pth"
    torch.save(model.state_dict(), path)
    loaded = load_model("torchvision:squeezenet1_1")
    assert (loaded.weights, loaded.path, loaded.input_shape) == ("pretrained", path, (3, 224, 224))
    assert loaded.normalization == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert isinstance(loaded.model, nn.Module)
    assert torch.equal(next(loaded.model.parameters()), next(model.parameters()))
    path.write_bytes(hostile.honest("module"))
    with pytest.raises(AdvisorError, match=r"cached weights .* cannot be loaded.*Delete the file"):
        load_model("torchvision:squeezenet1_1")


def test_segmentation_does_not_download_its_backbone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", lambda *a, **k: pytest.fail("it must not download"))
    assert load_model("torchvision:lraspp_mobilenet_v3_large@random").input_shape is None


def test_transform_facts_are_torchvisions_own() -> None:
    from torchvision.models import get_model_weights

    assert transform_facts(get_model_weights("inception_v3").DEFAULT)[0] == (3, 299, 299)
    assert transform_facts(get_model_weights("r3d_18").DEFAULT)[0] is None


def test_an_unknown_torchvision_name_suggests_the_nearest() -> None:
    with pytest.raises(AdvisorError, match=r"no model 'resnet81'\. Did you mean .*resnet18"):
        load_model("torchvision:resnet81")


def test_an_unreadable_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(AdvisorError, match=r"There is no file .*no\.pt\. Check the path"):
        load_model(tmp_path / "no.pt")
    assert not issubclass(AdvisorError, UnsafeFileError)
