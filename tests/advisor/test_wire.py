"""The wire's codec: nothing changes on the way, and bytes that are no message are refused in one line."""

from __future__ import annotations

import contextlib
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import advisor
from advisor import wire
from advisor.cuts import ITEM_BYTES
from advisor.payload import Payload
from tests.models import ZOO

PLAIN = [name for name in wire.DTYPES if name not in wire._BITS]
SHAPES = arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5)
ARRAYS = st.sampled_from(PLAIN).flatmap(lambda name: arrays.arrays(np.dtype(name), SHAPES))
SAMPLE = [np.arange(6, dtype=np.float32).reshape(2, 3), np.array([[True], [False]]), np.array([1, 2], np.int64)]


def test_every_dtype_that_may_cross_has_a_code_of_its_width() -> None:
    assert {name: np.dtype(kind).itemsize for name, (_, kind) in wire.DTYPES.items()} == ITEM_BYTES
    assert len({code for code, _ in wire.DTYPES.values()}) == len(wire.DTYPES)


@given(st.lists(ARRAYS, min_size=1, max_size=5))
@settings(max_examples=80, deadline=None)
def test_what_is_packed_comes_back(given: list[np.ndarray]) -> None:
    message = wire.pack(given)
    found = wire.unpack(message)
    assert wire.describe(message) == tuple((a.dtype.name, a.shape) for a in given)
    for a, b in zip(given, found, strict=True):
        assert (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())
        assert b.flags.writeable
        assert b.flags.aligned
    table = sum(4 + 8 * a.ndim for a in given)
    assert len(message) == 16 + table + sum(a.nbytes for a in given)
    assert wire.pack(found) == message


@given(st.lists(ARRAYS, min_size=1, max_size=3), st.data())
@settings(max_examples=50, deadline=None)
def test_a_message_that_was_cut_or_lengthened_is_refused(given: list[np.ndarray], data: st.DataObject) -> None:
    message = wire.pack(given)
    size = data.draw(st.integers(0, len(message) - 1))
    with pytest.raises(wire.WireError, match="truncated"):
        wire.unpack(message[:size])
    with pytest.raises(wire.WireError, match="too long"):
        wire.unpack(message + b"\0")


@given(st.binary(max_size=200), st.booleans())
@settings(max_examples=150, deadline=None)
def test_foreign_bytes_never_give_arrays_by_accident(noise: bytes, headed: bool) -> None:
    data = struct.pack("<4sB", wire.MAGIC, wire.VERSION) + noise if headed else noise
    with contextlib.suppress(wire.WireError):
        found = wire.unpack(data)
        assert wire.pack(found, [name for name, _ in wire.describe(data)]) == data


@pytest.mark.parametrize("dtype", [getattr(torch, name) for name in wire.DTYPES if name != "complex32"], ids=str)
def test_torch_tensors_travel_in_every_dtype(dtype: torch.dtype) -> None:
    sent = (torch.arange(6) % 2).reshape(2, 3).to(dtype)
    (found,) = wire.unpack_torch(wire.pack([sent]))
    assert found.dtype == dtype
    assert torch.equal(found.to(torch.complex128), sent.to(torch.complex128))


def test_what_a_half_returns_is_packed_as_it_is() -> None:
    """A bare tensor is one tensor, not one a row; several made of one by a defense come in their order."""
    x, mask = torch.arange(6.0).reshape(2, 3), torch.tensor([True, False])
    assert wire.pack(x) == wire.pack([x]) == wire.pack(x.numpy())
    assert wire.pack({"scores": x, "mask": mask}) == wire.pack((x, mask))
    assert wire.describe(wire.pack(((x, mask), x))) == (("float32", (2, 3)), ("bool", (2,)), ("float32", (2, 3)))


@given(st.lists(ARRAYS, min_size=1, max_size=4))
@settings(max_examples=20, deadline=None)
def test_overhead_is_all_but_the_elements(given: list[np.ndarray]) -> None:
    assert wire.overhead(a.ndim for a in given) + sum(a.nbytes for a in given) == len(wire.pack(given))


def test_the_layout_is_the_documented_one() -> None:
    message = wire.pack([np.array([[1.5, -2.0]], ">f4")])
    head = b"PAWT" + bytes([1, 1, 0, 0]) + (8).to_bytes(8, "little")
    table = bytes([11, 2, 0, 0]) + (1).to_bytes(8, "little") + (2).to_bytes(8, "little")
    assert message == head + table + struct.pack("<2f", 1.5, -2.0)


def test_bits_that_numpy_cannot_name_are_given_with_their_dtype() -> None:
    bits = torch.tensor([1.0, -0.5]).bfloat16().view(torch.int16).numpy().view(np.uint16)
    message = wire.pack([bits], ["bfloat16"])
    assert wire.describe(message) == (("bfloat16", (2,)),)
    assert np.array_equal(wire.unpack(message)[0], bits)
    assert torch.equal(wire.unpack_torch(message)[0], torch.tensor([1.0, -0.5]).bfloat16())


def entry(code: int, *shape: int) -> bytes:
    return bytes([code, len(shape), 0, 0]) + struct.pack(f"<{len(shape)}Q", *shape)


