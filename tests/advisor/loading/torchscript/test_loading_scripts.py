"""TorchScript from a stranger: what reaches more than tensors is refused before torch sees it, in whatever spelling."""

from __future__ import annotations

import contextlib
import io
import pickle
import warnings
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from torch import nn

from advisor.errors import AdvisorError, UnsafeFileError
from advisor.loading import load_model
from advisor.loading.archives import inspect_archive
from advisor.loading.torchscript.converter import script_dangers
from advisor.loading.torchscript.graphs import graph_dangers
from tests import hostile


def main_file() -> tuple[str, str]:
    """Name and text of the member that defines the outermost module."""
    content = hostile.honest("torchscript")
    with zipfile.ZipFile(io.BytesIO(content)) as file:
        name = next(n.split("/", 1)[1] for n in file.namelist() if "container" in n and n.endswith(".py"))
    return name, hostile.member(content, name).decode()


def crafted(folder: Path, line: str, **changes: bytes) -> Path:
    """An honest archive with one more line at the start of its forward."""
    name, text = main_file()
    head, tail = text.split("-> Tensor:\n", 1)
    code = f"{head}-> Tensor:\n    {line}\n{tail}".encode()
    return hostile.rewritten(hostile.honest("torchscript"), {name: code, **changes}, folder / "m.pt")


LINES = {
    "dict of others": 'x = {{"a": torch.from_file("{mark}", True, 8)}}["a"]',
    "dict that unpacks": "x = {{**input}}",
    "dict that is computed": 'x = {{k: torch.from_file("{mark}", True, 8) for k in ["a"]}}',
    "plain": 'x = torch.from_file("{mark}", True, 8)',
    "blank before the dot": 'x = torch . from_file("{mark}", True, 8)',
    "blank after the dot": 'x = torch. from_file("{mark}", True, 8)',
    "parentheses": 'x = (torch).from_file("{mark}", True, 8)',
    "getattr": 'x = getattr(torch, "from_file")("{mark}", True, 8)',
    "getattr with an escape": 'x = getattr(torch, "\\x66rom_file")("{mark}", True, 8)',
    "getattr of two texts": 'x = getattr(torch, "from" "_file")("{mark}", True, 8)',
    "alias of torch": 't = torch\n    x = t.from_file("{mark}", True, 8)',
    "alias of the operator": 'f = torch.from_file\n    x = f("{mark}", True, 8)',
    "alias in a tuple": 'f, g = torch.from_file, torch.relu\n    x = f("{mark}", True, 8)',
    "method of a text": 'x = "{mark}".from_file(True, 8)',
    "method of a tensor": "x = input.save(input)",
    "getattr of a tensor": 'x = getattr(input, "from_file")',
    "other space": 'x = ops.aten.from_file("{mark}", True, 8)',
    "image operators": 'x = ops.image.read_file("{mark}")',
    "cast to another space": "x = ops.evil.run(input)",
    "joined lines": 'x = torch.\\\n      from_file("{mark}", True, 8)',
    "line joined by parentheses": 'x = (torch\n      .from_file)("{mark}", True, 8)',
    "semicolon": 'pass; x = torch.from_file("{mark}", True, 8)',
    "comment": "# torch",
    "tab": 'x\t= torch.from_file("{mark}", True, 8)',
    "other letters": 'x = t\u043erch.from_file("{mark}", True, 8)',
    "wide letters": 'x = torch.\uff46rom_file("{mark}", True, 8)',
    "save": 'x = torch.save(input, "{mark}")',
    "prefix": 'x = getattr(torch, f"from_file")("{mark}", True, 8)',
    "lambda": 'x = (lambda a: torch.from_file(a, True, 8))("{mark}")',
    "comprehension": 'x = [torch.from_file(a, True, 8) for a in ["{mark}"]]',
    "argument by name": 'x = torch.relu(self=torch.from_file("{mark}", True, 8))',
    "in a condition": 'if torch.from_file("{mark}", True, 8):\n      pass',
    "in an index": 'x = input[torch.from_file("{mark}", True, 8)]',
    "with": "with torch.no_grad():\n      pass",
    "import": "import os",
    "global": "global input",
    "PythonOp": "x = ops.prim.PythonOp(input)",
    "fork": "x = fork(self.forward, input)",
    "print": 'x = print("\\n")',
    "seed": "x = torch.manual_seed(1)",
    "other storage": "x = torch.set_(input, input)",
    "unchecked alias": "x = torch._reshape_alias(input, [99999], [1])",
    "class of a backend": "x : __torch__.torch.classes.evil.Class = input",
    "a name of nothing": "x = nothing",
    "torch assigned": "torch = input",
    "getattr assigned": "getattr = input",
    "unknown function": "x = __torch__.evil.run(input)",
    "a double underscore": "x = input.__class__",
}


