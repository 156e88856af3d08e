"""Column and Profile: self-describing, aligned, saved and read back to the bit."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from advisor.columns import Column, Profile
from advisor.cuts import ITEM_BYTES, Cut, TensorSpec
from advisor.errors import AdvisorError, CutError
from advisor.estimate import NORMAL_90, Estimate, json_number
from advisor.support.schemas import SCHEMA_VERSION

CUTS = (
    Cut(0, "input", (TensorSpec((3, 8, 8), "float32"),)),
    Cut(1, "layer1.0/add", (TensorSpec((4, 4, 4), "float16"),), "layer1"),
    Cut(2, "output", (TensorSpec((10,), "float32"), TensorSpec((), "int64"))),
)
WHY = ("", "no samples", "")


def column(values: list[float] | None = None, **changes: Any) -> Column:
    given_values = [1.0, math.nan, 3.0] if values is None else values
    why = tuple("no samples" if math.isnan(v) else "" for v in given_values)
    return Column.of("rc2", "z²", "high", given_values, "estimated", **{"why": why, "method": "by hand", **changes})


def same(first: Column, second: Column) -> bool:
    parts = ("values", "stderr", "low", "high")
    numbers = all(np.array_equal(getattr(first, p), getattr(second, p), equal_nan=True) for p in parts)
    texts = ("name", "unit", "better", "source", "method", "why")
    return numbers and all(getattr(first, t) == getattr(second, t) for t in texts)


# ---- cuts -----------------------------------------------------------------------------------------------------------


def test_bytes_are_elements_times_item_size() -> None:
    assert [cut.bytes for cut in CUTS] == [768, 128, 48]
    assert [cut.elements for cut in CUTS] == [192, 64, 11]
    assert str(CUTS[1]) == "layer1.0/add"


def test_item_sizes_are_torch_s() -> None:
    import torch

    for name, size in ITEM_BYTES.items():
        assert getattr(torch, name).itemsize == size


# ---- columns --------------------------------------------------------------------------------------------------------


def test_without_spread_a_column_is_exact() -> None:
    made = column()
    assert np.array_equal(made.stderr, [0, math.nan, 0], equal_nan=True)
    assert np.array_equal(made.low, made.values, equal_nan=True)
    assert np.array_equal(made.high, made.values, equal_nan=True)


def test_a_standard_error_alone_makes_a_normal_interval() -> None:
    made = column([2.0, 4.0, 6.0], stderr=[1.0, 0.5, math.nan])
    assert made.low == pytest.approx([2 - NORMAL_90, 4 - NORMAL_90 / 2, 6])
    assert made.high == pytest.approx([2 + NORMAL_90, 4 + NORMAL_90 / 2, 6])


def test_nan_needs_a_reason() -> None:
    with pytest.raises(ValueError, match=r"'rc2' has NaN without a reason at cuts \[1\]"):
        column(why=())


def test_parts_must_be_aligned() -> None:
    with pytest.raises(AdvisorError, match="'rc2' has parts of different lengths"):
        column(low=[1.0])


def test_values_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="read-only"):
        column().values[0] = 5.0


def test_one_value_is_an_estimate() -> None:
    made = Profile(CUTS, {"fisher": column([2.0, 4.0, 6.0], stderr=[1.0, 0.5, 0.1])})["fisher"]
    here = made.at(CUTS[1])
    assert (here.value, here.stderr, here.unit, here.source, here.method) == (4.0, 0.5, "z²", "estimated", "by hand")
    assert made.at(2).value == 6.0
    assert len(made) == 3


def test_a_value_is_found_by_the_name_of_its_cut() -> None:
    made = Profile(CUTS, {"fisher": column([2.0, 4.0, 6.0])})["fisher"]
    assert made.at(dataclasses.replace(CUTS[1], index=0)).value == 4.0
    with pytest.raises(CutError, match="no cut 'elsewhere'"):
        made.at(dataclasses.replace(CUTS[1], name="elsewhere"))
    with pytest.raises(CutError, match="no cut"):
        column([2.0, 4.0, 6.0]).at(CUTS[1])


def test_a_cut_of_another_graph_is_refused() -> None:
    cuts = tuple(dataclasses.replace(cut, graph="a" * 64) for cut in CUTS)
    made = Profile(cuts, {"fisher": column([2.0, 4.0, 6.0])})["fisher"]
    assert made.at(cuts[1]).value == made.at(CUTS[1]).value == 4.0
    with pytest.raises(CutError, match="of another graph than this profile"):
        made.at(dataclasses.replace(cuts[1], graph="b" * 64))


def test_a_column_of_estimates_keeps_them() -> None:
    estimates = [Estimate(1.0, 0.1, 0.8, 1.3, "s", "measured", "clock"), Estimate.exact(2.0, "s"), Estimate(math.nan)]
    made = Column.of_estimates("latency", "low", estimates, why=("", "", "no clock"))
    assert (made.unit, made.source, made.method) == ("s", "measured", "clock")
    assert [made.at(i).high for i in range(2)] == [1.3, 2.0]


# ---- profiles -------------------------------------------------------------------------------------------------------


def profile(**provenance: Any) -> Profile:
    return Profile(
        CUTS, {"rc2": column(), "bytes": Column.of("bytes", "B", "low", [768, 128, 48], "measured")}, provenance
    )


def test_a_profile_is_a_table() -> None:
    made = profile()
    assert made["bytes"].values.tolist() == [768, 128, 48]
    assert "rc2" in made
    assert "rc3" not in made
    assert [c.name for c in made] == ["rc2", "bytes"]


def test_unknown_columns_list_the_known() -> None:
    with pytest.raises(AdvisorError, match=r"no column 'rc3' in this profile\. It has: rc2, bytes"):
        profile()["rc3"]


def test_columns_must_fit_the_cuts() -> None:
    with pytest.raises(AdvisorError, match="'rc2' has 3 values for 2 cuts"):
        Profile(CUTS[:2], {"rc2": column()})


def test_joining_takes_the_newer_column() -> None:
    newer = Profile(CUTS, {"rc2": column([7.0, 8.0, 9.0])}, {"b": 2})
    made = profile(a=1).joined(newer)
    assert made["rc2"].values.tolist() == [7, 8, 9]
    assert made.provenance == {"a": 1, "b": 2}
    assert [c.name for c in made] == ["rc2", "bytes"]


def test_other_models_do_not_join() -> None:
    other = Profile(CUTS[:1], {})
    with pytest.raises(AdvisorError, match=r"different models.*advisor profile"):
        profile().joined(other)


def test_pandas_has_a_row_a_cut() -> None:
    frame = profile().to_pandas()
    assert list(frame.index) == ["input", "layer1.0/add", "output"]
    assert list(frame.columns) == ["rc2", "rc2_low", "rc2_high", "bytes", "bytes_low", "bytes_high"]
    assert frame["bytes"].tolist() == [768, 128, 48]


# ---- files ----------------------------------------------------------------------------------------------------------


def test_a_profile_survives_its_file(tmp_path: Path) -> None:
    made = profile(seed=0, nested={"share": 0.5, "when": None}, wrong=math.nan, list=[1, math.inf])
    made.save(tmp_path / "deep" / "profile.json")
    again = Profile.load(tmp_path / "deep" / "profile.json")
    assert again.cuts == made.cuts
    assert all(same(again[c.name], c) for c in made)
    assert again.provenance == {"seed": 0, "nested": {"share": 0.5, "when": None}, "wrong": None, "list": [1, "inf"]}
    assert again.schema_version == SCHEMA_VERSION


numbers = st.floats(allow_nan=True, allow_infinity=True)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(values=st.lists(numbers, min_size=3, max_size=3), error=numbers, text=st.text(max_size=8))
def test_every_float_survives(values: list[float], error: float, text: str) -> None:
    made = column(values, stderr=[error] * 3, low=values, high=values, method=text)
    payload = json.loads(json.dumps(Profile(CUTS, {"rc2": made}).to_json(), allow_nan=False))
    assert same(Profile.from_json(payload)["rc2"], made)


def test_numbers_in_files_are_json() -> None:
    assert [json_number(v) for v in (1.5, math.nan, math.inf, -math.inf)] == [1.5, None, "inf", "-inf"]


def payload(**changes: Any) -> dict[str, Any]:
    return {**profile().to_json(), **changes}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "This is not a profile: its top level is no JSON object"),
        (payload(schema_version="2.0"), r"schema version 2\.0, newer than this advisor's 1\.1.*pip install --upgrade"),
        (payload(schema_version="one"), "its schema_version is 'one'"),
        (payload(cuts=3), "This is not a profile: cuts: .*Write it with `advisor profile`"),
        (payload(columns={"rc2": {"name": "rc2"}}), "This is not a profile: columns.rc2"),
        (payload(cuts=[]), "has 3 values for 0 cuts.*damaged"),
        ({"cuts": []}, "This is not a profile: columns"),
    ],
)
def test_what_is_no_profile_is_refused_in_one_line(content: Any, message: str) -> None:
    with pytest.raises(AdvisorError, match=message) as caught:
        Profile.from_json(content)
    assert "\n" not in str(caught.value)


def test_a_newer_minor_version_may_say_more() -> None:
    content = payload(schema_version="1.7", weather="fine")
    content["columns"]["rc2"]["colour"] = "blue"
    assert same(Profile.from_json(content)["rc2"], column())


def test_nan_without_reason_in_a_file_is_damage() -> None:
    content = payload()
    content["columns"]["rc2"]["why"] = ["", "", ""]
    with pytest.raises(AdvisorError, match=r"This is not a profile: columns\.rc2.* NaN without a reason"):
        Profile.from_json(content)


@pytest.mark.parametrize("size", [0, 1, 100, -2])
def test_a_truncated_file_says_so(tmp_path: Path, size: int) -> None:
    path = tmp_path / "profile.json"
    profile().save(path)
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(AdvisorError, match=r"profile\.json is not readable JSON: .*may be truncated"):
        Profile.load(path)


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(AdvisorError, match=r"There is no file .*nothing.json"):
        Profile.load(tmp_path / "nothing.json")


def test_bytes_that_are_no_text_say_so(tmp_path: Path) -> None:
    (tmp_path / "profile.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(AdvisorError, match="not readable JSON"):
        Profile.load(tmp_path / "profile.json")
