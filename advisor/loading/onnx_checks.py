"""An ONNX file before a runtime opens it: no operator but the standard's, no weights but from files beside it.

The file is walked as protobuf says it is laid out, without the `onnx` package: the edge has only its runtime.
"""

from __future__ import annotations

from collections.abc import Iterator

from advisor.errors import AdvisorError
from advisor.loading.content import Content, short

STANDARD = ("", "ai.onnx", "ai.onnx.ml")
DEEPEST = 64
AGAIN = "Export it again with `advisor split`."

_MODEL_GRAPH, _MODEL_FUNCTIONS = 7, 25
_GRAPH_NODES, _GRAPH_WEIGHTS, _GRAPH_SPARSE = 1, 5, 15
_NODE_OPERATOR, _NODE_ATTRIBUTES, _NODE_DOMAIN = 4, 5, 7
_ATTRIBUTE_TENSORS, _ATTRIBUTE_GRAPHS, _ATTRIBUTE_SPARSE = (5, 10), (6, 11), (22, 23)
_FUNCTION_NAME, _FUNCTION_NODES, _FUNCTION_DOMAIN = 1, 7, 10
_TENSOR_EXTERNAL = 13
_SPARSE_TENSORS = (1, 2)
_ENTRY_KEY, _ENTRY_VALUE = 1, 2
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def check_onnx(content: Content) -> tuple[str, ...]:
    """Names of the files beside it that hold weights of an ONNX model.

    Raises:
        AdvisorError: when it is damaged, uses an operator that is not of the standard, or weights from elsewhere.
    """
    try:
        return _Walk(content).files()
    except (ValueError, IndexError, UnicodeDecodeError, RecursionError):
        raise AdvisorError(f"{content.path} is no readable ONNX file.", AGAIN) from None


class _Walk:
    """One pass over a model; every occurrence of a field counts, as readers merge them."""

    def __init__(self, content: Content) -> None:
        self.content, self.outside = content, dict[str, None]()
        self.own: set[tuple[str, str]] = set()
        self.used: dict[tuple[str, str], None] = {}

    def files(self) -> tuple[str, ...]:
        model = memoryview(self.content.data)
        for function in _inner(model, _MODEL_FUNCTIONS):
            self.own.add((_text(function, _FUNCTION_DOMAIN), _text(function, _FUNCTION_NAME)))
            for node in _inner(function, _FUNCTION_NODES):
                self.node(node, 0)
        for graph in _inner(model, _MODEL_GRAPH):
            self.graph(graph, 0)
        for domain, operator in self.used:
            if domain not in STANDARD and (domain, operator) not in self.own:
                raise AdvisorError(
                    f"{self.content.path} is refused: its operator {short(f'{domain}.{operator}')!r} is not of the "
                    "ONNX standard.", AGAIN,
                )  # fmt: skip
        return tuple(self.outside)

    def graph(self, graph: memoryview, depth: int) -> None:
        if depth > DEEPEST:
            raise ValueError("too deep")
        for node in _inner(graph, _GRAPH_NODES):
            self.node(node, depth)
        for tensor in _inner(graph, _GRAPH_WEIGHTS):
            self.tensor(tensor)
        for sparse in _inner(graph, _GRAPH_SPARSE):
            self.sparse(sparse)

    def node(self, node: memoryview, depth: int) -> None:
        self.used[(_text(node, _NODE_DOMAIN), _text(node, _NODE_OPERATOR))] = None
        for attribute in _inner(node, _NODE_ATTRIBUTES):
            for tensor in _inner(attribute, *_ATTRIBUTE_TENSORS):
                self.tensor(tensor)
            for sparse in _inner(attribute, *_ATTRIBUTE_SPARSE):
                self.sparse(sparse)
            for graph in _inner(attribute, *_ATTRIBUTE_GRAPHS):
                self.graph(graph, depth + 1)

    def sparse(self, sparse: memoryview) -> None:
        for tensor in _inner(sparse, *_SPARSE_TENSORS):
            self.tensor(tensor)

    def tensor(self, tensor: memoryview) -> None:
        for entry in _inner(tensor, _TENSOR_EXTERNAL):
            if _text(entry, _ENTRY_KEY) != "location":
                continue
            place = _text(entry, _ENTRY_VALUE)
            if set(place) & set("/\\:\0") or place in ("", ".", "..") or not place.isprintable():
                raise AdvisorError(
                    f"{self.content.path} is refused: it takes weights from {short(place)!r}, which is no file beside "
                    "it.", AGAIN,
                )  # fmt: skip
            self.outside[place] = None


def _inner(message: memoryview, *wanted: int) -> Iterator[memoryview]:
    """The fields of these numbers that hold messages or texts."""
    for number, value in _fields(message):
        if number in wanted:
            yield value


def _text(message: memoryview, number: int) -> str:
    """A field's text, the last one counts; "" where it is absent."""
    found = ""
    for value in _inner(message, number):
        found = bytes(value).decode("utf-8")
    return found


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    """(number, bytes) of each length-delimited field; numbers are passed over.

    Raises:
        ValueError: on what is no protobuf; groups, which ONNX never had, are refused.
    """
    position = 0
    while position < len(message):
        tag, position = _varint(message, position)
        if tag >> 32:
            raise ValueError("a field has a number that other readers cut")
        kind = tag & 7
        if kind == _VARINT:
            _, position = _varint(message, position)
        elif kind in (_FIXED64, _FIXED32):
            position += 8 if kind == _FIXED64 else 4
        elif kind == _BYTES:
            size, position = _varint(message, position)
            if position + size > len(message):
                raise ValueError("truncated")
            yield tag >> 3, message[position : position + size]
            position += size
        else:
            raise ValueError("a group")
    if position != len(message):
        raise ValueError("truncated")


def _varint(message: memoryview, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = message[position]
        value, position = value | (byte & 127) << shift, position + 1
        if byte < 128:
            return value, position
    raise ValueError("a number is too long")
