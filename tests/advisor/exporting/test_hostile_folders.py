"""Exported folders of strangers: nothing outside is read, whatever names it; a killed split is said."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest

import advisor
from advisor.errors import AdvisorError
from advisor.exporting.manifest import ASIDE, Exported
from tests.advisor.exported_once import exported
from tests.advisor.test_exporting import plan_of


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folders = {}
    for format in ("pt2", "onnx"):
        folders[format] = tmp_path_factory.mktemp(format)
        exported("silu", folders[format], format=format)
    return folders


def listed(folder: Path, name: str, data: bytes) -> None:
    """Write a file, and tell its hash in plan.json."""
    (folder / name).write_bytes(data)
    plan = json.loads((folder / "plan.json").read_text())
    plan["files"][name] = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    (folder / "plan.json").write_text(json.dumps(plan))


@pytest.mark.parametrize("place", ["../secret.bin", "/etc/passwd", "other.bin"])
def test_an_onnx_half_with_weights_from_elsewhere(place: str, made: dict[str, Path], tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    folder = shutil.copytree(made["onnx"], tmp_path / "f")
    model = onnx.load(folder / "cloud.onnx")
    onnx.external_data_helper.set_external_data(model.graph.initializer[0], place)
    model.graph.initializer[0].data_location = onnx.TensorProto.EXTERNAL
    listed(folder, "cloud.onnx", model.SerializeToString())
    for read in (advisor.load_export, advisor.runtime.Cloud):
        with pytest.raises(AdvisorError, match="takes weights from"):
            read(folder)


def test_weights_in_a_file_of_their_own_are_read(made: dict[str, Path], tmp_path: Path) -> None:
    """As of halves beyond 1.5 GB."""
    onnx = pytest.importorskip("onnx")
    folder = shutil.copytree(made["onnx"], tmp_path / "f")
    model = onnx.load(folder / "cloud.onnx")
    onnx.save(model, tmp_path / "cloud.onnx", save_as_external_data=True, location="cloud.onnx.data", size_threshold=0)
    for name in ("cloud.onnx", "cloud.onnx.data"):
        listed(folder, name, (tmp_path / name).read_bytes())
    import numpy as np

    advisor.load_export(folder)
    x = np.ones((2, 6), np.float32)
    message = advisor.runtime.Edge(folder).send(x)
    assert np.allclose(*(advisor.runtime.Cloud(f).receive(message) for f in (folder, made["onnx"])))


@pytest.mark.parametrize("name", ["edge.pt2", "plan.json"])
def test_links_to_elsewhere_are_no_files_of_a_folder(name: str, made: dict[str, Path], tmp_path: Path) -> None:
    folder = shutil.copytree(made["pt2"], tmp_path / "f")
    (folder / name).unlink()
    (folder / name).symlink_to(made["pt2"] / name)
    for read in (advisor.load_export, advisor.runtime.Edge):
        with pytest.raises(AdvisorError, match=r"which is no file beside it|is a link to elsewhere"):
            read(folder)


def test_an_export_that_waits_after_a_killed_split_is_said(made: dict[str, Path], tmp_path: Path) -> None:
    folder = shutil.copytree(made["pt2"], tmp_path / "f")
    (folder / ASIDE).mkdir()
    for name in ("plan.json", "edge.pt2"):
        (folder / name).rename(folder / ASIDE / name)
    with pytest.raises(AdvisorError, match=r"A split was killed here: .* the export in \.split-earlier"):
        advisor.load_export(folder)
    plan_of("functional", "linear").export(folder)
    assert advisor.load_export(folder).cuts == ("linear",)
    assert not (folder / ASIDE).exists()


def test_a_plan_of_the_first_schema_is_read_and_run(made: dict[str, Path], tmp_path: Path) -> None:
    """Its halves drew their noise themselves, and nothing of the second schema stands in it."""
    import torch

    folder = shutil.copytree(made["pt2"], tmp_path / "f")
    plan = json.loads((folder / "plan.json").read_text())
    for key in ("noise", "freshness", "attacked"):
        del plan[key]
    for crossing in plan["crossings"]:
        del crossing["message_bytes"]
    del plan["files"]["edge.py"]
    (folder / "edge.py").unlink()
    (folder / "plan.json").write_text(json.dumps(plan | {"schema_version": "1.1"}))
    found = advisor.load_export(folder)
    assert isinstance(found, Exported)
    assert (found.schema_version, found.noise, found.crossings[0].message_bytes) == ("1.1", None, None)
    x = torch.rand(3, 6)
    answer = advisor.runtime.Cloud(folder).receive(advisor.runtime.Edge(folder).send(x))
    assert torch.equal(answer, plan_of("functional", "silu").graph((x,)))
    plan_of("functional", "linear").export(folder)
    assert advisor.load_export(folder).schema_version == "2.0"


@pytest.mark.parametrize("shape", [[2**40], [10**9], [2**16, 2**16], [-1], [1] * 40])
def test_noise_that_no_memory_holds(shape: list[int], made: dict[str, Path], tmp_path: Path) -> None:
    """It would be drawn before the half is asked what it takes."""
    folder = shutil.copytree(made["pt2"], tmp_path / "f")
    plan = json.loads((folder / "plan.json").read_text())
    plan["noise"] = {"name": "noise", "distribution": "standard normal", "dtype": "float32", "shape": shape}
    (folder / "plan.json").write_text(json.dumps(plan))
    for read in (advisor.load_export, advisor.runtime.Edge):
        with pytest.raises(AdvisorError, match="not a plan file"):
            read(folder)
