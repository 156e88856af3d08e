"""A request is validated, recorded as data, read back, said as a command; what no file may name is divided off."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from advisor.errors import AdvisorError
from advisor.recorded import harmless, is_catalog_device, is_catalog_link
from advisor.request import Request
from advisor.request_parts import EFFORTS, IN_PYTHON
from advisor.requirements import Budgets

FULL = {
    "model": "m.pt2", "arch": "pkg:net", "input_shape": (3, 8, 8), "normalize": "none", "max_tensors": 2,
    "granularity": "block", "data": "d.npz", "resize": 8, "device": "jetson-nano", "link": "bandwidth=20Mbps,rtt=15ms",
    "cloud": "t4", "tail": "head", "objective": "nmse", "require_split": True, "defenses": "int8", "effort": "quick",
    "timeout": "2min", "verify": "none", "seed": 3, "max_latency": "50ms", "min_nmse": 0.7, "out": "o",
}  # fmt: skip


def test_a_request_survives_its_file() -> None:
    request = Request.of(**FULL)
    again = Request.from_json(json.loads(json.dumps(request.to_json())))
    assert again == request
    assert again.requirements == Budgets(max_latency=0.05, min_nmse=0.7)
    assert (again.search.timeout, again.search.count) == (120.0, EFFORTS["quick"])


def test_the_command_says_all_that_is_no_default() -> None:
    words = shlex.split(Request.of(**FULL).command(trusted=True))
    assert words[:3] == ["advisor", "recommend", "m.pt2"]
    for option, value in (("--arch", "pkg:net"), ("--input-shape", "3,8,8"), ("--min-nmse", "0.7"), ("--seed", "3")):
        assert words[words.index(option) + 1] == value
    assert {"--require-split", "--trust"} <= set(words)
    assert "--cloud" not in words  # the default
    slow = shlex.split(Request.of(model="m.pt2", max_latency=2).command())
    assert slow[slow.index("--max-latency") + 1] == "2s"  # as it is read again: 2 alone would be refused
    dashed = shlex.split(Request.of(model="-m.pt2", data="-d").command())
    assert dashed == ["advisor", "recommend", "--data=-d", "--seed", "0", "--", "-m.pt2"]


def test_what_is_no_json_is_given_in_python() -> None:
    request = Request.of(model=object(), data=(1, 2), profile=object())
    plain = request.to_json()
    assert plain["model"]["model"] == plain["data"]["data"] == plain["target"]["profile"] == IN_PYTHON
    assert request.command() == ""


def test_secrets_of_addresses_are_not_recorded() -> None:
    secret = "hunter2"
    request = Request.of(
        model="m.pt2", storage=f"postgresql://me:{secret}@host/db?token={secret}", device=f"ssh://me:{secret}@board",
    )  # fmt: skip
    assert secret not in json.dumps(request.to_json())
    assert secret not in request.command()
    assert secret in str(request.search.storage)  # the run itself needs it


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"trials": 0}, "trials is '0'. It is a whole number from 1."),
        ({"trials": True}, "trials: Input should be a valid integer"),
        ({"seed": -1}, "seed is '-1'"),
        ({"verify": "hard"}, "no verification 'hard'. Use none, quick or strong."),
        ({"effort": "endless"}, "no effort 'endless'. Use quick, standard or thorough."),
        ({"objective": "luck"}, "no objective 'luck'"),
        ({"granularity": "atom"}, "granularity: Input should be 'op', 'layer' or 'block'"),
        ({"input_shape": (0, 1)}, "has a size below 1"),
        ({"max_tensors": 0}, "max_tensors is '0'"),
        ({"resize": 0}, "resize is '0'"),
        ({"timeout": "soon"}, "'soon' is not a duration"),
        ({"device": 5}, "device: Input should be a valid string"),
        ({"colour": 5}, "no option 'colour'"),
    ],
)
def test_what_is_no_request_is_refused_in_one_line(options: dict[str, object], reason: str) -> None:
    with pytest.raises(AdvisorError) as caught:
        Request.of(**{"model": "m.pt2"} | options)
    assert reason in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    "payload",
    [
        [], {}, {"model": 5}, {"model": {"model": 5}}, {"model": {"model": None}},
        {"model": {"model": "m", "arch": []}},
        {"model": {"model": "m"}, "requirements": {"max_latency": "x"}},
        {"model": {"model": "m"}, "search": {"storage": [1]}},
        {"model": {"model": "m"}, "search": {"seed": "x" * 10**6}},
    ],
)  # fmt: skip
def test_a_file_that_holds_no_request_is_refused_in_one_line(payload: object) -> None:
    with pytest.raises(AdvisorError, match=r"request|model|arch|requirements|storage|seed") as caught:
        Request.from_json(payload)
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < 400


# ---- what a file may say ---------------------------------------------------------------------------------------------


def test_harmless_fields_are_taken_and_the_rest_is_not() -> None:
    taken = harmless(Request.of(**FULL))
    assert dict(taken.refused) == {"arch": "pkg:net"}
    assert dict(taken.dropped) == {"out": "o"}
    assert {"model", "data", "arch", "out", "storage"}.isdisjoint(taken.options)
    assert (taken.options["max_latency"], taken.options["seed"], taken.options["device"]) == (0.05, 3, "jetson-nano")
    with pytest.raises(AdvisorError, match=r"--arch 'pkg:net', which names code: that is not taken from a file"):
        taken.require({})
    taken.require({"arch": "other:net"})
    assert harmless(None).options == {}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("device", "ssh://board?config=c"), ("device", "d.toml"), ("device", "D.TOML:x"), ("cloud", "../x"),
        ("link", "trace=/dev/zero"), ("link", "TRACE=x"), ("link", "x.toml"), ("profile", "/dev/zero"),
        ("cloud", "SSH://x"), ("defenses", "os:system"), ("device", "a\nb"),
    ],
)  # fmt: skip
def test_what_names_a_machine_or_a_file_is_asked_for_again(field: str, value: str) -> None:
    taken = harmless(Request.of(**{"model": "m.pt2", field: value}))
    assert list(taken.refused) == [field]
    assert field not in taken.options
    with pytest.raises(AdvisorError, match=f"Give --{field} again"):
        taken.require({})


def test_every_row_of_the_catalog_is_harmless() -> None:
    from advisor.profilers import devices, links

    assert all(is_catalog_device(row.key) for row in devices())
    assert all(is_catalog_link(row.name) for row in links())
    assert all(map(is_catalog_device, ("local", "local:onnxruntime", "jetson:tensorrt:fp16@15W")))
    assert all(map(is_catalog_link, ("bandwidth=20Mbps,rtt=15ms", "wifi,compress=zlib", "bandwidth=2e6, rtt=0.1s")))


def test_storage_is_left_out(tmp_path: Path) -> None:
    taken = harmless(Request.of(model="m.pt2", storage=f"sqlite:///{tmp_path}/s.db", pictures=True))
    assert set(taken.dropped) == {"storage", "pictures"}
    assert "storage" not in taken.options
