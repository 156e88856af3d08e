"""Which defenses a search tries: payload defenses at every cut, methods that are fitted at a few."""

from __future__ import annotations

from dataclasses import dataclass

from advisor.defenses import DEFENSES, SETS
from advisor.defenses.methods import METHODS
from advisor.errors import AdvisorError
from advisor.registry import known_names

TRAINED = ("ridge", "tuned")
"""Methods of the set `trained`: ours, and the cheapest. Each fit takes minutes; others are tried by name."""

TRAINED_SETS: dict[str, tuple[str, ...]] = {"trained": ("none", *TRAINED), "all": (*SETS["free"], *TRAINED)}


@dataclass(frozen=True)
class WantedDefenses:
    """What was asked for.

    Attributes:
        payload: names of payload defenses.
        methods: names of methods that are fitted.
    """

    payload: tuple[str, ...]
    methods: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """All of them."""
        return (*self.payload, *self.methods)


def wanted_defenses(text: str) -> WantedDefenses:
    """From a set's name, or names separated by commas; a member of your own as `package.module:Name`.

    Raises:
        AdvisorError: on a name that is none of these.
    """
    parts = [part.strip() for part in text.split(",")]
    names = [name for part in parts for name in SETS.get(part) or TRAINED_SETS.get(part) or (part,)]
    payload: list[str] = []
    methods: list[str] = []
    for name in dict.fromkeys(names):
        (methods if _is_method(name) else payload).append(name)
    return WantedDefenses(tuple(payload), tuple(methods))


def one_method(name: str) -> str:
    """The name of a method that is fitted.

    Raises:
        AdvisorError: on a payload defense, which needs no fit, or a name of nothing.
    """
    if wanted_defenses(name).methods == (name,):
        return name
    raise AdvisorError(f"{name!r} is not fitted.", f"Name a method: {', '.join(METHODS)}.")


def _is_method(name: str) -> bool:
    """Whether it is fitted; one that is neither is refused with all that there are."""
    if name in METHODS or name in DEFENSES:
        return name in METHODS
    if ":" not in name:
        known = tuple(dict.fromkeys((*SETS, *TRAINED_SETS, *DEFENSES, *METHODS)))
        raise AdvisorError(f"There is no defense {name!r}.", known_names(name, known))
    try:
        METHODS.find(name)
    except AdvisorError:
        DEFENSES.find(name)
        return False
    return True
