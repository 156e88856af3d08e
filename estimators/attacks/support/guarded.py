"""An attack of a user's: whatever it raises is a failed attack, which says nothing about privacy."""

from __future__ import annotations

from dataclasses import dataclass

from advisor.attack_versions import FIRST
from advisor.errors import AdvisorError, NotMeasurableError
from advisor.estimators.attacks.base import Attack, AttackContext, Recovered, ThreatModel


@dataclass(frozen=True)
class GuardedAttack:
    """Runs the attack inside."""

    attack: Attack

    @property
    def name(self) -> str:
        """How it is called on the command line."""
        return self.attack.name

    @property
    def threat(self) -> ThreatModel:
        """What the attacker knows, has and may do."""
        return self.attack.threat

    @property
    def about(self) -> str:
        """One line for people."""
        return self.attack.about

    @property
    def verifies(self) -> bool:
        """Whether `recommend` runs it."""
        return self.attack.verifies

    @property
    def version(self) -> int:
        """1 where it says none."""
        return getattr(self.attack, "version", FIRST)

    def run(self, context: AttackContext) -> Recovered:
        """Attack all private samples.

        Raises:
            NotMeasurableError: also where the attack raised something else.
        """
        try:
            return self.attack.run(context)
        except AdvisorError:
            raise
        except Exception as error:  # a stranger's code may raise anything
            raise NotMeasurableError(f"{self.name} raised {type(error).__name__}: {error}") from error