@pytest.mark.parametrize("name", LINES)
def test_code_that_torch_would_not_write_is_refused_unread(name: str, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    mark.write_bytes(b"." * 32)
    path = crafted(tmp_path, LINES[name].replace("{mark}", str(mark)))
    with pytest.raises(UnsafeFileError, match=r"^[^\n]*--trust$"):
        load_model(path)
    assert mark.read_bytes() == b"." * 32


def test_the_line_that_is_tested_does_write(tmp_path: Path) -> None:
    """With trust the same line opens the file for writing: what the tests above refuse is real."""
    mark = tmp_path / "mark"
    mark.write_bytes(b"." * 32)
    line = f'x = torch.zero_(torch.from_file("{mark}", True, 8))\n    input = torch.add(input, torch.sum(x))'
    with contextlib.suppress(AdvisorError):
        load_model(crafted(tmp_path, line), trust=True)
    assert mark.read_bytes() == b"\0" * 32


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"CODE/__torch__/a.py": b"def f(x: Tensor) -> Tensor:\n  return x\n"}, "torch writes no member"),
        ({"code/__torch__/a.py": b"def f(x: Tensor) -> Tensor:\n  return __torch__.a.f(x)\n"}, "calls itself"),
        ({"code/__torch__/a.py": b"class A:\n  pass\n"}, "which is no module"),
        ({"code/__torch__/a.py": b"class A(Module):\n  def __setstate__(self, x: int) -> int:\n    return x\n"},
         "runs when it is loaded"),
        ({"code/__torch__/a.py": b"class A(Module):\n  x : Final[int] = f(1)\n"}, "a constant of its class"),
        ({"code/__torch__/a.py": b"x = 1\n"}, "its code holds a Assign"),
        ({"code/__torch__/a.py": b"def f(x: Tensor) -> Tensor:\n" + b" " * 90 + b"(" * 500}, "its code cannot be read"),
        ({"code/__torch__/a.py": "".join(
            ["def f0(x: Tensor) -> Tensor:\n  return torch.relu(x)\n"]
            + [f"def f{i}(x: Tensor) -> Tensor:\n  y = __torch__.a.f{i - 1}(x)\n  return __torch__.a.f{i - 1}(y)\n"
               for i in range(1, 40)]).encode()}, "grows to more than"),
        ({"data.pkl": pickle.dumps(hostile.Payload(Path("x")), 2)}, r"it holds a __builtin__\.exec"),
        ({"data.pkl": b"\x80\x02c__torch__.torch.classes.evil\nX\n)\x81."}, r"it holds a __torch__\.torch\.classes"),
    ],
)  # fmt: skip
def test_members_that_torch_would_not_write_need_trust(
    change: dict[str, bytes | None], reason: str, tmp_path: Path
) -> None:
    path = hostile.rewritten(hostile.honest("torchscript"), change, tmp_path / "m.pt")
    with pytest.raises(UnsafeFileError, match=reason):
        load_model(path)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"data/1": b""}, "its record '1' has too few bytes"),
        ({"data.pkl": b"\x80\x02]r\xff\xff\xff\x3f."}, "remembers a value number"),
        ({"data.pkl": b"\x80\x02" + b"(" * 5000}, "it has no end|pickle exhausted"),
        ({"data.pkl": b"\x80\x02c__torch__.A\nB\n)\x81q\x00}X\x01\x00\x00\x00ah\x00sb."}, "holds itself"),
        ({"data.pkl": b"\x80\x02ctorch.jit._pickle\nrestore_type_tag\n]X\x02\x00\x00\x00L;\x86R."},
         "a type in it is none"),
    ],
)  # fmt: skip
def test_damage_is_one_line(change: dict[str, bytes | None], reason: str, tmp_path: Path) -> None:
    path = hostile.rewritten(hostile.honest("torchscript"), change, tmp_path / "m.pt")
    with pytest.raises(AdvisorError, match=reason) as caught:
        load_model(path)
    assert caught.value.exit_code == 2
    assert len(str(caught.value)) < 600


