"""All-cloud as people do it, in the verdict, in the file, in what-if and in the gate; of a model that reads images."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

import advisor
from advisor import wire
from advisor.advice import Advice
from advisor.planning.evaluating.sent_inputs import arrived, as_bytes, jpeg


def smooth_images(count: int) -> torch.Tensor:
    """`[N, 3, 32, 32]` in [0, 1] whose JPEG is shorter than their bytes."""
    ramp = torch.linspace(0, 1, 32)
    phase = torch.rand(count, 3, 1, 1, generator=torch.Generator().manual_seed(0))
    return (0.5 + 0.5 * torch.sin(6 * (ramp[None, None, :, None] * ramp[None, None, None] + phase))).clamp(0, 1)


X = smooth_images(60)


def net() -> nn.Module:
    torch.manual_seed(0)
    body = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(4))
    return nn.Sequential(body, nn.Flatten(), nn.Linear(128, 4)).eval()


def asked(**limits: object) -> Advice:
    return advisor.recommend(
        net(), data=(X, None), device="raspberry-pi-4b", link="bandwidth=1Mbps,rtt=5ms", trials=1, defenses="none",
        verify="none", effort="quick", **limits,
    )  # fmt: skip


@pytest.fixture(scope="module")
def waived() -> Advice:
    return asked(min_nmse=0, max_edge_memory="16KiB")


def test_where_leakage_is_waived_the_cheapest_form_of_the_input_wins(waived: Advice) -> None:
    best = waived.best
    assert best is not None
    assert (waived.verdict, best.sends) == ("all-cloud", "JPEG")
    assert waived.headline.startswith("Run it all in the cloud, the input sent as JPEG")
    sizes, _ = jpeg(as_bytes((X,)))
    header = len(wire.pack(torch.zeros(1, dtype=torch.uint8))) - 1
    assert min(sizes) <= best.predicted["bytes"].value - header <= max(sizes) < X[0].numel()
    plain = next(plan for plan in waived.baselines if plan.kind == "all-cloud")
    assert plain.sends == ""
    assert best.predicted["latency"].value < plain.predicted["latency"].value
    assert best.predicted["throughput"].value > plain.predicted["throughput"].value
    assert waived.alternatives["all in the cloud, JPEG"].sends == "JPEG"


def test_all_forms_of_the_input_pay_for_the_same_message(waived: Advice) -> None:
    as_floats = next(plan for plan in waived.baselines if plan.kind == "all-cloud").predicted["bytes"].value
    as_bytes_ = waived.alternatives["all in the cloud, uint8"].predicted["bytes"].value
    assert as_bytes_ == len(wire.pack(as_bytes((X[:1],))))
    assert as_floats - as_bytes_ == 3 * X[0].numel()


def test_it_is_the_same_in_the_file_in_what_if_and_in_the_gate(waived: Advice, tmp_path: Path) -> None:
    waived.save(tmp_path)
    again = advisor.load_advice(tmp_path)
    assert again.best is not None
    assert again.best.sends == "JPEG"
    option = advisor.whatif(again).options[0]
    assert (option.plan.kind, option.plan.sends) == ("all-cloud", "JPEG")
    limit = waived.best.predicted["latency"].value
    gate = advisor.check(again, net(), (X, None), max_latency=1.001 * limit, max_accuracy_drop=0.5)
    assert gate.passed, gate.failures
    found = {check.name: check.estimate.value for check in gate.checks if check.estimate is not None}
    assert found["max_latency"] == pytest.approx(limit)
    assert found["max_accuracy_drop"] == pytest.approx(waived.best.predicted["accuracy_drop"].value, abs=1e-9)


def test_without_its_samples_the_gate_does_not_guess_how_large_inputs_are(waived: Advice, tmp_path: Path) -> None:
    waived.save(tmp_path)
    gate = advisor.check(tmp_path, net(), max_latency="10s")
    assert "how large inputs are as JPEG depends on the samples. Pass --data" in gate.failures[0]


def test_where_a_split_is_required_the_reasons_say_what_sending_the_input_would_gain() -> None:
    advice = asked(min_nmse=0, require_split=True, cuts="0.0,0.1")
    assert advice.verdict == "split"
    (said,) = [reason for reason in advice.reasons if reason.startswith("All in the cloud")]
    assert said.startswith("All in the cloud, the input sent as JPEG, has a latency of")
    assert said.endswith("and hides nothing: a split was required.")


def test_what_arrives_is_what_was_sent() -> None:
    bytes_ = as_bytes((X,))
    assert torch.equal(arrived((X,), "uint8")[0], bytes_ / 255)
    assert torch.equal(arrived((X,), "JPEG")[0], jpeg(bytes_)[1] / 255)
    assert arrived((X,), "")[0] is X
