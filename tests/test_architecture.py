"""The picture of docs/architecture.md shows the imports as they are, and its drawing can go wrong visibly."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import pytest

pytest.importorskip("grimp", reason="grimp is not installed")
ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("draw_architecture", ROOT / "docs" / "draw_architecture.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_committed_picture_is_the_current_one(script: ModuleType) -> None:
    committed = (ROOT / "docs" / "architecture.svg").read_text(encoding="utf-8")
    assert script.drawn(*script.read()) == committed, "imports have changed: python docs/draw_architecture.py"


def test_every_import_between_parts_is_a_dot_and_none_points_upwards(script: ModuleType) -> None:
    imports, inside = script.read()
    rows = script.depths(imports)
    assert all(rows[other] < rows[part] for part in imports for other in imports[part])
    assert imports["models"] == {"core"}
    assert inside["models"] == ["methods", "networks"]
    picture = ElementTree.fromstring(script.drawn(imports, inside))
    dots = picture.findall("{http://www.w3.org/2000/svg}circle")
    assert len(dots) == sum(map(len, imports.values())) > 20


def test_rows_lines_and_circles(script: ModuleType) -> None:
    imports = {"top": {"left", "right", "base"}, "left": {"base"}, "right": {"base"}, "base": set[str]()}
    assert script.depths(imports) == {"base": 0, "left": 1, "right": 1, "top": 2}
    assert script.reduced(imports) == [("left", "base"), ("right", "base"), ("top", "left"), ("top", "right")]
    with pytest.raises(ValueError, match="one, other import each other in a circle"):
        script.depths({"one": {"other"}, "other": {"one"}, "base": set()})


def test_the_page_tells_of_every_part(script: ModuleType) -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    imports, inside = script.read()
    for part in imports:
        assert f"| `{part}" in page, part
    for names in inside.values():
        assert all(f"`{name}`" in page for name in names), names
