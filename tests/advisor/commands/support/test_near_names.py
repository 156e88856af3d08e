"""A mistyped model is answered at once, with what was probably meant."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from advisor.commands.support.near_names import check_model_is_there, torchvision_names
from advisor.errors import AdvisorError


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("resnet18", "torchvision:resnet18"), ("ResNet18", "torchvision:resnet18"), ("modle.pt2", "model.pt2"),
        ("nothing-like-it", "Check the path"),
    ],
)  # fmt: skip
def test_near_names_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, typed: str, meant: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.pt2").touch()
    with pytest.raises(AdvisorError, match=f"There is no file {typed}") as caught:
        check_model_is_there(typed)
    assert meant in str(caught.value)
    check_model_is_there("model.pt2")
    check_model_is_there("torchvision:resnet18")


def test_a_link_that_leads_nowhere_is_not_what_was_meant_instead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.pt2").symlink_to("gone.pt2")
    with pytest.raises(AdvisorError, match="Check the path"):
        check_model_is_there("model.pt2")


@pytest.mark.parametrize("named", ["timm:resnet18", "hf:bert-base-uncased"])
def test_models_that_others_build_are_saved_first(named: str) -> None:
    with pytest.raises(
        AdvisorError, match=r"only torchvision's models are known by name\. Name a function of yours that builds it"
    ):
        check_model_is_there(named)


def test_the_names_are_torchvisions_own() -> None:
    from torchvision import models

    assert set(torchvision_names()) >= set(models.list_models(models))
    assert set(torchvision_names("**")) == set(models.list_models())
    assert set(torchvision_names("detection")) == set(models.list_models(models.detection))


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("recommend resnet18", "Did you mean torchvision:resnet18?"),
        ("recommend torchvision:resnet81", "torchvision has no model 'resnet81'. Did you mean resnet18"),
        ("profile torchvision:ssd300_vgg16", "is a detector"), ("recommend ssd300_vgg16", "returns its backbone"),
        ("recommend model.pt2 --data digit", "Did you mean digits?"),
        ("recommend model.pt2 --train-data photo", "Did you mean photos?"),
        ("recommend model.pt2 --aux syntetic", "Did you mean synthetic?"),
        ("leakage model.pt2 --data photo", "Did you mean photos?"),
        ("attack model.pt2 --cut a --data photo", "Did you mean photos?"), ("attack modle.pt2 --cut a", "model.pt2?"),
        ("defend model.pt2 --cut a --method ridge --data photo", "Did you mean photos?"),
        ("defend model.pt2 --cut a --method rige", "Did you mean 'ridge'?"),
        ("recommend model.pt2 --device jetsn", "Did you mean jetson"),
        ("recommend model.pt2 --cloud t5", "Did you mean t4"), ("recommend model.pt2 --link wify", "Did you mean wifi"),
        ("recommend model.pt2 --arch ne.py:make", "Did you mean net.py?"),
        ("recommend model.pt2 --arch torchvision:resnet81", "Did you mean resnet18"),
    ],
)  # fmt: skip
def test_nothing_heavy_is_imported_for_it(typed: str, meant: str, tmp_path: Path) -> None:
    for name in ("model.pt2", "net.py"):
        (tmp_path / name).touch()
    (tmp_path / "photos").mkdir()
    code = (
        f"import sys; sys.argv = ['advisor', *{typed.split()}]\n"
        "from advisor.cli import main\n"
        "try: main()\n"
        "except SystemExit as end: assert end.code == 2, end.code\n"
        "assert 'torch' not in sys.modules and 'torchvision' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert meant in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("named", ["net.py:make", "nets.small:make", "net:make(classes=3)", "timm:create_model('vit')"])
def test_code_that_builds_a_model_is_no_missing_file(
    named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    check_model_is_there(named)


def test_a_folder_of_advice_is_no_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "out").mkdir()
    (tmp_path / "out/advice.json").touch()
    with pytest.raises(AdvisorError, match=r"out holds an advice, not a model\. Ask of it again with --from out\."):
        check_model_is_there("out")