def test_a_tensor_beyond_its_storage_is_refused(tmp_path: Path) -> None:
    """The reader in C++ lays a tensor over its storage without looking whether it fits."""
    text = hostile.member(hostile.honest("torchscript"), "data.pkl")
    small = text.replace(b"K\x05K\x90t", b"K\x05M\xff\xfft", 1)
    assert small != text
    path = hostile.rewritten(hostile.honest("torchscript"), {"data.pkl": small}, tmp_path / "m.pt")
    with pytest.raises(AdvisorError, match="reaches beyond the 720 elements of its storage"):
        load_model(path)


def test_a_tree_that_doubles_at_each_level_is_refused(tmp_path: Path) -> None:
    levels = [b"c__torch__.A\nB\n)\x81q\x00}b0"]
    for level in range(1, 40):
        mention = bytes([ord("h"), level - 1])
        levels.append(b"c__torch__.A\nB\n)\x81q" + bytes([level]) + b"}(X\x01\x00\x00\x00a" + mention
                      + b"X\x01\x00\x00\x00b" + mention + b"ub0")  # fmt: skip
    data = b"\x80\x02" + b"".join(levels) + b"h\x27."
    path = hostile.rewritten(hostile.honest("torchscript"), {"data.pkl": data}, tmp_path / "m.pt")
    with pytest.raises(AdvisorError, match="more than 200,000 modules"):
        load_model(path)


def test_compiled_graphs_are_held_to_the_list() -> None:
    """A second look, at what torch made of the code: operators inside branches and called functions are seen."""

    class Hidden(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if bool(x.sum() > 0):
                torch.save(x, "never")
            return x

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        script: Any = torch.jit.script(Hidden())
    assert "it would call aten::save" in set(graph_dangers(script))


class Named(nn.Module):
    """Several outputs by name, which torch writes as a dict."""

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"logits": x.relu(), "features": nn.functional.rrelu(x, training=False)}


@pytest.mark.parametrize("how", ["trace", "script"])
def test_outputs_by_name_need_no_trust(how: str, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = Named().eval()
        made: Any = (
            torch.jit.trace(model, torch.rand(2, 4), strict=False) if how == "trace" else torch.jit.script(model)
        )  # type: ignore[no-untyped-call]
        torch.jit.save(made, tmp_path / "m.pt")
    assert list(script_dangers(inspect_archive(tmp_path / "m.pt"))) == []
    assert list(graph_dangers(made)) == []


@pytest.mark.parametrize("how", ["trace", "script"])
@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small"])
def test_what_people_save_needs_no_trust(name: str, how: str, tmp_path: Path) -> None:
    """All classifiers of torchvision: benchmarks/torchscript_zoo.py."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = torchvision.models.get_model(name).eval()
        script: Any = torch.jit.script(model) if how == "script" else None
        if script is None:
            script = torch.jit.trace(model, torch.rand(1, 3, 64, 64), check_trace=False)  # type: ignore[no-untyped-call]
        torch.jit.save(script, tmp_path / "m.pt")
    assert list(script_dangers(inspect_archive(tmp_path / "m.pt"))) == []
    assert list(graph_dangers(script)) == []
