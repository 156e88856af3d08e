"""How many samples an attacker needs: on a small net with real digits, from the request to the sentence."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from torch import nn

import advisor
from advisor.errors import AdvisorError
from advisor.estimators.statistics.learning_curves import LearningCurve, Point
from advisor.planning.evaluating.attacker_samples import told
from advisor.reports.console import render
from advisor.reports.content.learning_curve import learning_chart, samples_needed
from advisor.reports.html import render as page
from advisor.request import Request
from advisor.testing.made_up_advices import digits


def test_a_small_net_is_asked(tmp_path: Path) -> None:
    from sklearn.datasets import load_digits

    x = torch.tensor(load_digits().images, dtype=torch.float32)[:400, None] / 16
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 4, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(64, 10)).eval()
    advice = advisor.recommend(
        model, x[:2], data=(x, None), attacker_samples="1e5", effort="quick", trials=1, require_split=True, min_nmse=0
    )
    found = advice.provenance["attacker_samples"]
    counts, errors = ([p[key] for p in found["points"]] for key in ("samples", "nmse"))
    assert counts == sorted(counts)
    assert 150 < counts[-1] < 250  # half of the samples are the attacker's
    assert errors[0] > errors[-1]  # more samples, a better attack
    assert found["found"]["low"] <= found["found"]["nmse"] <= found["found"]["high"]
    assert found["found"]["high"] <= errors[-1] + 0.1
    assert "An attacker of 100,000 samples: " in render(advice)
    assert f"with {counts[0]:,} to {counts[-1]:,} samples" in samples_needed(advice)
    assert advice.request is not None
    assert advice.request.search.attacker_samples == 100_000
    advice.save(tmp_path)
    assert advisor.load_advice(tmp_path).provenance["attacker_samples"] == found


def with_curve(errors: tuple[float, ...], wanted: int) -> advisor.Advice:
    points = tuple(Point(25 * 2**i, error, 0.01) for i, error in enumerate(errors))
    advice = digits()
    return dataclasses.replace(
        advice, provenance=advice.provenance | {"attacker_samples": told(LearningCurve(points), wanted)}
    )


def test_what_is_known_and_what_is_not_is_said() -> None:
    flat = with_curve((0.5, 0.41, 0.4, 0.4, 0.4), 800)
    assert samples_needed(flat).startswith("An attacker of 800 samples: NMSE 0.3")
    assert "carried on from the quick ka attack with 25 to 400 samples." in samples_needed(flat)
    steep = with_curve((0.9, 0.75, 0.62, 0.5, 0.4), 10**6)
    assert "An attacker of 1,000,000 samples: not known with 400 samples (NMSE 0" in samples_needed(steep)
    assert samples_needed(steep).endswith(" would do.")
    own = with_curve((0.9, 0.75, 0.62, 0.5, 0.4), 400)
    assert ", of the quick ka attack" in samples_needed(own)


def test_the_report_draws_it_and_says_nothing_where_it_was_not_asked() -> None:
    steep = with_curve((0.9, 0.75, 0.62, 0.5, 0.4), 10**6)
    (chart,) = learning_chart(steep)
    assert [layer["mark"]["type"] for layer in chart.spec["layer"]] == ["area", "line", "point"]
    assert max(row["samples"] for row in chart.spec["layer"][0]["data"]["values"]) == 10**6
    assert "How many samples an attacker needs" in page(steep)
    assert samples_needed(digits()) == ""
    assert list(learning_chart(digits())) == []


@pytest.mark.parametrize(
    "hostile", [7, [], {"asked": "<b>", "found": 1, "points": [1]}, {"asked": 1e300, "points": {}}]
)
def test_what_a_stranger_wrote_there_is_left_out(hostile: object) -> None:
    advice = digits()
    advice = dataclasses.replace(advice, provenance=advice.provenance | {"attacker_samples": hostile})
    assert samples_needed(advice) == ""
    assert list(learning_chart(advice)) == []


def test_what_is_no_number_of_samples_is_refused() -> None:
    assert Request.of(model="m.pt2", attacker_samples="1e6").search.attacker_samples == 10**6
    for wrong in ("many", "0", "1.5", "nan", "-3"):
        with pytest.raises(AdvisorError, match=r"is no number of samples\. Write a whole number such as 8000 or 1e6\."):
            Request.of(model="m.pt2", attacker_samples=wrong)
