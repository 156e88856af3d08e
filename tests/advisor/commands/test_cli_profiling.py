"""`advisor profile`, `advisor calibrate` and devices of one's own, as commands."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from advisor.columns import Profile
from advisor.profilers.boards import measured
from advisor.profilers.calibration import calibrating
from tests.conftest import Run, tree


@pytest.fixture
def model(tmp_path: Path) -> str:
    with torch.random.fork_rng():
        net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2)).eval()
    torch.export.save(torch.export.export(net, (torch.zeros(2, 4),)), tmp_path / "net.pt2")
    return "net.pt2"


def test_a_profile_that_was_measured_is_taken_by_recommend(
    cli: Run, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measured, "TIME_LIMIT", 60.0)
    result = cli("profile", model, "--device", "local", "--time-limit", "300ms", "--out", "profile.json")
    assert result.exit_code == 0, result.output
    found = Profile.load(tmp_path / "profile.json")
    assert found["edge_latency"].source == "measured"
    again = cli("recommend", model, "--profile", "profile.json", "--verify", "none", "--trials", 1, "--json")
    assert again.exit_code in (0, 3), again.output
    assert "taken from the given profile" in again.output


def test_a_profile_of_another_model(cli: Run, model: str, tmp_path: Path) -> None:
    assert cli("profile", model, "--out", "profile.json").exit_code == 0
    text = (tmp_path / "profile.json").read_text()
    known = Profile.load(tmp_path / "profile.json").provenance["fingerprint"]
    (tmp_path / "other.json").write_text(text.replace(known, "f" * 64))
    result = cli("recommend", model, "--profile", "other.json")
    assert result.exit_code == 2
    assert "The profile is of another model" in result.stderr
    (tmp_path / "short.json").write_text(text[:300])
    result = cli("recommend", model, "--profile", "short.json")
    assert result.exit_code == 2
    assert "may be truncated" in result.stderr
    newer = text.replace('"schema_version": "1', '"schema_version": "9')
    assert newer != text
    (tmp_path / "newer.json").write_text(newer)
    before = tree(tmp_path)
    result = cli("recommend", model, "--profile", "newer.json")
    assert result.exit_code == 2
    assert "newer than this advisor's" in result.stderr
    assert tree(tmp_path) == before


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--device", "ssh://"), "names no host"),
        (("--device", "ssh://-oProxyCommand=x"), "names no host"),
        (("--device", "nowhere.toml"), "There is no file nowhere.toml"),
        (("--device", "local:tensorrt"), "cannot measure 'tensorrt'"),
        (("--link", "trace=nowhere.csv"), "There is no file nowhere.csv"),
        (("--time-limit", "soon"), "--time-limit"),
    ],
)
def test_bad_input_is_one_line(cli: Run, model: str, tmp_path: Path, arguments: tuple[str, ...], says: str) -> None:
    before = tree(tmp_path)
    result = cli("profile", model, *arguments)
    assert result.exit_code == 2
    assert says in result.stderr
    assert tree(tmp_path) == before


@pytest.mark.parametrize("figure", ["memory_gb = -4", "fp16_tflops = 1e9", "active_w = nan"])
@pytest.mark.parametrize("command", ["profile", "devices"])
def test_absurd_figures_of_ones_own(cli: Run, model: str, tmp_path: Path, command: str, figure: str) -> None:
    (tmp_path / "mine.toml").write_text(f'[devices.board]\nunit = "gpu"\ndefault = "tensorrt:fp16"\n{figure}\n')
    before = tree(tmp_path)
    subject = (model, "--device", "board") if command == "profile" else ()
    result = cli(command, *subject, "--extra", "mine.toml")
    assert result.exit_code == 2
    assert f"{figure.split()[0]} = " in result.stderr
    assert "is not between" in result.stderr
    assert tree(tmp_path) == before


def test_calibrate_writes_a_device_file(cli: Run, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.profilers.calibration.test_calibration import benchmarks

    monkeypatch.setattr(calibrating, "timed", lambda seconds, progress: (progress(0.5), (benchmarks(2000), 1e-3))[1])
    result = cli("calibrate", "--out", "mine.toml", "--name", "lab-pc")
    assert result.exit_code == 0, result.output
    assert "Timing operators …" in result.stderr
    assert "advisor recommend MODEL --device mine.toml" in result.stderr
    found = cli("profile", model, "--device", "mine.toml", "--out", "profile.json")
    assert found.exit_code == 0, found.output
    assert Profile.load(tmp_path / "profile.json").provenance["device"]["name"] == "lab-pc"
    assert cli("calibrate", "--out", "mine.json").exit_code == 2
