from __future__ import annotations

import math
from pathlib import Path

import pytest

from advisor.errors import AdvisorError
from advisor.profilers.facts import shipped
from advisor.profilers.machines.catalog import device, devices, runtime_family


def test_every_row_loads_with_a_source() -> None:
    found = devices()
    assert len(found) >= 43
    assert all(d.source and d.loads and d.stands_for and d.kind in ("edge", "cloud") for d in found)


def test_figures_are_si_and_as_published() -> None:
    nano = device("jetson-nano:pytorch-eager:fp16")
    assert (nano.peak, nano.bandwidth, nano.memory, nano.active_power) == pytest.approx((0.4716e12, 25.6e9, 4e9, 10))
    assert device("jetson-nano:pytorch-eager:fp32").peak == pytest.approx(0.2358e12)
    assert math.isnan(nano.idle_power)


def test_key_parts_default_to_the_row() -> None:
    assert device("jetson-nano").key == "jetson-nano:tensorrt:fp16"
    assert device("jetson-nano:tensorrt").precision == "fp16"
    assert device("jetson-nano:ncnn-4T").precision == "fp32"
    assert device("jetson-nano:ncnn-4T:int8").precision == "int8"
    assert device(device("jetson-agx-orin-64gb@30W").key).key == "jetson-agx-orin-64gb:tensorrt:fp16@30W"


def test_alias_says_what_it_stands_for() -> None:
    jetson = device("jetson")
    assert jetson.key == "jetson-orin-nano-super:tensorrt:fp16"
    assert "entry Jetson" in jetson.stands_for
    assert jetson.loads == ("onnx",)
    assert device("jetson:pytorch-eager").runtime == "pytorch-eager"
    assert device("jetson:tensorrt:int8").key == "jetson-orin-nano-super:tensorrt:int8"


def test_local_is_this_computer() -> None:
    local = device("local")
    assert local.loads == ("pt2",)
    assert local.memory > 1e8


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("jetson-nanno", "no device 'jetson-nanno'.*jetson-nano"),
        ("raspberry-pi", "no device.*raspberry-pi-5"),
        ("jetson-nano:tensort", "no runtime 'tensort'.*tensorrt"),
        ("jetson-nano:tensorrt:fp61", "no precision 'fp61'.*fp16"),
        ("jetson-nano:tensorrt:fp16@5W", "no power mode '5W'.*leave @mode out"),
        ("jetson-agx-orin-64gb@20W", "no power mode '20W'.*MAXN, 50W"),
        ("jetson-nano:tensorrt:fp16:extra", "no device key"),
    ],
)
def test_unknown_parts_name_the_nearest(key: str, message: str) -> None:
    with pytest.raises(AdvisorError, match=message):
        device(key)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("fp32_tflops = -1", "fp32_tflops = -1 is not between"),
        ("fp32_tflops = nan", "fp32_tflops = nan is not between"),
        ("bandwidth_gbs = inf", "bandwidth_gbs = inf is not between"),
        ("memory_gb = 1e12", "memory_gb = 1000000000000.0 is not between"),
        ("active_w = true", "active_w = True is not between"),
        ('idle_w = "two"', "idle_w = two is not between"),
        ("fp32_tflop = 1", "unknown key 'fp32_tflop'.*fp32_tflops"),
        ('kind = "moon"', "kind = 'moon'"),
        ("modes = { 5W = 2.0 }", "keeps 2.0 of the compute rate"),
        ("=", "no readable TOML"),
    ],
)
def test_absurd_rows_are_refused(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(f'[devices.board]\ndefault = "pytorch-eager:fp32"\n{line}\n')
    with pytest.raises(AdvisorError, match=message):
        device("board@5W" if "modes" in line else "board", path)


def test_own_rows_join_and_win(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        '[devices.board]\nunit = "gpu"\nfp16_tflops = 2\nbandwidth_gbs = 30\ndefault = "tensorrt:fp16"\nsource = "me"\n'
        '[devices.jetson-nano]\nmemory_gb = 2\ndefault = "tensorrt:fp16"\n'
    )
    assert device("board", path).peak == 2e12
    assert device("jetson-nano", path).memory == 2e9
    assert {"board", "t4"} <= {d.name for d in devices(path)}
    with pytest.raises(AdvisorError, match="no file"):
        device("board", tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("runtime", "family"),
    [
        ("ncnn-4T", "ncnn"),
        ("ncnn-vulkan", "ncnn-vulkan"),
        ("tensorrt-8.5", "tensorrt"),
        ("pytorch-2.4-dynamo", "pytorch-2.4-dynamo"),
    ],
)
def test_runtime_family(runtime: str, family: str) -> None:
    assert runtime_family(runtime) == family


def test_every_published_runtime_is_known() -> None:
    for series in shipped("latencies.toml")["series"]:
        assert runtime_family(series["runtime"])
        assert series["source"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("devices = 5", r"\[devices\] holds something else than rows"),
        ("[devices]\nx = 5", r"\[devices\] holds something else than rows"),
        ("calibrations = 'x'\n[devices.a]\nkind = 'edge'", r"\[calibrations\] holds something else than rows"),
        ("[devices.a]\ndefault = 'x'", r"Device 'a': default = 'x'\. Write it as runtime:precision"),
        ("[devices.a]\ndefault = ['x']", r"default = \['x'\] of 'a' makes no sense"),
        ("[devices.a]\ndefault = 'pytorch-eager:fp32'\nmodes = 'x'", r"modes = 'x' of 'a' makes no sense"),
    ],
)
def test_a_file_of_a_stranger_is_refused_in_one_line(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "d.toml").write_text(text)
    with pytest.raises(AdvisorError, match=said):
        device(str(tmp_path / "d.toml"))
    with pytest.raises(AdvisorError, match=said):
        devices(tmp_path / "d.toml")
