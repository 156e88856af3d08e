from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from advisor.data.array_names import Chosen, choose_names
from advisor.data.samples import load_samples
from advisor.errors import DataError

FILE = Path("d.npz")


@pytest.mark.parametrize(
    ("names", "x", "y"),
    [
        (("x", "y"), "x", "y"),
        (("X_test", "Y_test"), "X_test", "Y_test"),
        (("data", "targets"), "data", "targets"),
        (("X_val", "y_val"), "X_val", "y_val"),
        (("test_images", "test_labels", "train_images", "train_labels"), "test_images", "test_labels"),
        (("x_train", "y_train", "x_valid", "y_valid"), "x_valid", "y_valid"),
        (("images", "attributes"), "images", "attributes"),
        (("arr_0", "arr_1"), "arr_0", "arr_1"),
        (("x", "y", "x_train", "y_train"), "x", "y"),
        (("faces", "label"), "faces", "label"),
        (("anything",), "anything", None),
    ],
)
def test_usual_names_are_told(names: tuple[str, ...], x: str, y: str | None) -> None:
    chosen = choose_names(names, FILE)
    assert (chosen.x, chosen.y, chosen.note) == (x, y, "")


def test_a_part_to_learn_from_is_the_training_one() -> None:
    names = ("x_train", "y_train", "x_test", "y_test", "x_val", "y_val")
    assert choose_names(names, FILE, "train").said == "x_train and y_train"
    assert choose_names(names, FILE, "test").said == "x_test and y_test"
    assert choose_names(names[2:], FILE, "train").x == "x_val"


def test_absent_labels_are_said() -> None:
    assert choose_names(("x", "age", "notes"), FILE) == Chosen(
        "x", None, ("age", "notes"), "None of the arrays beside x (age, notes) is named as its labels: there are none."
    )
    assert "y_train" in choose_names(("x_test", "x_train", "y_train"), FILE).note


def test_several_unknown_names_wait_for_the_model() -> None:
    chosen = choose_names(("left", "right", "label"), FILE)
    assert (chosen.x, chosen.y, chosen.others) == (None, "label", ("left", "right"))
    with pytest.raises(DataError, match=r"none of its arrays x \(k0, k1"):
        choose_names([f"k{i}" for i in range(30)], FILE)


def test_labels_can_be_left_out(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.random.default_rng(0).random((6, 4)), y=np.arange(6) % 2)
    assert load_samples(tmp_path / "a.npz").y is not None
    assert load_samples(tmp_path / "a.npz", labels=False).y is None
