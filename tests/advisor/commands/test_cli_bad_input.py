"""Bad input: one clear line with the next step, the documented exit code, nothing overwritten or half-written."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from advisor.testing.made_up_advices import digits
from tests import hostile
from tests.conftest import CLASSES, SAMPLES, Run, samples, tiny_net, tree

ARCH = "tests.conftest:tiny_net"


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """An answer from an earlier run, which a failing command must leave alone."""
    digits().save(tmp_path / "out")
    return tmp_path / "out"


def refuses(result: Any, code: int, message: str, folder: Path, before: dict[str, bytes]) -> None:
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    lines = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, result.stderr
    assert result.stderr.splitlines()[-1] == lines[0]
    assert re.search(message, lines[0]), lines[0]
    assert "Traceback" not in result.output
    assert tree(folder) == before


def weights(path: Path, **changes: torch.Tensor) -> Path:
    torch.save(tiny_net().state_dict() | changes, path)
    return path


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


MODELS = {
    "missing file": (lambda p: p, r"There is no file .*model\. Check the path"),
    "not a model": (
        lambda p: written(p, b"hello, this is text\n" * 9),
        r"model is not a model file but text\. Pass a \.pt2",
    ),
    "empty file": (lambda p: written(p, b""), r"model is empty"),
    "a folder": (lambda p: p.mkdir() or p, r"model"),
    "state dict without --arch": (weights, r"holds weights only .* --arch package\.module:factory"),
}


@pytest.mark.parametrize("kind", MODELS)
def test_a_file_that_is_no_usable_model(kind: str, recommend: Run, tmp_path: Path, kept: Path) -> None:
    make, message = MODELS[kind]
    path = make(tmp_path / "model")
    before = tree(tmp_path)
    refuses(recommend(model=path), 2, message, tmp_path, before)


def test_weights_that_hold_nan(recommend: Run, tmp_path: Path, kept: Path) -> None:
    path = weights(tmp_path / "w.pt", **{"5.bias": torch.full((10,), torch.nan)})
    before = tree(tmp_path)
    refuses(recommend("--arch", ARCH, model=path), 2, r"NaN|not finite", tmp_path, before)


def test_a_hostile_pickle_is_refused_and_the_command_that_goes_on_is_printed(
    recommend: Run, tmp_path: Path, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = tmp_path / "mark"
    path = tmp_path / "bad model.pt"
    torch.save(hostile.Payload(mark), path)
    before = tree(tmp_path)
    monkeypatch.setattr("sys.argv", ["/usr/bin/advisor", "recommend", str(path), "--seed", "3"])
    result = recommend(model=path)
    refuses(result, 4, rf"refused: .*advisor recommend .*--trust.* '{path}' --seed 3", tmp_path, before)
    assert not mark.exists()


def test_images_that_would_be_normalised_twice(recommend: Run, tmp_path: Path, kept: Path) -> None:
    np.savez(tmp_path / "normal.npz", x=4 * samples()["x"] - 2)
    before = tree(tmp_path)
    twice = recommend("--normalize", "mean=0.5,std=0.25", data="normal.npz")
    message = (
        r"images lie in \[-2, 2\], and are to be normalised from \[0, 1\]\. If .* pass --normalize none; else scale"
    )
    refuses(twice, 2, message, tmp_path, before)
    assert recommend("--normalize", "none", "--out", "other", data="normal.npz").exit_code in (0, 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--input-shape", "3,8,8"), r"shape|channels"),
        (("--input-shape", "one,8,8"), r"--input-shape 'one,8,8' is no list of sizes\. Write --input-shape 3,224,224"),
        (("--input-shape", "1," + "9" * 5000), r"is no list of sizes"),
        (("--input-shape", "1,0,8"), r"--input-shape '1,0,8' is no list of sizes"),
        (("--normalize", "mean=0.5"), r"'mean=0\.5' is no normalisation\. Use auto, none"),
        (("--normalize", "mean=0.1/0.2,std=1/1"), r"normalisation has 2 channels"),
    ],
)
def test_a_wrong_input_shape_or_transform(
    arguments: tuple[str, str], message: str, recommend: Run, tmp_path: Path, kept: Path
) -> None:
    path = weights(tmp_path / "w.pt")
    before = tree(tmp_path)
    refuses(recommend("--arch", ARCH, *arguments, model=path), 2, message, tmp_path, before)


def changed(**arrays: np.ndarray) -> dict[str, np.ndarray]:
    return samples() | arrays


def with_nan() -> np.ndarray:
    x = samples()["x"].copy()
    x[3, 0, 2, 2] = np.nan
    return x


DATA = {
    "another shape": (samples(shape=(1, 9, 9)), r"shape 1×9×9 a sample, the model takes 1×8×8.*--resize 8"),
    "more channels": (samples(shape=(3, 8, 8)), r"shape 3×8×8 a sample, the model takes 1×8×8"),
    "another dtype": (changed(x=np.array(["a"] * SAMPLES)), r"samples are of type <U1, not numbers"),
    "complex": (changed(x=samples()["x"].astype(np.complex64)), r"complex"),
    "more classes": (changed(y=np.arange(SAMPLES)), rf"{SAMPLES} classes, the model has {CLASSES} outputs"),
    "labels of another length": (changed(y=np.arange(3)), rf"{SAMPLES} samples but 3 labels"),
    "empty": (samples(0), r"data is empty"),
    "one sample": (samples(1), r"one sample"),
    "one class": (changed(y=np.zeros(SAMPLES, int)), r"one class tells nothing"),
    "NaN": (changed(x=with_nan()), r"NaN or infinity, first in sample 3"),
}


@pytest.mark.parametrize("kind", DATA)
def test_data_that_does_not_fit(kind: str, recommend: Run, tmp_path: Path, kept: Path) -> None:
    arrays, message = DATA[kind]
    path = tmp_path / "data.npz"
    np.savez(path, **arrays)
    before = tree(tmp_path)
    refuses(recommend(data=path), 2, message, tmp_path, before)


def test_missing_data(recommend: Run, tmp_path: Path, kept: Path) -> None:
    before = tree(tmp_path)
    refuses(recommend(data="nowhere.npz"), 2, r"nowhere\.npz", tmp_path, before)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--device", "jetsn"), r"no device 'jetsn'\. Did you mean jetson"),
        (("--cloud", "t44"), r"no device 't44'\. Did you mean t4"),
        (("--link", "wfi"), r"no link 'wfi'\. Did you mean wifi"),
        (("--link", "bandwidth=20Mbps"), r"gives no rtt\. Write bandwidth=20Mbps,rtt=15ms"),
        (("--max-latency", "soon"), r"--max-latency: 'soon' is not a duration such as 50ms"),
        (("--max-latency", "-1ms"), r"--max-latency: '-1ms' is not a duration"),
        (("--max-edge-memory", "1ZB"), r"--max-edge-memory: '1ZB' is not a size such as 1GiB"),
        (("--max-accuracy-drop", "200%"), r"--max-accuracy-drop: '200%' is above 1"),
        (("--max-ssim", "nan"), r"--max-ssim: 'nan' is not a share"),
        (("--min-nmse", "7"), r"--min-nmse: '7' is above 1"),
        (("--timeout", "1y"), r"--timeout: '1y' is not a duration"),
        (("--defenses", "magic"), r"no defense 'magic'\. Known: none, free"),
        (("--verify", "hard"), r"no verification 'hard'\. Use none, quick or strong"),
        (("--profile", "nowhere.json"), r"no file nowhere\.json"),
    ],
)
def test_a_value_that_an_option_does_not_take(
    arguments: tuple[str, str], message: str, recommend: Run, tmp_path: Path, kept: Path
) -> None:
    before = tree(tmp_path)
    refuses(recommend(*arguments), 2, message, tmp_path, before)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("recommend",), "There is no MODEL"),
        (("recommend", "m.pt", "--trials", "0"), "trials"),
        (("recommend", "m.pt", "--resize", "0"), "resize"),
        (("recommend", "m.pt", "--seed", "-1"), "seed"),
        (("recommend", "m.pt", "--colour", "red"), "--colour"),
        (("recomend", "m.pt"), "recomend"),
        (("attack", "m.pt"), "cut"),
    ],
)
def test_wrong_usage(arguments: tuple[str, ...], message: str, cli: Run, tmp_path: Path) -> None:
    result = cli(*arguments)
    assert result.exit_code == 2
    assert re.search(message, result.stderr)
    assert tree(tmp_path) == {}


def test_an_out_that_is_a_file(recommend: Run, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("mine")
    before = tree(tmp_path)
    refuses(recommend("--out", "taken"), 2, r"Cannot write taken: .*another place with --out", tmp_path, before)
    refuses(recommend("--out", "taken/below"), 2, r"Cannot write taken.below: .*--out", tmp_path, before)


def test_an_out_where_a_folder_has_the_name_of_a_result(recommend: Run, tmp_path: Path) -> None:
    (tmp_path / "out" / "report.html").mkdir(parents=True)
    refuses(recommend(), 2, r"Cannot write out.report\.html: a folder of that name is there", tmp_path, {})


def test_an_unwritable_out_is_found_before_the_model_is_even_read(recommend: Run, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("mine")
    (tmp_path / "nowhere.pt").write_text("no model")
    result = recommend("--out", "taken", model="nowhere.pt")
    assert result.exit_code == 2
    assert "Cannot write taken" in result.stderr
    assert "nowhere" not in result.stderr
