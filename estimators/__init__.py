"""What leaks at every cut: one estimator a file, all listed here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from advisor.errors import NotMeasurableError
from advisor.registry import Registry, instance_of

if TYPE_CHECKING:
    from advisor.cut_view import ColumnSpec, CutView, Estimator, Need
    from advisor.estimate import Estimate

_BUILT_IN = {
    "fisher": "advisor.estimators.fisher:Fisher",
    "spectrum": "advisor.estimators.spectrum:Spectrum",
    "class_radius": "advisor.estimators.class_radius:ClassRadius",
    "entropy": "advisor.estimators.entropy:Entropy",
    "mixture": "advisor.estimators.mixture:Mixture",
    "dependence": "advisor.estimators.dependence:DistanceCorrelation",
    "mutual": "advisor.estimators.mutual:MutualInformation",
    "linear": "advisor.estimators.linear:LinearInversion",
    "kernel": "advisor.estimators.linear:KernelInversion",
    "variational": "advisor.estimators.variational:Variational",
    "labels": "advisor.estimators.label_probe:LabelLeak",
    "label_spreading": "advisor.estimators.label_spreading:FewLabels",
}


@dataclass(frozen=True)
class Guarded:
    """An estimator of a user's: whatever it raises is the reason of its own missing values, and of no others."""

    estimator: Estimator

    @property
    def columns(self) -> tuple[ColumnSpec, ...]:
        """The columns it measures."""
        return self.estimator.columns

    @property
    def needs(self) -> frozenset[Need]:
        """What it reads beside the activation."""
        return self.estimator.needs

    def at(self, view: CutView) -> dict[str, Estimate]:
        """Measure at one cut.

        Raises:
            NotMeasurableError: also where the estimator raised something else.
        """
        try:
            return self.estimator.at(view)
        except NotMeasurableError:
            raise
        except Exception as error:  # a stranger's code may raise anything
            raise NotMeasurableError(f"the estimator failed ({type(error).__name__}: {error})") from error


def _made(found: object) -> Estimator:
    member: Estimator = instance_of("columns", "needs", "at")(found)
    return member if type(member).__module__.startswith("advisor.estimators.") else Guarded(member)


ESTIMATORS: Registry[Estimator] = Registry("estimator", _BUILT_IN, _made)
"""By name, in the order of the report; the quick inversion comes on top of these.

One more is one more file and one more line here; one of a user's is an entry point of `partition_advisor.estimators`.
"""
