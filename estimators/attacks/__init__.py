"""The attacks: one a file, all listed here. One more is one more file and one more line."""

from __future__ import annotations

from advisor.errors import AdvisorError
from advisor.estimators.attacks.base import Attack, AttackContext, Auxiliary, Recovered, Secret, ThreatModel
from advisor.estimators.attacks.support.guarded import GuardedAttack
from advisor.registry import Registry, instance_of

_BUILT_IN = {
    "ka": "advisor.estimators.attacks.ka:KnowledgeAlignment",
    "wiener": "advisor.estimators.attacks.wiener:Wiener",
    "wide": "advisor.estimators.attacks.wide:Wide",
    "sfd": "advisor.estimators.attacks.sfd:FeatureRegression",
    "worst": "advisor.estimators.attacks.worst:Worst",
    "rmle": "advisor.estimators.attacks.rmle:RegularisedMaximumLikelihood",
    "dip": "advisor.estimators.attacks.dip:DeepImagePrior",
    "unbiased": "advisor.estimators.attacks.unbiased:Unbiased",
    "dci": "advisor.estimators.attacks.dci:DividedInversion",
    "shadow": "advisor.estimators.attacks.shadow:Shadow",
    "pmc": "advisor.estimators.attacks.pmc:ModelCompletion",
    "pmc-tuned": "advisor.estimators.attacks.pmc_tuned:TunedCompletion",
    "mlp": "advisor.estimators.attacks.mlp:MLP",
    "mlp-sim": "advisor.estimators.attacks.mlp:MLP_SIM",
    "kmeans": "advisor.estimators.attacks.kmeans:Clusters",
    "ids": "advisor.estimators.attacks.ids:IdRecovery",
}


def _made(found: object) -> Attack:
    member: Attack = instance_of("name", "threat", "about", "verifies", "run")(found)
    return member if type(member).__module__.startswith("advisor.estimators.") else GuardedAttack(member)


ATTACKS: Registry[Attack] = Registry("attack", _BUILT_IN, _made)
"""By name, in the order of the report. One of a user's is an entry point of `partition_advisor.attacks`."""


def verifying(secret: Secret) -> list[Attack]:
    """The attacks after this secret that verify plans, in the order of the report; at least one.

    Raises:
        AdvisorError: when there is none.
    """
    found = [member for member in ATTACKS.working().values() if member.threat.recovers == secret and member.verifies]
    if not found:
        raise AdvisorError(f"No attack after the {secret} verifies plans.", "Run one by itself: advisor attack --name.")
    return found


__all__ = ["ATTACKS", "Attack", "AttackContext", "Auxiliary", "Recovered", "ThreatModel", "verifying"]