def message(*entries: bytes, payload: bytes = b"", count: int | None = None, version: int = 1) -> bytes:
    head = struct.pack("<4sBBHQ", b"PAWT", version, len(entries) if count is None else count, 0, len(payload))
    return head + b"".join(entries) + payload


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "truncated: 0 bytes, its header has 16"),
        (b"GET / HTTP/1.1\r\n\r\n", "no message of this wire format"),
        (message(entry(2, 1), payload=b"a", version=2), "version 2, this code reads version 1"),
        (message(), "header makes no sense"),
        (message(entry(99, 1), payload=b"a"), "table makes no sense"),
        (message(bytes([2, 33, 0, 0]) + bytes(8 * 33)), "table makes no sense"),
        (message(entry(2, 2**60)), "1152921504606846976 bytes of tensors, 0 of payload"),
        (message(entry(11, 0, 2**63)), r"No tensor can have the shape \(0, 9223372036854775808\)"),
        (message(entry(1, 1), payload=b"\2"), "something else than 0 and 1"),
        (message(entry(2, 1), payload=b"a", count=200), "truncated in its table"),
    ],
)
def test_what_is_no_message(data: bytes, said: str) -> None:
    with pytest.raises(wire.WireError, match=said) as caught:
        wire.unpack(data)
    assert "\n" not in str(caught.value)


SPECS: list[dict[str, Any]] = [
    {"dtype": "float32", "shape": [3]},
    {"dtype": "bool", "shape": [1]},
    {"dtype": "int64", "shape": []},
]


def test_a_receiver_takes_only_what_its_plan_says() -> None:
    data = wire.pack(SAMPLE)
    assert all(map(np.array_equal, wire.unpack(data, SPECS), SAMPLE))
    for other in (SPECS[:2], [*SPECS[:2], {"dtype": "int32", "shape": []}], [{"dtype": "float32", "shape": [4]}]):
        with pytest.raises(wire.WireError, match=r"holds float32\[3\], bool\[1\], int64\[\] a sample, the plan says"):
            wire.unpack(data, other)
    with pytest.raises(wire.WireError, match="different batches"):
        wire.unpack(wire.pack([SAMPLE[0], SAMPLE[1][:1], SAMPLE[2]]), SPECS)


@pytest.mark.parametrize(
    ("tensors", "dtypes", "said"),
    [
        ([], None, "1 to 255 tensors, not 0"),
        ([np.zeros(1)] * 256, None, "1 to 255 tensors, not 256"),
        ([np.array(["a"])], None, "no code on the wire"),
        ([np.zeros(1)], ["bfloat16"], "type bfloat16 must be given as uint16"),
        ([np.zeros(1)], ["a", "b"], "1 tensors but 2 dtypes"),
        ([torch.zeros((1,) * 33)], None, "33 dimensions"),
        ([torch.zeros(1), None], None, "A NoneType is no tensor"),
        ([torch.eye(2).to_sparse()], None, "sparse_coo tensor of type float32 has no code"),
    ],
)
def test_what_cannot_be_packed(tensors: list[Any], dtypes: list[str] | None, said: str) -> None:
    with pytest.raises(wire.WireError, match=said):
        wire.pack(tensors, dtypes)


def test_the_file_works_alone_with_numpy_and_without_torch(tmp_path: Path) -> None:
    (tmp_path / "wire.py").write_bytes(Path(str(wire.__file__)).read_bytes())
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); sys.modules['torch'] = sys.modules['advisor'] = None\n"
        "import wire, numpy as np\n"
        "a = [np.arange(6, dtype='f4').reshape(2, 3), np.array([True])]\n"
        "b = wire.unpack(wire.pack(a))\n"
        "assert all(map(np.array_equal, a, b)); print('same')"
    )
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "same"


@pytest.mark.parametrize("text", ["none", "gaussian:sigma=0.1", "int8"])
@pytest.mark.parametrize(("name", "cut", "most"), [("chain", "act", 1), ("residual", None, 2)])
def test_a_half_takes_what_arrived_as_it_arrived(text: str, name: str, cut: str | None, most: int) -> None:
    """`cloud(*unpack(pack(edge(x))))`, one tensor or several, one of each or several made of one."""
    x, net = ZOO[name].inputs(3), ZOO[name].model()
    graph = advisor.trace(net, ZOO[name].inputs(2), max_tensors=most)
    place = graph.cut(cut) if cut else next(c for c in graph.cuts[1:-1] if len(c.tensors) > 1)
    edge, cloud = Payload.of(graph, place, text).halves()
    arrived = wire.unpack_torch(wire.pack(edge(x)))
    assert len(arrived) == len(place.tensors) * (3 if text == "int8" else 1)
    assert torch.allclose(cloud(*arrived), net(x), atol=0.5)


def test_a_conjugate_that_torch_has_not_carried_out_yet_is_sent_as_it_reads() -> None:
    z = torch.complex(torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 4.0]]))
    conjugate, imaginary = z.conj(), z.conj().imag
    found = wire.unpack(wire.pack((conjugate, imaginary)))
    assert found[0].tolist() == [[1 - 3j, 2 - 4j]]
    assert found[1].tolist() == [[-3.0, -4.0]]


@pytest.mark.parametrize("data", [None, "text", 5, [], {}, torch.zeros(3), memoryview(b"PAWT" * 9)[::2]])
@pytest.mark.parametrize("read", [wire.unpack, wire.describe, wire.unpack_torch])
def test_what_is_no_row_of_bytes_is_refused_as_a_message_is(data: Any, read: Any) -> None:
    with pytest.raises(wire.WireError, match="A message is contiguous bytes, not a"):
        read(data)


def test_a_refusal_is_short_however_many_tensors_came() -> None:
    many = wire.pack([np.zeros((1,) * 32, np.float32)] * 255)
    with pytest.raises(wire.WireError, match="and 247 more a sample, the plan says") as caught:
        wire.unpack(many, [{"dtype": "float32", "shape": [4]}])
    assert len(str(caught.value)) < 2000
