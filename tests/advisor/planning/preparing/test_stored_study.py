"""The leakage study of a stored run is made once; what is kept of it are numbers."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from advisor.errors import AdvisorError
from advisor.estimators.study.leakage_study import LeakageStudy, study
from advisor.planning.preparing.load_and_trace import load, trace
from advisor.planning.preparing.preparing_samples import prepare
from advisor.planning.preparing.stored_study import stored_study
from advisor.planning.shared_study.fitted_store import FittedStore
from advisor.planning.shared_study.results import Results
from advisor.planning.shared_study.study_storage import open_storage
from advisor.planning.stages import Prepared
from advisor.request import Request
from tests.advisor.planning.shared_study.shared_search import samples, small_net

FIRST_SHARE = 3


@pytest.fixture(scope="module")
def prepared() -> Prepared:
    request = Request.of(model=small_net(), data=samples())
    return prepare(request, trace(request, load(request)))


@pytest.fixture(scope="module")
def found(prepared: Prepared) -> LeakageStudy:
    private, own = prepared.roles["private"], prepared.roles["attacker"]
    return study(prepared.graph, private.x, private.labels, own.x, own.labels)


def taken(
    folder: Path, prepared: Prepared, found: LeakageStudy, most_cuts: int | None = None
) -> tuple[LeakageStudy, int]:
    """What a worker that comes to the storage has, and how often it computed."""
    count, results = [], Results(open_storage(f"sqlite:///{folder / 's.db'}"))
    store = FittedStore(str(folder / "artifacts"))
    study = stored_study(results, store, prepared, None, 0, most_cuts, lambda: count.append(1) or found)
    return study, len(count)


def test_the_next_run_takes_the_numbers_of_the_first(prepared: Prepared, found: LeakageStudy, tmp_path: Path) -> None:
    assert taken(tmp_path, prepared, found) == (found, 1)
    again, count = taken(tmp_path, prepared, found)
    assert count == 0
    assert again.profile.to_json() == found.profile.to_json()
    assert (again.zone, again.curves.keys()) == (found.zone, found.curves.keys())
    assert again.baseline_ssim == found.baseline_ssim or math.isnan(found.baseline_ssim)
    for name, curve in found.curves.items():
        assert (again.curves[name].nmse == curve.nmse).all()
        assert again.grams[name].gram.equal(found.grams[name].gram)
    assert not again.reconstructions


def test_what_is_kept_are_numbers_by_cut_and_no_sample(prepared: Prepared, found: LeakageStudy, tmp_path: Path) -> None:
    taken(tmp_path, prepared, found)
    (file,) = (tmp_path / "artifacts").iterdir()
    told = file.read_text()
    assert '"linear_nmse"' in told
    assert "data:image" not in told
    for sample in samples()[0]:
        assert ", ".join(repr(float(value)) for value in sample.flatten()[:FIRST_SHARE]) not in told


def test_a_study_that_was_changed_is_refused_and_one_that_is_gone_is_made_again(
    prepared: Prepared, found: LeakageStudy, tmp_path: Path
) -> None:
    taken(tmp_path, prepared, found)
    (file,) = (tmp_path / "artifacts").iterdir()
    file.write_text(file.read_text().replace('"linear_nmse"', '"linear_nmsf"'))
    with pytest.raises(AdvisorError, match=r"study [0-9a-f]{12} is not one of advisor: its bytes are not those"):
        taken(tmp_path, prepared, found)
    file.unlink()  # as on a machine that has no part in the artifacts
    assert taken(tmp_path, prepared, found) == (found, 1)


def test_a_study_of_another_allowance_is_another(prepared: Prepared, found: LeakageStudy, tmp_path: Path) -> None:
    taken(tmp_path, prepared, found)
    assert taken(tmp_path, prepared, found, most_cuts=2)[1] == 1
