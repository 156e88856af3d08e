"""Numbers that a forward reads out of tensors with Python: `float(self.scale)`, `if self.flag:`, `table.tolist()`.

torch.export gives fake tensors to the forward, which hold no values. What depends on the model's own tensors alone is
the same in every call: it is read once in a real run, and handed to the forward while exporting. What depends on the
input is not; there the user's line is named. Asserts, and an `if` that only raises, are taken to hold.
"""

from __future__ import annotations

import ast
import linecache
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from advisor.tracing.refusals import described, users_frames

READERS = frozenset(
    {
        "item", "__bool__", "__int__", "__float__", "__index__", "__complex__", "__contains__", "tolist", "numpy",
        "__array__", "equal", "allclose", "is_nonzero", "nonzero", "unique", "unique_consecutive", "masked_select",
    }
)  # fmt: skip
"""Functions of tensors that give Python a value, or a tensor whose size is one."""

_GIVE_TENSORS = frozenset({"nonzero", "unique", "unique_consecutive", "masked_select"})

Key = tuple[str, str, int]  # function, file, line


class InputRead(Exception):  # noqa: N818 - a finding, turned into a refusal by who asked
    """The forward reads a value that depends on the input; `place` says where."""

    def __init__(self, place: str) -> None:
        super().__init__(place)
        self.place = place


@dataclass(frozen=True)
class Read:
    """One value that was read.

    Attributes:
        key: function, file and line that read it.
        value: what it gave.
        from_input: whether it depends on the values of the input.
    """

    key: Key
    value: Any
    from_input: bool

    @property
    def place(self) -> str:
        """Where, as refusals write it."""
        _, file, line = self.key
        return described(file, line, linecache.getline(file, line))

    @property
    def only_checks(self) -> bool:
        """Whether nothing but an assertion, or whether to raise, hangs on it."""
        return _only_checks(*self.key[1:])


def reads_of(call: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, list[Read]]:
    """Run a model on real tensors; what it returned, and all that it read by the way."""
    inputs = pytree.tree_map_only(Tensor, torch.clone, (args, kwargs))
    marks = _Marks()
    for leaf in pytree.tree_leaves(inputs):
        if isinstance(leaf, Tensor):
            marks.add(leaf)
    listening = _Listening(marks)
    with torch.no_grad(), _Spreading(marks), listening:
        output = call(*inputs[0], **inputs[1])
    return output, listening.reads


class Settled(TorchFunctionMode):
    """While torch.export runs the forward: each read at a known place gives what it gave in the real run.

    Raises:
        InputRead: at a read that depends on the input, and not only checks it.
    """

    def __init__(self, reads: Sequence[Read]) -> None:
        super().__init__()
        self._reads: dict[Key, list[Read]] = {}
        for read in reads:
            self._reads.setdefault(read.key, []).append(read)
        self._count: Counter[Key] = Counter()
        self.used: dict[str, Read] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        key = _key(func)
        known = self._reads.get(key) if key is not None else None
        if key is None or known is None:
            return func(*args, **(kwargs or {}))
        read = known[self._count[key] % len(known)]  # the forward may be run more than once
        self._count[key] += 1
        if read.from_input and read.key[0] in _GIVE_TENSORS:
            return func(*args, **(kwargs or {}))
        if read.from_input and not read.only_checks:
            raise InputRead(read.place)
        self.used[read.place] = read
        return read.value


class _Marks:
    """Memory that holds something computed from the input."""

    def __init__(self) -> None:
        self._kept: dict[int, Any] = {}  # a reference keeps the address from being given to somebody else

    def add(self, value: Tensor) -> None:
        memory = _memory(value)
        if memory is None:
            self._kept[id(value)] = value
        else:
            self._kept[memory] = StorageWeakRef(value.untyped_storage())  # type: ignore[no-untyped-call]

    def __contains__(self, value: Tensor) -> bool:
        return (_memory(value) or id(value)) in self._kept


def _memory(value: Tensor) -> int | None:
    try:
        return int(value.untyped_storage()._cdata)
    except (NotImplementedError, RuntimeError):  # sparse
        return None


class _Spreading(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """What is computed from marked tensors is marked, writes included."""

    def __init__(self, marks: _Marks) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._marks = marks

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if any(isinstance(leaf, Tensor) and leaf in self._marks for leaf in pytree.tree_leaves((args, kwargs))):
            for leaf in pytree.tree_leaves(result):
                if isinstance(leaf, Tensor):
                    self._marks.add(leaf)
        return result


class _Listening(TorchFunctionMode):
    """Keeps what is read."""

    def __init__(self, marks: _Marks) -> None:
        super().__init__()
        self._marks = marks
        self.reads: list[Read] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        key = _key(func)
        if key is not None:
            leaves = pytree.tree_leaves((args, kwargs))
            from_input = any(isinstance(leaf, Tensor) and leaf in self._marks for leaf in leaves)
            self.reads.append(Read(key, result, from_input))
            if key[0] == "tolist":  # torch.export reads a list element by element
                elements = pytree.tree_leaves(result)
                self.reads.extend(Read(("item", *key[1:]), element, from_input) for element in elements)
        return result


def _key(func: Any) -> Key | None:
    name = str(getattr(func, "__name__", ""))
    if name not in READERS:
        return None
    frame = next(users_frames(sys._getframe(2)), None)
    return None if frame is None else (name, frame.f_code.co_filename, frame.f_lineno)


def _only_checks(file: str, line: int) -> bool:
    try:
        tree = ast.parse("".join(linecache.getlines(file)))
    except SyntaxError:
        return False
    for node in ast.walk(tree):
        if isinstance(node, ast.Assert) and node.lineno <= line <= (node.end_lineno or node.lineno):
            return True
        if isinstance(node, ast.If) and node.test.lineno <= line <= (node.test.end_lineno or node.test.lineno):
            return all(isinstance(part, ast.Raise) for part in node.body) and not node.orelse
    return False
