"""Edge and Cloud over an exported folder: what is sent, sent again, answered, refused; whose code is never imported."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import random
import shutil
import subprocess
import sys
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import advisor
from advisor import wire
from advisor.defenses import GaussianNoise, NoDefense, Quantize8
from advisor.errors import AdvisorError
from advisor.plans import Plan
from advisor.runtime.edge import NORMAL, UNIFORM, standard
from tests.advisor.exported_once import exported
from tests.advisor.test_exporting import masked_graph, plan_of
from tests.hostile import Payload
from tests.models import traced

X = np.linspace(0, 1, 18, dtype="float32").reshape(3, 6)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    made = {}
    for name, defense, format in (
        ("pt2", GaussianNoise(0.3), "pt2"), ("onnx", GaussianNoise(0.3), "onnx"), ("int8", Quantize8(), "onnx"),
        ("bare", NoDefense(), "pt2"),
    ):  # fmt: skip
        made[name] = tmp_path_factory.mktemp(name)
        exported("silu", made[name], defense, format)
    return made


# ---- randomness -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("distribution", [NORMAL, UNIFORM])
def test_draws_have_their_distribution(distribution: str) -> None:
    """Kolmogorov and Smirnov, against scipy; refused by chance once in 10⁶."""
    from scipy import stats

    found = standard(distribution, (100, 201), "float64")
    assert stats.kstest(found.ravel(), "norm" if distribution == NORMAL else "uniform").pvalue > 1e-6
    lagged = np.corrcoef(found.ravel()[:-1], found.ravel()[1:])[0, 1]
    halves = np.corrcoef(found.ravel()[:10050], found.ravel()[10050:])[0, 1]
    assert max(abs(lagged), abs(halves)) < 5 / 100
    assert standard(distribution, (3, 0)).shape == (3, 0)
    assert float(standard(UNIFORM, (10**5,)).max()) < 1


def test_an_unknown_distribution() -> None:
    with pytest.raises(wire.WireError, match="No noise is called 'cauchy'"):
        standard("cauchy", (2,))


@pytest.mark.parametrize("name", ["pt2", "onnx"])
def test_each_message_has_noise_of_its_own_and_a_lost_one_is_sent_as_it_was(
    name: str, folders: dict[str, Path]
) -> None:
    edge, many = advisor.runtime.Edge(folders[name], kept=2), np.repeat(X[:1], 500, 0)
    first, second = edge.send(many), edge.send(many)
    assert edge.resend() == edge.resend(2) == second != first == edge.resend(1)
    a, b = (wire.unpack(message)[0] for message in (first, second))
    assert float(np.std(a - b)) == pytest.approx(0.3 * 2**0.5, rel=0.05)
    assert float(np.std(a[1:] - a[:-1])) == pytest.approx(0.3 * 2**0.5, rel=0.05)
    edge.send(X)
    with pytest.raises(AdvisorError, match="Message 1 is not kept: the last was 3, 2 are kept"):
        edge.resend(1)


# ---- both halves ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["int8", "bare"])
def test_what_the_cloud_answers_is_what_the_plan_computes(name: str, folders: dict[str, Path]) -> None:
    edge, cloud = advisor.runtime.Edge(folders[name]), advisor.runtime.Cloud(folders[name])
    own_edge, own_cloud = plan_of("functional", "silu", Quantize8() if name == "int8" else None).split()
    found = cloud.receive(edge.send(X if name == "int8" else torch.from_numpy(X)))
    assert torch.allclose(torch.as_tensor(found), own_cloud(own_edge(torch.from_numpy(X))), atol=1e-2)


def test_a_u_shaped_plan_comes_back_to_the_edge(tmp_path: Path) -> None:
    graph = traced("chain")
    plan = Plan((graph.cut("conv"), graph.cut("act")), GaussianNoise(0.1), {}, inputs=graph.inputs, graph=graph)
    plan.export(tmp_path)
    edge, cloud = advisor.runtime.Edge(tmp_path), advisor.runtime.Cloud(tmp_path)
    back = cloud.receive(edge.send(torch.rand(4, 3, 6, 6)))
    assert isinstance(back, bytes)
    assert edge.receive(back).shape[0] == 4
    with pytest.raises(AdvisorError, match="a sample, the plan says"):
        edge.receive(wire.pack(torch.zeros(4, 1)))


def test_an_edge_without_a_tail_receives_nothing(folders: dict[str, Path]) -> None:
    with pytest.raises(AdvisorError, match="no half after the cloud"):
        advisor.runtime.Edge(folders["bare"]).receive(b"")


@pytest.mark.parametrize("format", ["pt2", "onnx"])
def test_several_inputs_and_a_mask(format: Any, tmp_path: Path) -> None:
    graph = masked_graph()
    plan = Plan((graph.cut(0),), Quantize8(), {}, inputs=graph.inputs, graph=graph)
    plan.export(tmp_path, format)
    x, mask = np.random.default_rng(0).random((2, 6), np.float32), np.array([[True, False] * 3] * 2)
    found = advisor.runtime.Cloud(tmp_path).receive(advisor.runtime.Edge(tmp_path).send(x, mask))
    scores = torch.as_tensor(found["scores"] if format == "pt2" else found)
    with torch.no_grad():
        meant = graph((torch.from_numpy(x), torch.from_numpy(mask)))["scores"]
    assert torch.allclose(scores, meant, atol=0.02)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ((X.astype("float64"),), r"takes x as float32\[N, 6\], not float64\[3, 6\]"),
        ((X[:, :5],), r"not float32\[3, 5\]"),
        ((X, X), "takes 1 tensors, not 2"),
        ((X.tolist(),), "takes 1 tensors, not 18"),
    ],
)
def test_an_edge_called_otherwise_than_the_model(given: tuple[Any, ...], said: str, folders: dict[str, Path]) -> None:
    with pytest.raises(AdvisorError, match=said):
        advisor.runtime.Edge(folders["bare"]).send(*given)


# ---- hostile messages -----------------------------------------------------------------------------------------------


def test_a_thousand_hostile_messages_end_in_one_line_and_reserve_nothing(folders: dict[str, Path]) -> None:
    cloud, seen = advisor.runtime.Cloud(folders["int8"], most=64), set[str]()
    right, chance = advisor.runtime.Edge(folders["int8"]).send(X), random.Random(0)
    tracemalloc.start()
    for number in range(1000):
        data = bytearray(right if number % 2 else chance.randbytes(chance.randrange(200)))
        for _ in range(chance.randrange(1, 5)):
            place = chance.randrange(max(1, len(data)))
            kind = chance.randrange(4)
            if kind == 0 and data:
                data[place % len(data)] = chance.choice([0, 1, 127, 128, 255])
            elif kind == 1:
                data[place:place] = chance.randbytes(8)
            elif kind == 2:
                del data[place : place + chance.randrange(9)]
            elif len(data) > 40:
                start = chance.randrange(4, 40)
                data[start : start + 8] = (2 ** chance.randrange(63)).to_bytes(8, "little")
        try:
            answer = cloud.receive(bytes(data))
        except AdvisorError as error:
            seen.add(str(error))
            continue
        assert np.asarray(answer).shape[0] <= 64
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len({line[:20] for line in seen}) > 5
    assert not any("\n" in line for line in seen)
    assert peak < 2**24


def test_more_samples_than_a_message_may_hold(folders: dict[str, Path]) -> None:
    message = advisor.runtime.Edge(folders["int8"]).send(np.repeat(X, 30, 0))
    with pytest.raises(AdvisorError, match="more than 64 samples"):
        advisor.runtime.Cloud(folders["int8"], most=64).receive(message)


# ---- hostile folders ------------------------------------------------------------------------------------------------


def rewritten(source: Path, target: Path, **changes: bytes) -> Path:
    """A copy with other files, whose hashes its plan.json tells rightly."""
    shutil.copytree(source, target)
    plan = json.loads((target / "plan.json").read_text())
    for name, data in changes.items():
        file = name.replace("_", ".")
        (target / file).write_bytes(data)
        plan["files"][file] = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    (target / "plan.json").write_text(json.dumps(plan))
    return target


def test_a_file_that_was_changed_is_refused_and_the_other_half_need_not_be_there(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    folder = shutil.copytree(folders["bare"], tmp_path / "f")
    (folder / "cloud.pt2").unlink()
    assert advisor.runtime.Edge(folder).send(X)
    with (folder / "edge.pt2").open("r+b") as file:
        file.write(b"x")
    with pytest.raises(AdvisorError, match=r"edge\.pt2 is not the file of its plan\.json"):
        advisor.runtime.Edge(folder)
    (folder / "edge.pt2").unlink()
    (folder / "edge.pt2").symlink_to(folders["bare"] / "edge.pt2")
    with pytest.raises(AdvisorError, match=r"'edge\.pt2', which is no file beside it"):
        advisor.runtime.Edge(folder)


def test_no_code_of_the_folder_is_imported_and_no_pickle_read(folders: dict[str, Path], tmp_path: Path) -> None:
    code = b"raise SystemExit('imported')"
    folder = rewritten(folders["bare"], tmp_path / "code", wire_py=code, edge_py=code)
    assert advisor.runtime.Edge(folder).send(X)
    mark, sound = tmp_path / "mark", zipfile.ZipFile(folders["bare"] / "edge.pt2")
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name in sound.namelist():
            pickled = name.endswith("data/sample_inputs/model.pt")
            archive.writestr(name, pickle.dumps(Payload(mark)) if pickled else sound.read(name))
    folder = rewritten(folders["bare"], tmp_path / "pickle", edge_pt2=made.getvalue())
    with pytest.raises(AdvisorError, match="run code when loaded"):
        advisor.runtime.Edge(folder)
    assert not mark.exists()


def test_parts_in_another_order_are_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    folder = shutil.copytree(folders["bare"], tmp_path / "f")
    plan = json.loads((folder / "plan.json").read_text())
    plan["crossings"][0]["sender"] = "cloud"
    (folder / "plan.json").write_text(json.dumps(plan))
    with pytest.raises(AdvisorError, match="do not follow each other"):
        advisor.runtime.Cloud(folder)


# ---- what is loaded -------------------------------------------------------------------------------------------------


def test_the_runtime_loads_neither_the_search_nor_the_estimators(folders: dict[str, Path]) -> None:
    code = (
        "import sys, numpy as np, advisor.runtime\n"
        f"folder = {str(folders['onnx'])!r}\n"
        "edge, cloud = advisor.runtime.Edge(folder), advisor.runtime.Cloud(folder)\n"
        "assert cloud.receive(edge.send(np.zeros((2, 6), 'float32'))).shape[0] == 2\n"
        "print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "advisor.runtime.cloud" in loaded
    assert not {name for name in loaded if name.startswith(("optuna", "advisor.estimators", "advisor.planning"))}
    assert not {"torch", "sklearn"} & loaded
