"""The repository: one import package, imports that point downwards, modules of a size one can read."""

from __future__ import annotations

import ast
import tomllib
from importlib.metadata import version
from pathlib import Path

import noisyfer

ROOT = Path(__file__).parent.parent
PACKAGE_FOLDERS = ("core", "images", "training", "benchmark", "models", "relabel", "api", "commands")
LAYERS = {
    **{"core": 0, "images": 1, "manifest": 1, "models": 1, "training": 2},
    **{"benchmark": 3, "relabel": 3, "api": 4, "commands": 5, "cli": 6},
}
"""A part may import parts of a lower number only (`core` also the version at the root)."""


def modules() -> list[Path]:
    """Every module of the package."""
    inside = [path for folder in PACKAGE_FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]
    return [ROOT / "__init__.py", ROOT / "cli.py", ROOT / "manifest.py", *inside]


def test_the_packages_listed_are_those_in_the_tree() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    found = {"noisyfer"} | {
        "noisyfer." + ".".join(path.parent.relative_to(ROOT).parts)
        for path in modules()
        if path.name == "__init__.py" and path.parent != ROOT
    }
    assert set(settings["packages"]) == found


def test_package_data_is_where_the_globs_look() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    for package, globs in settings["package-data"].items():
        folder = ROOT.joinpath(*package.split(".")[1:])
        for pattern in globs:
            assert list(folder.glob(pattern)), (package, pattern)


def test_the_version_is_told_once() -> None:
    assert version("noisyfer") == noisyfer.__version__


def imported_parts(path: Path) -> set[str]:
    """The parts of the package that a module imports, by its relative imports."""
    inside = path.relative_to(ROOT).parts
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = inside[: len(inside) - node.level]
            target = [*base, *(node.module or "").split(".")] if node.module else [*base]
            found |= {target[0]} if target else {alias.name for alias in node.names}
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            assert not any(name.split(".")[0] == "noisyfer" for name in names), f"{path}: absolute import of noisyfer"
    return found - {"__version__"}


def test_imports_point_downwards_only() -> None:
    seen = set()
    for path in modules():
        own = path.relative_to(ROOT).parts[0].removesuffix(".py")
        for part in imported_parts(path):
            if part == own or own == "__init__":
                continue
            seen.add((own, part))
            assert LAYERS[part] < LAYERS[own], f"{path} imports {part}"
    assert ("commands", "benchmark") in seen
    assert ("benchmark", "models") in seen


def test_models_know_of_no_files_manifests_or_commands() -> None:
    for path in sorted((ROOT / "models").rglob("*.py")):
        assert imported_parts(path) <= {"models", "core"}, path
        names = {
            alias.name.split(".")[0]
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Import)
            for alias in node.names
        }
        assert not names & {"pathlib", "json", "click", "pyarrow", "pandas"}, path


def test_no_module_is_over_four_hundred_lines() -> None:
    assert not [str(path) for path in modules() if len(path.read_text().splitlines()) > 400]
