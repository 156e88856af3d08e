"""Data, images, settings and fitted defenses of strangers, fuzzed: each is taken, or refused in one line."""

from __future__ import annotations

import hashlib
import io
from functools import cache, partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import advisor
from advisor.data.images.image_folder import ImageFolder
from advisor.data.samples import decoded, read
from advisor.graph import PartitionGraph
from advisor.planning.shared_study.results import Results
from advisor.planning.shared_study.study_storage import known_trials, open_storage
from advisor.profilers import links
from advisor.settings import OWN, defaults
from advisor.testing.small_models import digits, trained
from tests.fuzzing import Target, findings

FEW = 10
IMAGES = ("png", "jpeg", "webp", "bmp", "tiff", "gif")
NAMES = ("npz", "npy", "pt", *IMAGES, "links", "settings", "variant", "storage", "journal")

LINKS = b"""[links.mine]
up_mbps = 20.0
down_mbps = 40.0
rtt_ms = 15.0
jitter_ms = 2.0
family = "wifi"
source = "measured"
"""
SETTINGS = b"""max-latency = "50ms"
max_accuracy_drop = "2%"
min_nmse = 0.5
device = "jetson"
link = "wifi"
effort = "quick"
seed = 3
defenses = "free"
"""


@cache
def targets(folder: Path) -> tuple[Target, ...]:
    """One a loader; `folder` keeps what they need."""
    folder.mkdir(parents=True, exist_ok=True)
    x, y = np.random.default_rng(0).random((8, 1, 4, 4), dtype=np.float32), np.arange(8) % 3
    archive, array, tensors = io.BytesIO(), io.BytesIO(), io.BytesIO()
    np.savez(archive, x=x, y=y)
    np.save(array, x)
    torch.save({"x": torch.from_numpy(x), "y": torch.from_numpy(y)}, tensors)
    base = advisor.trace(trained(), digits(2)[0])
    fitted = advisor.save_variant(advisor.defend(base, "conv2", "bottleneck", digits(16)[0], width=2, epochs=1), folder)
    return (
        Target("npz", archive.getvalue(), read, ".npz"),
        Target("npy", array.getvalue(), read, ".npy"),
        Target("pt", tensors.getvalue(), read, ".pt"),
        *(Target(kind, _image(kind), _in_folder, f".{kind}") for kind in IMAGES),
        Target("links", LINKS, lambda path: links(str(path)), ".toml"),
        Target("settings", SETTINGS, _settings, ".toml"),
        Target("variant", fitted.read_bytes(), lambda path: _fitted(path, base), ".safetensors"),
        Target("storage", _study(folder / "honest.db", "sqlite:///"), partial(_trials, "sqlite:///"), ".db"),
        Target("journal", _study(folder / "honest.journal"), partial(_trials, ""), ".journal"),
    )


def _image(kind: str) -> bytes:
    buffer, pixels = io.BytesIO(), np.random.default_rng(9).integers(0, 255, (16, 16, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def _in_folder(path: Path) -> None:
    """As one image of two in a folder."""
    place = path.parent / f"images-{path.suffix[1:]}"
    place.mkdir(exist_ok=True)
    (place / "sound.png").write_bytes(_image("png"))
    (place / f"odd{path.suffix}").write_bytes(path.read_bytes())
    listed = read(place)
    assert isinstance(listed, ImageFolder)
    decoded(listed, 16)


def _fitted(path: Path, base: PartitionGraph) -> None:
    """Under the name that its bytes ask for."""
    data = path.read_bytes()
    named = path.with_name(f"{hashlib.sha256(data).hexdigest()}{path.suffix}")
    named.write_bytes(data)
    try:
        advisor.load_variant(named, base)
    finally:
        named.unlink()


def _settings(path: Path) -> None:
    place = path.parent / "settings"
    place.mkdir(exist_ok=True)
    (place / OWN).write_bytes(path.read_bytes())
    defaults(place)


def _study(path: Path, scheme: str = "") -> bytes:
    """A small study in a file."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(storage=open_storage(f"{scheme}{path}"), study_name="s", load_if_exists=True)
    study.optimize(lambda trial: trial.suggest_float("dfil", 0.1, 10, log=True), n_trials=2)
    return path.read_bytes()


def _trials(scheme: str, path: Path) -> None:
    import optuna

    def read(storage: optuna.storages.BaseStorage) -> None:
        for name in optuna.get_all_study_names(storage):
            known_trials(optuna.load_study(study_name=name, storage=storage))

    Results(open_storage(f"{scheme}{path}")).guarded(read)


@pytest.mark.parametrize("name", NAMES)
def test_a_changed_file_is_taken_or_refused_in_one_line(name: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.getbasetemp() / "fuzz-samples"
    target = next(target for target in targets(folder) if target.name == name)
    assert not findings(target, FEW, folder)


def test_the_honest_files_are_taken(tmp_path_factory: pytest.TempPathFactory) -> None:
    for target in targets(tmp_path_factory.getbasetemp() / "fuzz-samples"):
        path = tmp_path_factory.mktemp(target.name) / f"honest{target.suffix}"
        path.write_bytes(target.honest)
        target.load(path)
