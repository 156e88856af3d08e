"""Who may import whom, which library has which home, and that starting up stays cheap."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = {"advisor": "advisor", "profilers": "advisor.profilers", "estimators": "advisor.estimators",
           "reports": "advisor.reports"}  # fmt: skip

LAYERS: dict[str, tuple[str, ...]] = {
    "ground": tuple(
        f"advisor.{name}"
        for name in (
            "loading",
            "tracing",
            "derivatives",
            "data",
            "measures",
            "cut_view",
            "sweep",
            "defenses",
            "payload",
            "support.checkpoint",
            "variant",
        )
    ),
    "profilers": ("advisor.profilers",),
    "estimators": ("advisor.estimators",),
    "reports": ("advisor.reports",),
    "training": ("advisor.defenses.training", "advisor.defenses.methods"),
    "library": ("advisor.planning", "advisor.exporting"),
    "runtime": ("advisor.runtime",),
    "contracts": ("advisor.testing",),
    "command line": ("advisor.cli", "advisor.commands", "advisor.__main__"),
}
"""By name of the layer its packages; the longest that fits decides. Every other module of `advisor/` is a noun."""

MEASURING = {"nouns", "ground", "profilers", "estimators"}
MAY_IMPORT = {
    "nouns": {"nouns"},
    "ground": {"nouns", "ground"},
    "profilers": {"nouns", "ground", "profilers"},
    "estimators": {"nouns", "ground", "estimators"},
    "reports": {"nouns", "reports"},
    "training": {"nouns", "ground", "estimators", "training"},
    "library": MEASURING | {"training", "library", "runtime"},  # an export holds a copy of the runtime's edge
    "runtime": {"nouns", "ground", "runtime"},  # files of others go through the checks of loading
    "contracts": MEASURING | {"training", "library", "reports", "contracts"},
    "command line": MEASURING | {"training", "library", "reports", "command line", "runtime"},
}

SURFACE = ("advisor", "advisor.upward")
"""The public surface and the lazy table: they name what they load in tables, and for type checkers."""

ANSWERED = {
    ("advisor.plans", "advisor.exporting.manifest"),  # what Plan.export returns, for type checkers
    ("advisor.plans", "advisor.defenses"),  # a plan says its defense in JSON
    ("advisor.runtime.opened", "advisor.exporting.manifest"),  # what plan.json says, validated
}
"""The few imports that go up on purpose."""

HOMES = {
    "optuna": (
        "advisor.planning.shared_study.study_storage",
        "advisor.planning.shared_study.results",
        "advisor.planning.searching.rounds",
        "advisor.planning.searching.study_books",
        "advisor.planning.shared_study.fitted_store",
    ),
    "typer": ("advisor.cli", "advisor.commands"),
    "vl_convert": ("advisor.reports.charts.vega",),
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
    fitting = [(len(p), name) for name, packages in LAYERS.items() for p in packages if within(module, (p,))]
    return max(fitting)[1] if fitting else "nouns"


def upward() -> set[tuple[str, str]]:
    """Imports that a layer may not have."""
    return {
        (module, name)
        for module, path in MODULES.items()
        for name in imported(path) & MODULES.keys()
        if module not in SURFACE and name not in SURFACE and layer(name) not in MAY_IMPORT[layer(module)]
    }


def circles(imports: Mapping[str, set[str]]) -> list[set[str]]:
    """Groups of modules that reach each other (strongly connected components of more than one), by Tarjan 1972."""
    order: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    found: list[set[str]] = []

    def visit(module: str) -> None:
        order[module] = lowest[module] = len(order)
        stack.append(module)
        for name in sorted(imports[module]):
            if name not in order:
                visit(name)
            if name in stack:
                lowest[module] = min(lowest[module], lowest[name])
        if lowest[module] == order[module]:
            group = stack[stack.index(module) :]
            del stack[-len(group) :]
            if len(group) > 1:
                found.append(set(group))

    for module in imports:
        if module not in order:
            visit(module)
    return found


def test_imports_go_downwards() -> None:
    assert upward() == ANSWERED


def test_no_circle_of_imports() -> None:
    """Deferred and type-only imports counted; that a module loads the packages it lies in is none of its imports."""
    graph = {module: (imported(path) & MODULES.keys()) - {module} for module, path in MODULES.items()}
    assert circles(graph) == []


def test_no_circle_of_the_folders_of_planning() -> None:
    """Each stands on those below it: the listing tells the architecture."""

    def place(module: str) -> str:
        return ".".join(module.split(".")[:3])

    inside = {module: path for module, path in MODULES.items() if within(module, ("advisor.planning",))}
    graph: dict[str, set[str]] = {place(module): set() for module in inside}
    for module, path in inside.items():
        graph[place(module)] |= {place(name) for name in imported(path) & inside.keys()} - {place(module)}
    assert circles(graph) == []


def test_a_circle_is_found() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": set(), "e": {"d"}}) == [{"a", "b", "c"}]
    assert circles({"a": {"b", "c"}, "b": {"d"}, "c": {"d"}, "d": set()}) == []


def test_the_lazy_table_names_what_is_there() -> None:
    from advisor.upward import PUBLIC, REACHED, reach

    assert set(REACHED) == {
        "REPORTS", "is_report", "plan_lines", "still_page", "Payload", "export", "load_variant", "save_variant",
        "trace",
    }  # fmt: skip
    for name in PUBLIC | REACHED:
        assert reach(name) is getattr(sys.modules[(PUBLIC | REACHED)[name]], name)


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


HEAVY = {"torch", "torchvision", "optuna", "vl_convert", "fvcore", "sklearn", "scipy", "torchmetrics", "pandas"}
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
    code = "from advisor.advice import load_advice\nfrom advisor.reports import REPORTS"
    assert not {"torch", "optuna"} & loaded_after(code, ROOT)


def test_a_name_stands_for_one_thing() -> None:
    """Two files of one name would do different jobs; `base` is each family's protocol."""
    count = Counter(path.stem for path in MODULES.values() if path.stem not in ("__init__", "base"))
    assert {name for name, times in count.items() if times > 1} == set()
