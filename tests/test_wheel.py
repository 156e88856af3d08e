"""The wheel: every package and data file is inside, nothing else, and it works where only it was installed."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import advisor
from tests.test_imports import FOLDERS, ROOT

pytestmark = [pytest.mark.slow, pytest.mark.wheel]
DATA = ("*.toml", "*.j2", "*.css", "py.typed", "*.js")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, so that nothing is left in the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in FOLDERS:
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", folder, source)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def bare(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment that holds this wheel alone; the packages that it needs are seen, not the checkout."""
    folder = tmp_path_factory.mktemp("bare")
    run(sys.executable, "-m", "venv", "--without-pip", folder)
    (packages,) = [*folder.glob("lib/*/site-packages"), *folder.glob("Lib/site-packages")]
    seen = [path for path in sys.path if path.endswith("site-packages")]
    (packages / "seen.pth").write_text("\n".join(seen) + "\n", encoding="utf-8")
    scripts = folder / ("Scripts" if sys.platform == "win32" else "bin")
    run(
        sys.executable,
        "-m",
        "pip",
        "--python",
        scripts / "python",
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
        wheel,
    )
    return scripts


def run(*words: object, cwd: Path | None = None) -> str:
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, cwd=cwd, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_package_and_data_file_is_inside_and_nothing_else(wheel: Path) -> None:
    wanted = {
        f"{package.replace('.', '/')}/{path.relative_to(ROOT / folder).as_posix()}"
        for folder, package in FOLDERS.items()
        for pattern in ("*.py", *DATA)
        for path in (ROOT / folder).rglob(pattern)
    }
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert names == wanted


def test_it_says_its_version_once(wheel: Path) -> None:
    assert wheel.name.startswith(f"partition_advisor-{advisor.__version__}-")


def test_it_runs_where_only_it_was_installed(bare: Path, tmp_path: Path) -> None:
    home = run(bare / "python", "-c", "import advisor; print(advisor.__file__)", cwd=tmp_path)
    assert Path(home.strip()).is_relative_to(bare.parent)
    assert "recommend" in run(bare / "advisor", "--help", cwd=tmp_path)
    assert "jetson" in run(bare / "advisor", "devices", cwd=tmp_path)
    assert run(bare / "advisor", "--version", cwd=tmp_path).strip() == f"advisor {advisor.__version__}"
