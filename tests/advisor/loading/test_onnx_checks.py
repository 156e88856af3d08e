"""ONNX files of strangers: weights from elsewhere and operators of nobody's are refused before a runtime opens them."""

from __future__ import annotations

import contextlib
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from advisor.errors import AdvisorError
from advisor.loading.content import Content
from advisor.loading.onnx_checks import check_onnx

onnx = pytest.importorskip("onnx", reason="pip install 'partition-advisor[onnx]'")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

X, Y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 4]) for name in ("x", "y"))
WEIGHT = numpy_helper.from_array(np.ones((4, 4), np.float32), "w")


def model(*nodes: Any, weights: tuple[Any, ...] = (WEIGHT,), functions: tuple[Any, ...] = ()) -> Any:
    imports = [helper.make_opsetid(domain, 18) for domain in ("", "own", "com.evil")]
    graph = helper.make_graph(list(nodes), "g", [X], [Y], list(weights))
    return helper.make_model(graph, opset_imports=imports, functions=list(functions))


def node(operator: str = "MatMul", domain: str = "", inputs: tuple[str, ...] = ("x", "w"), **attributes: Any) -> Any:
    return helper.make_node(operator, list(inputs), ["y"], domain=domain, **attributes)


def external(place: str) -> Any:
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4, 4], raw_data=bytes(64))
    onnx.external_data_helper.set_external_data(tensor, place)
    tensor.data_location = TensorProto.EXTERNAL
    return tensor


def check(found: Any) -> tuple[str, ...]:
    return check_onnx(Content(Path("m.onnx"), found.SerializeToString()))


def test_what_the_standard_has_passes_and_files_beside_it_are_named() -> None:
    assert check(model(node())) == ()
    assert check(model(node(), weights=(external("m.onnx.data"),))) == ("m.onnx.data",)
    own = helper.make_function("own", "Twice", ["a"], ["b"], [helper.make_node("Add", ["a", "a"], ["b"])],
                               [helper.make_opsetid("", 18)])  # fmt: skip
    assert check(model(node("Twice", "own", ("x",)), functions=(own,))) == ()


@pytest.mark.parametrize("place", ["../secret", "/etc/passwd", "a/b", "..", ".", "", "C:\\x", "a\nb"])
def test_weights_from_elsewhere_are_refused_wherever_they_stand(place: str) -> None:
    inner = helper.make_graph([helper.make_node("Identity", ["w"], ["z"])], "i", [], [Y], [external(place)])
    branch = node("If", "", ("x",), then_branch=inner, else_branch=inner)
    constant = node("Constant", "", (), value=external(place))
    for found in (model(node(), weights=(external(place),)), model(branch), model(constant)):
        with pytest.raises(AdvisorError, match=r"takes weights from .* which is no file beside it"):
            check(found)


def test_operators_of_nobody_s_are_refused_wherever_they_stand() -> None:
    evil = helper.make_node("Run", ["x"], ["z"], domain="com.evil")
    inner = helper.make_graph([evil], "i", [], [Y])
    own = helper.make_function("own", "Twice", ["a"], ["b"], [evil], [helper.make_opsetid("com.evil", 1)])
    for found in (
        model(evil, node()),
        model(node("If", "", ("x",), then_branch=inner, else_branch=inner)),
        model(node("Twice", "own", ("x",)), functions=(own,)),
    ):
        with pytest.raises(AdvisorError, match=r"its operator 'com\.evil\.Run' is not of the ONNX standard"):
            check(found)


def test_a_second_graph_in_one_file_counts_too() -> None:
    """Readers merge fields that are there twice."""
    data = model(node()).SerializeToString() + model(node("Run", "com.evil")).SerializeToString()
    onnx.load_model_from_string(data)
    with pytest.raises(AdvisorError, match=r"com\.evil"):
        check_onnx(Content(Path("m.onnx"), data))


def test_bytes_that_are_no_model_end_in_one_line() -> None:
    right, chance = model(node()).SerializeToString(), random.Random(0)
    for _ in range(1000):
        data = bytearray(right)
        for _ in range(chance.randrange(1, 6)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        del data[chance.randrange(len(data)) :]
        with contextlib.suppress(AdvisorError):
            check_onnx(Content(Path("m.onnx"), bytes(data)))
    with pytest.raises(AdvisorError, match="no readable ONNX file"):
        check_onnx(Content(Path("m.onnx"), nested(200)))


def varint(number: int) -> bytes:
    found = bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    return bytes([*found, number])


def nested(depth: int) -> bytes:
    """A graph in an attribute of a node in a graph, and so on."""
    graph = b""
    for _ in range(depth):
        attribute = b"\x32" + varint(len(graph)) + graph
        node = b"\x2a" + varint(len(attribute)) + attribute
        graph = b"\x0a" + varint(len(node)) + node
    return b"\x3a" + varint(len(graph)) + graph


def test_a_field_under_a_number_that_other_readers_cut_to_32_bits() -> None:
    """The reader inside ONNX Runtime takes it for one of ONNX's own: a check that does not passes it by."""
    tensor = external("../secret")
    entry = tensor.external_data[0].SerializeToString()
    plain, long = b"\x6a" + bytes([len(entry)]) + entry, b"\xea\x80\x80\x80\x10" + bytes([len(entry)]) + entry
    hidden = tensor.SerializeToString().replace(plain, long)
    assert hidden != tensor.SerializeToString()
    graph = b"\x2a" + bytes([len(hidden)]) + hidden
    data = model(node(), weights=()).SerializeToString() + b"\x3a" + bytes([len(graph)]) + graph
    with pytest.raises(AdvisorError, match="no readable ONNX file"):
        check_onnx(Content(Path("m.onnx"), data))
