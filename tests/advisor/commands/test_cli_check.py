"""`advisor check`: exit code 0, or 5 with one line a failure; what an advice names is not simply opened."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import advisor
from advisor.planning.release.found_again import Found
from advisor.plans import Plan
from advisor.requirement import Requirement
from advisor.requirements import REQUIREMENTS
from advisor.testing import made_up_advices
from advisor.units import digits, number
from tests.advisor.planning.test_own_requirements import wait
from tests.conftest import Run


@pytest.fixture(scope="module")
def answered(tiny_model: Path, tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An advice about files."""
    folder = tmp_path_factory.mktemp("answered")
    advisor.recommend(tiny_model, data=tiny_data, trials=1, defenses="none", verify="none").save(folder)
    return folder


def test_it_passes_or_fails_with_one_line_each(answered: Path, cli: Run) -> None:
    fine = cli("check", answered, "--max-latency", "10s")
    assert fine.exit_code == 0, fine.output
    assert "Note: Model " in fine.stderr
    assert fine.stdout.splitlines()[0].startswith("met           model: the same")
    poor = cli("check", answered, "--max-latency", "1us", "--max-edge-memory", "1B")
    assert poor.exit_code == 5
    failed = [line for line in poor.stdout.splitlines() if not line.startswith("met")]
    assert [line.split(":")[0].split()[-1] for line in failed] == ["--max-latency", "--max-edge-memory"]
    assert "error: The gate failed: 2 of 3 checks." in poor.stderr


def test_the_answer_as_json_and_markdown(answered: Path, cli: Run) -> None:
    found = json.loads(cli("check", answered, "--max-latency", "1us", "--json").stdout)
    assert found["passed"] is False
    assert len(found["failures"]) == 1
    assert found["digest"] == advisor.load_advice(answered).digest
    for name in ("md", "markdown"):
        text = cli("check", answered, "--max-latency", "1us", "--format", name).stdout
        assert text.startswith("**❌ 1 of 2 checks failed**: everything on the edge")
        assert "| latency | at most 1 µs |" in text
    wrong = cli("check", answered, "--max-latency", "1us", "--format", "pdf")
    assert wrong.exit_code == 2
    assert "--format 'pdf' is not known. Use console, markdown, json." in wrong.stderr


@pytest.fixture
def table() -> Iterator[None]:
    """The table of requirements, as it was before."""
    before = dict(REQUIREMENTS)
    yield
    REQUIREMENTS.clear()
    REQUIREMENTS.update(before)


@pytest.mark.usefixtures("table")
def test_a_requirement_of_the_users_own_is_held_against_what_is_measured_again(answered: Path, cli: Run) -> None:
    own = "tests.advisor.planning.test_own_requirements:WAIT"
    fine = cli("check", answered, "--requirement", f"{own}=1e9", "--json")
    assert fine.exit_code == 0, fine.output
    found = {check["name"]: check["estimate"] for check in json.loads(fine.stdout)["checks"]}
    plan = advisor.load_advice(answered).best
    assert found["max_wait"]["value"] == pytest.approx(wait(plan))
    dear = cli("check", answered, "--requirement", f"{own}=1e-3")
    assert dear.exit_code == 5
    assert "the wait is" in dear.stdout
    wrong = cli("check", answered, "--requirement", own)
    assert wrong.exit_code == 2
    assert "states no limit" in wrong.stderr


def test_what_a_function_reads_and_nobody_measured_is_not_met() -> None:
    row = Requirement("max_beauty", "beauty", "beauty", "at most", "1", number, digits, "beauty", "", function=beauty)
    assert Found(made_up_advices.digits().best).of(row) is None
    assert Found(made_up_advices.digits().best).why(row) == "its function reads what is not measured here"


def beauty(plan: Plan) -> float:
    """Of nothing that is measured."""
    return plan.predicted["beauty"].value


def test_budgets_of_the_settings_count_unless_they_are_left_out(answered: Path, cli: Run, tmp_path: Path) -> None:
    (tmp_path / "advisor.toml").write_text('max-latency = "1us"\nseed = 3\n')
    result = cli("check", answered)
    assert result.exit_code == 5
    assert "Note: advisor.toml sets max_latency = 1 µs" in result.stderr
    assert cli("check", answered, "--max-latency", "10s").exit_code == 0  # the command line goes first
    bare = cli("check", answered, "--no-config")
    assert bare.exit_code == 2
    assert "Nothing is asked of this advice." in bare.stderr


def test_what_recommend_prints_is_the_digest_that_check_takes(tiny_model: Path, tiny_data: Path, cli: Run) -> None:
    made = cli("recommend", tiny_model, "--data", tiny_data, "--trials", 1, "--defenses", "none", "--verify", "none",
               "--min-nmse", "0.5")  # fmt: skip
    digest = made.stderr.partition("Digest of the advice: ")[2][:64]
    fine = cli("check", "out", "--digest", digest)
    assert fine.exit_code == 0, fine.output
    assert f"Digest of the advice: {digest}" in cli("report", "out").stderr
    other = cli("check", "out", "--digest", digest[::-1])
    assert other.exit_code == 5
    assert "The advice is another one" in other.stdout


def test_a_recorded_model_that_is_another_is_refused(
    answered: Path, cli: Run, tiny_model: Path, tmp_path: Path
) -> None:
    text = (answered / "advice.json").read_text()
    hostile = tmp_path / "hostile"
    hostile.mkdir()
    shutil.copy(tiny_model, hostile / "model.pt")
    with (hostile / "model.pt").open("ab") as file:
        file.write(b"more")
    (hostile / "advice.json").write_text(text.replace(json.dumps(str(tiny_model)), '"model.pt"'))
    result = cli("check", "hostile", "--max-latency", "10s")
    assert result.exit_code == 2
    assert "error:" in result.stderr
    for place in ("/dev/zero", "/etc/passwd"):
        (hostile / "advice.json").write_text(text.replace(json.dumps(str(tiny_model)), json.dumps(place)))
        assert cli("check", "hostile", "--max-latency", "10s").exit_code in (2, 5)


def test_a_mistyped_model_is_answered_at_once(answered: Path, cli: Run) -> None:
    result = cli("check", answered, "--model", "no-such.pt", "--max-latency", "1s")
    assert result.exit_code == 2
    assert "There is no file no-such.pt." in result.stderr
