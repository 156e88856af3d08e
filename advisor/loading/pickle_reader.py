"""A pickle read without running it: every name is inert, every index is bounded, nothing is hashed for long.

It stands before every other reader: what it refuses is never shown to torch's restricted reader, or to the one in C++
that TorchScript uses. They differ in what they do with odd input; input that passes here is not odd.
"""

from __future__ import annotations

import io
import pickletools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from advisor.loading.content import short

MAX_OPCODES = 20_000_000
MAX_WEIGHT = 1_000_000  # elements of a tuple, those of the tuples inside it counted at each mention
MAX_KEY = 2**60  # larger numbers as keys can be made to collide


class MalformedPickleError(ValueError):
    """What stands there is no pickle that torch would have written."""


@dataclass(frozen=True)
class Name:
    """An import: `module.name`, never looked up."""

    text: str


@dataclass(eq=False)
class Made:
    """What a call of an imported name would have made.

    Attributes:
        name: what would be called.
        arguments: by position.
        state: what would be set on it afterwards.
    """

    name: str
    arguments: tuple[Any, ...]
    state: Any = None


@dataclass(eq=False)
class Stored:
    """A reference to a tensor's storage: the persistent identifier as it stands."""

    identifier: Any


class _Tuple(tuple[Any, ...]):
    weight: int


@dataclass
class Pickled:
    """What a stream of pickles holds.

    Attributes:
        values: one for each pickle in the stream.
        imports: names that would be imported, in order.
        stored: all references to storages.
        made: all calls, in order.
        end: where the last pickle ends.
        fault: why reading stopped before the end of a pickle; "" when it did not.
    """

    values: list[Any] = field(default_factory=list)
    imports: dict[str, None] = field(default_factory=dict)
    stored: list[Stored] = field(default_factory=list)
    made: list[Made] = field(default_factory=list)
    end: int = 0
    fault: str = ""


def read_pickles(data: bytes, at_most: int = 1) -> Pickled:
    """Read the pickles at the start of `data`; a fault is told in `fault`, and what came before it is kept."""
    found, stream = Pickled(), io.BytesIO(data)
    try:
        while found.end < len(data) and len(found.values) < at_most:
            found.values.append(_Reader(found, len(data)).read(stream))
            found.end = stream.tell()
    except MalformedPickleError as error:
        found.fault = str(error)
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        found.fault = short(error)
    return found


class _Reader:
    """One pickle's stack and memo."""

    def __init__(self, found: Pickled, size: int) -> None:
        self.found, self.size = found, size
        self.stack: list[Any] = []
        self.marks: list[list[Any]] = []
        self.memo: dict[int, Any] = {}

    def read(self, stream: io.BytesIO) -> Any:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(stream)):
            if count > MAX_OPCODES:
                raise MalformedPickleError("it has too many instructions")
            if opcode.name == "STOP":
                return self.stack.pop()
            if opcode.name in CONSTANTS:
                self.stack.append(CONSTANTS[opcode.name])
            elif opcode.name in LITERALS:
                self.stack.append(argument)
            elif opcode.name in ACTIONS:
                ACTIONS[opcode.name](self, argument)
            else:
                raise MalformedPickleError(f"it uses the instruction {opcode.name}")
        raise MalformedPickleError("it has no end")

    def marked(self) -> list[Any]:
        items, self.stack = self.stack, self.marks.pop()
        return items

    def drop(self) -> None:
        self.marked()

    def pops(self, count: int) -> list[Any]:
        if len(self.stack) < count:
            raise MalformedPickleError("it takes what it has not")
        items = self.stack[len(self.stack) - count :]
        del self.stack[len(self.stack) - count :]
        return items

    def mark(self, _: Any) -> None:
        self.marks.append(self.stack)
        self.stack = []

    def pop(self, _: Any) -> None:
        if self.stack:
            self.stack.pop()
        else:
            self.marked()

    def put(self, index: Any) -> None:
        index = len(self.memo) if index is None else int(index)
        if not 0 <= index <= self.size:
            raise MalformedPickleError(f"it remembers a value number {index:,}")
        self.memo[index] = self.stack[-1]

    def get(self, index: Any) -> None:
        self.stack.append(self.memo[int(index)])

    def list_of(self, items: list[Any]) -> None:
        self.stack.append(items)

    def tuple_of(self, items: list[Any]) -> None:
        made = _Tuple(items)
        made.weight = 1 + len(items) + sum(i.weight for i in items if isinstance(i, _Tuple))
        if made.weight > MAX_WEIGHT:
            raise MalformedPickleError("a tuple in it is too large")
        self.stack.append(made)

    def add(self, kind: type[Any], items: list[Any]) -> None:
        target = self.stack[-1]
        if kind is dict:
            self.set_items(target, items)
        elif isinstance(target, list):
            target.extend(items)
        elif not isinstance(target, Made):
            raise MalformedPickleError(f"it adds to a {type(target).__name__}")

    def set_items(self, target: Any, items: list[Any]) -> None:
        if len(items) % 2 or not isinstance(target, dict | Made):
            raise MalformedPickleError("it has a key without a value")
        for key, value in zip(items[::2], items[1::2], strict=True):
            _check_key(key)
            if isinstance(target, dict):
                target[key] = value

    def name(self, text: Any) -> None:
        self.found.imports[text] = None
        self.stack.append(Name(text))

    def stack_name(self, _: Any) -> None:
        module, name = self.pops(2)
        if not isinstance(module, str) or not isinstance(name, str):
            raise MalformedPickleError("it imports what is no name")
        self.name(f"{module}.{name}")

    def call(self, count: int) -> None:
        """A call with a tuple of arguments, or with keywords as well."""
        made, arguments, *_ = self.pops(count)
        if not isinstance(made, Name) or not isinstance(arguments, tuple):
            raise MalformedPickleError("it calls what is no import")
        self.push_made(made.text, arguments)

    def push_made(self, name: str, arguments: tuple[Any, ...]) -> None:
        if name.rpartition(".")[2] in HASHING:
            for items in (arguments, *(a for a in arguments if isinstance(a, list))):
                for item in items:
                    if not isinstance(item, list | dict | Made | Name):
                        _check_key(item)
        made = Made(name, arguments)
        self.found.made.append(made)
        self.stack.append(made)

    def build(self, _: Any) -> None:
        state = self.stack.pop()
        target = self.stack[-1]
        if not isinstance(target, Made):
            raise MalformedPickleError(f"it sets the state of a {type(target).__name__}")
        if target.state is not None:
            raise MalformedPickleError("it sets a state twice")
        target.state = state

    def instance(self, text: Any) -> None:
        arguments = self.marked()
        self.found.imports[text] = None
        self.push_made(text, tuple(arguments))

    def object(self, _: Any) -> None:
        made, *arguments = self.marked()
        if not isinstance(made, Name):
            raise MalformedPickleError("it calls what is no import")
        self.push_made(made.text, tuple(arguments))

    def store(self, identifier: Any) -> None:
        stored = Stored(identifier)
        self.found.stored.append(stored)
        self.stack.append(stored)

    def dictionary(self, _: Any) -> None:
        made: dict[Any, Any] = {}
        self.set_items(made, self.marked())
        self.stack.append(made)


