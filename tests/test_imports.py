"""Who may import whom, which library has which home, and that starting up stays cheap."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = {"advisor": "advisor", "profilers": "advisor.profilers", "estimators": "advisor.estimators",
           "reports": "advisor.reports"}  # fmt: skip

COMMAND_LINE = ("advisor.cli", "advisor.commands", "advisor.__main__")
LIBRARY = ("advisor.planning",)
"""The search and the API; every other module of `advisor/` is ground."""

MAY_IMPORT = {
    "ground": {"ground"},
    "profilers": {"ground", "profilers"},
    "estimators": {"ground", "estimators"},
    "reports": {"ground", "reports"},
    "library": {"ground", "profilers", "estimators", "reports", "library"},
    "command line": {"ground", "profilers", "estimators", "reports", "library", "command line"},
}
PUBLIC = {
    ("advisor", "advisor.estimators.attacks.runner"),  # the lazy public surface, for type checkers only
    ("advisor", "advisor.planning.api"),
    ("advisor", "advisor.planning.recommending"),
    ("advisor.plans", "advisor.reports.html"),  # Advice.save writes the page
}
"""The few imports that go up on purpose."""

HOMES = {
    "fvcore": ("advisor.profilers.macs",),
    "optuna": ("advisor.planning.search",),
    "typer": ("advisor.cli", "advisor.commands"),
    "matplotlib": ("advisor.reports",),
    "jinja2": ("advisor.reports",),
    "networkx": ("advisor.cutting.hull",),
    "torchmetrics": ("advisor.measures",),
}


def modules() -> Iterator[tuple[str, Path]]:
    for folder, package in FOLDERS.items():
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = path.relative_to(ROOT / folder).with_suffix("").parts
            yield ".".join([package, *(part for part in parts if part != "__init__")]), path


MODULES = dict(modules())


def imported(path: Path) -> set[str]:
    """Every module that a file names in an import, also inside functions and for type checkers."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in MODULES else str(node.module) for name in names}
    return found


def within(module: str, packages: tuple[str, ...]) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def layer(module: str) -> str:
    for folder in ("profilers", "estimators", "reports"):
        if within(module, (f"advisor.{folder}",)):
            return folder
    return "command line" if within(module, COMMAND_LINE) else "library" if within(module, LIBRARY) else "ground"


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_downwards(module: str) -> None:
    for name in imported(MODULES[module]):
        if within(name, ("advisor",)) and name != "advisor" and (module, name) not in PUBLIC:
            assert layer(name) in MAY_IMPORT[layer(module)], (
                f"{module} ({layer(module)}) imports {name} ({layer(name)})"
            )


def test_the_exceptions_are_still_needed() -> None:
    assert {(module, name) for module, name in PUBLIC if name in imported(MODULES[module])} == PUBLIC


@pytest.mark.parametrize("library", HOMES)
def test_each_library_has_one_home(library: str) -> None:
    users = {module for module, path in MODULES.items() if any(within(n, (library,)) for n in imported(path))}
    assert users
    assert all(within(module, HOMES[library]) for module in users), users


def test_reports_need_no_torch() -> None:
    for module, path in MODULES.items():
        if layer(module) == "reports":
            assert not any(within(name, ("torch", "torchvision", "torchmetrics")) for name in imported(path)), module


def test_no_module_shadows_a_public_function() -> None:
    import advisor

    assert not {f"advisor.{name}" for name in advisor.__all__} & set(MODULES)
    for name in advisor.__all__:
        first, second = getattr(advisor, name), getattr(advisor, name)
        assert first is second
        assert not isinstance(first, type(sys)), name


def loaded_after(code: str, cwd: Path) -> set[str]:
    """Top-level packages that are loaded after some code ran in a fresh interpreter."""
    script = f"{code}\nimport sys; print(*sorted({{name.split('.')[0] for name in sys.modules}}), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=cwd)
    return set(done.stderr.split())


HEAVY = {"torch", "torchvision", "optuna", "matplotlib", "fvcore", "sklearn", "scipy", "torchmetrics", "pandas"}
HELP = """
import sys
sys.argv = ['advisor', {arguments}]
from advisor.cli import main
try:
    main()
except SystemExit as end:
    assert end.code == 0
"""


@pytest.mark.parametrize(
    "code",
    ["import advisor", HELP.format(arguments="'--help'"), HELP.format(arguments="'recommend', '--help'")],
    ids=["import", "--help", "recommend --help"],
)
def test_starting_up_loads_nothing_heavy(code: str) -> None:
    loaded = loaded_after(code, ROOT)
    assert "advisor" in loaded
    assert not HEAVY & loaded


def test_reading_and_showing_an_advice_needs_no_torch() -> None:
    code = "from advisor.plans import load_advice\nfrom advisor.reports import REPORTS"
    assert not {"torch", "optuna"} & loaded_after(code, ROOT)
