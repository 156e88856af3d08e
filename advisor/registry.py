"""Registry: the members of one family, built in, from an installed distribution, or named by a dotted path."""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from advisor.errors import AdvisorError
from advisor.support.import_path import modules_here

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

T = TypeVar("T")

GROUP = "partition_advisor."
"""Entry points of a family stand in the group `partition_advisor.FAMILYs`, such as `partition_advisor.estimators`."""


def known_names(name: str, names: Collection[str]) -> str:
    """What was probably meant by a name that there is not, and all that there are."""
    close = difflib.get_close_matches(name, names, 1)
    guess = f"Did you mean {close[0]!r}? " if close else ""
    return f"{guess}Known: {', '.join(names)}."


class PlugInWarning(UserWarning):
    """A user's member that was left out, and why; everything else goes on."""


@dataclass(frozen=True, eq=False)
class Registry(Mapping[str, T], Generic[T]):
    """The members of one family by name, loaded when they are used.

    The built-in ones come first, in their order; then the entry points of installed distributions, by name. An entry
    point never takes a built-in's name. One that fails is left out by `working`, with a `PlugInWarning`, and is an
    error where it is asked for by name.

    Attributes:
        family: what a member is, in one word: "estimator".
        built_in: name -> `package.module:Name`.
        made: turns what was imported into a member; raises TypeError where it is none.
    """

    family: str
    built_in: Mapping[str, str]
    made: Callable[[object], T]
    _loaded: dict[str, T] = field(default_factory=dict, repr=False)

    @property
    def group(self) -> str:
        """The group of entry points in which a distribution lists its members."""
        return f"{GROUP}{self.family}s"

    def __getitem__(self, name: str) -> T:
        if name in self.built_in:
            return self._member(self.built_in[name])
        return self._of(self._installed()[name])

    def __iter__(self) -> Iterator[str]:
        yield from self.built_in
        yield from self._installed()

    def __len__(self) -> int:
        return len(self.built_in) + len(self._installed())

    def __contains__(self, name: object) -> bool:
        return name in self.built_in or name in self._installed()

    def find(self, name: str) -> T:
        """A member by name, or what a dotted path `package.module:Name` holds, also in the current directory.

        For what a person typed or wrote in Python: a path that a file names must go through `self[name]`.

        Raises:
            AdvisorError: when there is no such member, or it cannot be loaded; the message says which there are.
        """
        if name in self:
            return self[name]
        if ":" in name:
            return self._dotted(name)
        raise AdvisorError(f"There is no {self.family} {name!r}.", known_names(name, self))

    def loaded(self, name: str) -> T | None:
        """A member that was named before by its dotted path, by that path or its own name; nothing is imported."""
        own = [member for path, member in self._loaded.items() if path == name or getattr(member, "name", "") == name]
        return own[0] if own else None

    def working(self) -> dict[str, T]:
        """Every member that loads. One of a user's that does not is left out, with a `PlugInWarning`."""
        members = {name: self[name] for name in self.built_in}
        for name, point in self._installed().items():
            try:
                members[name] = self._of(point)
            except AdvisorError as error:
                warnings.warn(f"{error.problem} It is left out.", PlugInWarning, stacklevel=2)
        return members

    def _installed(self) -> dict[str, EntryPoint]:
        """Entry points by name; a built-in's name, or one taken before, is never given away."""
        from importlib.metadata import entry_points

        found: dict[str, EntryPoint] = {}
        for point in sorted(entry_points(group=self.group), key=lambda p: (p.name, p.value)):
            if point.name in self.built_in or found.setdefault(point.name, point).value != point.value:
                said = f"The {self.family} {point.name!r} of {_source(point)} is left out: the name is taken."
                warnings.warn(said, PlugInWarning, stacklevel=2)
        return found

    def _of(self, point: EntryPoint) -> T:
        try:
            return self._member(point.value)
        except Exception as error:  # a stranger's module may raise anything
            reason = f"{type(error).__name__}: {error}"
            raise AdvisorError(
                f"The {self.family} {point.name!r} of {_source(point)} does not work ({reason}).",
                "Mend or uninstall that distribution.",
            ) from error

    def _dotted(self, path: str) -> T:
        try:
            with modules_here():
                return self._member(path)
        except Exception as error:  # as above
            raise AdvisorError(
                f"{path} is no {self.family} ({type(error).__name__}: {error}).", "Name it as package.module:Name."
            ) from error

    def _member(self, path: str) -> T:
        if path not in self._loaded:
            self._loaded[path] = self.made(imported(path))
        return self._loaded[path]


def imported(path: str) -> object:
    """What `package.module:Name` names; `Name` may have dots.

    Raises:
        ImportError, AttributeError: when there is no such module or name; or whatever the module raises.
    """
    module, _, name = path.partition(":")
    found: object = import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    return found


def instance_of(*members: str) -> Callable[[object], Any]:
    """For `Registry.made`: an object with these attributes, or a class that is made without arguments."""

    def made(found: object) -> Any:
        member = found() if isinstance(found, type) else found
        missing = [name for name in members if not hasattr(member, name)]
        if missing:
            raise TypeError(f"it has no {', '.join(missing)}")
        return member

    return made


def _source(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else point.value
