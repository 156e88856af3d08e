"""Several attacks that end at once on one advice: each one's evidence stays."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from advisor.advice import load_advice
from advisor.commands.attack import _record
from advisor.data.samples import Samples, read
from advisor.defenses import NoDefense
from advisor.estimate import Estimate
from advisor.estimators.attacks.base import ThreatModel
from advisor.estimators.attacks.support.metrics import AttackResult
from advisor.testing.made_up_advices import digits


def result(name: str) -> AttackResult:
    known = Estimate(0.5, 0.1, 0.4, 0.6)
    back = torch.rand(2, 1, 4, 4)
    threat = ThreatModel(("cut and defense",), ("nothing",), ("ask nothing",))
    return AttackResult(known, known, known, known, back, back, name=name, threat=threat)


def test_no_evidence_is_lost_where_several_attacks_end_at_once(tmp_path: Path) -> None:
    advice, samples = digits(), read((torch.rand(4, 1, 4, 4), None))
    assert isinstance(samples, Samples)
    advice.save(tmp_path)
    children = []
    for number in range(3):
        child = os.fork()
        if not child:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            for turn in range(2):
                _record(tmp_path, result(f"{number}.{turn}"), advice.profile.cuts[1], NoDefense(), samples, False)
            os._exit(0)
        children.append(child)
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0] * 3
    found = {item.attack for item in load_advice(tmp_path).evidence} - {item.attack for item in advice.evidence}
    assert found == {f"{number}.{turn}" for number in range(3) for turn in range(2)}
