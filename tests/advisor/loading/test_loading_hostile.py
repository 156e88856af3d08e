from __future__ import annotations

import contextlib
import pickle
from pathlib import Path

import pytest
import torch

from advisor.errors import AdvisorError, UnsafeFileError
from advisor.loading import load_model
from advisor.loading.allowed_operators import is_plain
from advisor.loading.exported_programs.program_checks import plain_expression, plain_operator
from advisor.loading.pickles import imports
from tests import hostile


def attempt(path: Path) -> AdvisorError:
    with pytest.raises(AdvisorError) as caught:
        load_model(path, arch="tests.hostile:net")
    return caught.value


@pytest.mark.parametrize("name", hostile.RUNS_CODE)
def test_a_file_that_would_run_code_is_refused_unrun(name: str, tmp_path: Path) -> None:
    mark, folder = tmp_path / "mark", tmp_path / "files"
    folder.mkdir()
    path = hostile.RUNS_CODE[name](folder, mark)
    error = attempt(path)
    assert isinstance(error, UnsafeFileError), error
    assert error.exit_code == 4
    assert str(error).endswith(f"advisor recommend {path} --trust")
    assert "\n" not in str(error)
    assert not mark.exists()
    assert list(folder.iterdir()) == [path]


@pytest.mark.parametrize("name", hostile.UNRUN)
def test_a_script_in_place_of_tensors_is_left_out(name: str, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    path = hostile.UNRUN[name](tmp_path, mark)
    with contextlib.suppress(AdvisorError):  # the tensors beside the script may fit
        load_model(path)
    assert not mark.exists()
    with contextlib.suppress(Exception):
        torch.export.load(path)
    assert mark.exists(), "the script is real"


@pytest.mark.parametrize("name", hostile.BROKEN)
def test_a_broken_file_is_refused_in_one_line(name: str, tmp_path: Path) -> None:
    mark, folder = tmp_path / "mark", tmp_path / "files"
    folder.mkdir()
    before = set(tmp_path.rglob("*"))
    path = hostile.BROKEN[name](folder, mark)
    error = attempt(path)
    assert error.exit_code == 2, error
    assert "\n" not in str(error)
    assert error.next_step
    assert not mark.exists()
    assert set(tmp_path.rglob("*")) - before <= {path}


def test_guards_of_a_program_never_become_code(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    change = hostile.program(lambda content, m: content.update(guards_code=[hostile.expression(m)]))
    loaded = load_model(change(tmp_path, mark))
    loaded.model.module()(torch.rand(2, 3, 8, 8))  # type: ignore[operator]
    assert not mark.exists()


@pytest.mark.parametrize(
    "name", ["pickle in zip", "legacy pickle", "pickled sample inputs", "size is code", "pickled weight, protocol 0"]
)
def test_the_payload_is_real(name: str, tmp_path: Path) -> None:
    """The canary does sing: what the other tests check for happens once the file is trusted."""
    mark = tmp_path / "mark"
    with contextlib.suppress(AdvisorError):
        load_model(hostile.RUNS_CODE[name](tmp_path, mark), arch="tests.hostile:net", trust=True)
    assert mark.exists()


def test_trust_is_asked_for_with_what_the_file_would_do(tmp_path: Path) -> None:
    asked: list[str] = []

    def no(reason: str) -> bool:
        asked.append(reason)
        return False

    path = hostile.RUNS_CODE["pickle in zip"](tmp_path, tmp_path / "mark")
    with pytest.raises(UnsafeFileError, match=r"would import (builtins|__builtin__)\.exec"):
        load_model(path, trust=no)
    assert len(asked) == 1
    assert "exec" in asked[0]


def test_the_command_that_goes_on_quotes_the_path(tmp_path: Path) -> None:
    path = tmp_path / "my model.pt"
    path.write_bytes(hostile.honest("module"))
    with pytest.raises(UnsafeFileError, match=r"advisor recommend '.*my model\.pt' --trust$"):
        load_model(path)


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_imports_are_named_without_running(protocol: int, tmp_path: Path) -> None:
    data = pickle.dumps([torch.Size([1]), hostile.Payload(tmp_path / "mark")], protocol=protocol)
    named = imports(data)
    assert any(name.endswith(".exec") for name in named)
    assert "torch.Size" in named
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize(
    "text",
    ["s0", "Symbol('s31', positive=True, integer=True)", "2*s0 + 1", "(s0 + 3)//4", "Max(1, u0)", "s0**2", "-int_oo"],
)
def test_sizes_that_torch_writes_pass(text: str) -> None:
    assert plain_expression(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "s0.a",
        "f(s0)",
        "s0;s1",
        "'a'",
        "[s0]",
        "{s0}",
        "s0:=1",
        "Symbol('a b')",
        "__s0",
        "9**9**9**9",
        "1" * 30,
    ],
)
def test_other_sizes_do_not(text: str) -> None:
    assert not plain_expression(text)


def test_operators_are_those_that_exist() -> None:
    assert plain_operator("torch.ops.aten.conv2d.default")
    assert plain_operator("_operator.getitem")
    assert not plain_operator("torch.ops.aten.conv2d")
    assert not plain_operator("torch.ops.aten.no_such_operator.default")
    assert not plain_operator("torch.ops.aten.save.default")


ENDING = [
    "__round_to_zero_floordiv",
    "_transform_bias_rescale_qkv",
    "_batch_norm_no_update",
    "_stack",
    "_pdist_forward",
    "promote_types",
]


@pytest.mark.parametrize("name", ENDING)
def test_kernels_that_end_the_process_on_odd_operands_are_not_allowed(name: str) -> None:
    """Division by zero, an empty list, statistics that are absent, dimensions that are not there."""
    assert not is_plain("aten", name)