def _check_key(key: Any) -> None:
    """Keys that take no time to hash and cannot be made to collide."""
    if isinstance(key, int) and abs(key) >= MAX_KEY:
        raise MalformedPickleError("a number too large is a key in it")
    if isinstance(key, tuple):
        for part in key:
            _check_key(part)
    elif key is not None and not isinstance(key, str | bytes | int | float | Name):
        raise MalformedPickleError(f"a {type(key).__name__} is a key in it")


HASHING = frozenset({"set", "frozenset", "Counter", "OrderedDict", "defaultdict"})
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
LITERAL_OPCODES = """
INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT STRING BINSTRING SHORT_BINSTRING UNICODE BINUNICODE
SHORT_BINUNICODE BINUNICODE8 BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8
"""
LITERALS = frozenset(LITERAL_OPCODES.split())
Action = Callable[[_Reader, Any], None]
ACTIONS: dict[str, Action] = {
    "PROTO": lambda r, a: None,
    "FRAME": lambda r, a: None,
    "MARK": _Reader.mark,
    "POP": _Reader.pop,
    "POP_MARK": lambda r, a: r.drop(),
    "DUP": lambda r, a: r.stack.append(r.stack[-1]),
    "EMPTY_TUPLE": lambda r, a: r.tuple_of([]),
    "TUPLE": lambda r, a: r.tuple_of(r.marked()),
    "TUPLE1": lambda r, a: r.tuple_of(r.pops(1)),
    "TUPLE2": lambda r, a: r.tuple_of(r.pops(2)),
    "TUPLE3": lambda r, a: r.tuple_of(r.pops(3)),
    "EMPTY_LIST": lambda r, a: r.stack.append([]),
    "LIST": lambda r, a: r.list_of(r.marked()),
    "APPEND": lambda r, a: r.add(list, r.pops(1)),
    "APPENDS": lambda r, a: r.add(list, r.marked()),
    "EMPTY_DICT": lambda r, a: r.stack.append({}),
    "DICT": _Reader.dictionary,
    "SETITEM": lambda r, a: r.add(dict, r.pops(2)),
    "SETITEMS": lambda r, a: r.add(dict, r.marked()),
    "EMPTY_SET": lambda r, a: r.push_made("builtins.set", ()),
    "FROZENSET": lambda r, a: r.push_made("builtins.frozenset", tuple(r.marked())),
    "ADDITEMS": lambda r, a: r.add(set, r.marked()),
    "GLOBAL": lambda r, a: r.name(str(a).replace(" ", ".", 1)),
    "STACK_GLOBAL": _Reader.stack_name,
    "INST": lambda r, a: r.instance(str(a).replace(" ", ".", 1)),
    "OBJ": _Reader.object,
    "REDUCE": lambda r, a: r.call(2),
    "NEWOBJ": lambda r, a: r.call(2),
    "NEWOBJ_EX": lambda r, a: r.call(3),
    "BUILD": _Reader.build,
    "PUT": _Reader.put,
    "BINPUT": _Reader.put,
    "LONG_BINPUT": _Reader.put,
    "MEMOIZE": _Reader.put,
    "GET": _Reader.get,
    "BINGET": _Reader.get,
    "LONG_BINGET": _Reader.get,
    "PERSID": _Reader.store,
    "BINPERSID": lambda r, a: r.store(r.stack.pop()),
}
