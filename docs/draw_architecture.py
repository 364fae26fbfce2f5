"""The picture of docs/architecture.md, from the package's own imports: `python docs/draw_architecture.py`.

Left, the parts of the package in rows: a part stands one row above the highest part that it imports, and lines lead to
those that no other imported part stands for. Right, every import between parts: a dot below the diagonal would be one
that points upwards. Only parts and imports between them are drawn, so the picture changes when the structure does.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from html import escape
from pathlib import Path

ROOT = Path(__file__).parent.parent
PICTURE = ROOT / "docs" / "architecture.svg"
BESIDE = {"tests", "perf", "docs"}
"""Folders of the repository that are no part of the package."""

BOX, GAP, HEIGHT, ROW = 196, 20, 50, 82
CELL, LABELS = 30, 92
INK, PALE, FILL, DOT = "#1f2d3a", "#c4ced6", "#eaf1f6", "#2f6f9f"
HOW = f"font-family='system-ui, sans-serif' fill='{INK}'"

Graph = Mapping[str, set[str]]


def read() -> tuple[dict[str, set[str]], dict[str, list[str]]]:
    """By part of the package, the parts that it imports, and the names of its own sub-packages."""
    import grimp

    graph = grimp.build_graph("noisyfer", exclude_type_checking_imports=True, cache_dir=None)
    parts = {name.split(".")[1] for name in graph.modules if "." in name} - BESIDE
    imports: dict[str, set[str]] = {part: set() for part in parts}
    inside: dict[str, set[str]] = {part: set() for part in parts}
    for module in graph.modules:
        own = module.split(".")[1:]
        if not own or own[0] not in parts:
            continue
        if len(own) == 2 and graph.find_children(module):
            inside[own[0]].add(own[1])
        for imported in graph.find_modules_directly_imported_by(module):
            part = imported.split(".")[1:2]
            if part and part[0] in parts and part[0] != own[0]:
                imports[own[0]].add(part[0])
    return imports, {part: sorted(names) for part, names in inside.items()}


def depths(imports: Graph) -> dict[str, int]:
    """A part's row, counted from the bottom: one more than that of the highest part it imports.

    Raises:
        ValueError: parts import each other in a circle.
    """
    found: dict[str, int] = {}
    while len(found) < len(imports):
        ready = [part for part in sorted(imports) if part not in found and imports[part] <= found.keys()]
        if not ready:
            raise ValueError(f"{', '.join(sorted(imports.keys() - found.keys()))} import each other in a circle")
        found |= {part: max((found[other] + 1 for other in imports[part]), default=0) for part in ready}
    return found


def reduced(imports: Graph) -> list[tuple[str, str]]:
    """The imports that are no shorter way along others."""

    def reachable(part: str) -> set[str]:
        return imports[part].union(*(reachable(other) for other in imports[part]))

    return [
        (part, other)
        for part in sorted(imports)
        for other in sorted(imports[part])
        if not any(other in reachable(between) for between in imports[part] - {other})
    ]


def drawn(imports: Graph, inside: Mapping[str, list[str]]) -> str:
    """The picture as SVG."""
    rows = depths(imports)
    top = max(rows.values())
    by_row = [sorted(part for part in rows if rows[part] == top - number) for number in range(top + 1)]
    wide = max(len(row) for row in by_row)
    left = wide * (BOX + GAP) + GAP
    places = {
        part: ((left - len(row) * (BOX + GAP) + GAP) / 2 + column * (BOX + GAP), GAP + number * ROW)
        for number, row in enumerate(by_row)
        for column, part in enumerate(row)
    }
    order = [part for row in by_row for part in row]
    width, height = left + GAP + LABELS + len(order) * CELL + GAP, GAP + len(by_row) * ROW
    return "\n".join(
        [
            f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {height}' role='img'>",
            "<title>The parts of noisyfer and what they import</title>",
            f"<rect width='{width}' height='{height}' rx='8' fill='white'/>",
            *_lines(reduced(imports), places),
            *_boxes(places, inside),
            *_matrix(imports, order, left + GAP, (height - LABELS - len(order) * CELL) / 2),
            "</svg>\n",
        ]
    )


def _lines(edges: list[tuple[str, str]], places: Mapping[str, tuple[float, float]]) -> list[str]:
    ends = [(*places[part], *places[other]) for part, other in edges]
    return [
        f"<line x1='{x + BOX / 2:g}' y1='{y + HEIGHT:g}' x2='{to_x + BOX / 2:g}' y2='{to_y:g}' "
        f"stroke='{DOT}' stroke-width='1.5'/>"
        for x, y, to_x, to_y in ends
    ]


def _boxes(places: Mapping[str, tuple[float, float]], inside: Mapping[str, list[str]]) -> list[str]:
    found = []
    for part, (x, y) in places.items():
        middle, below = x + BOX / 2, inside[part]
        found.append(f"<rect x='{x:g}' y='{y:g}' width='{BOX}' height='{HEIGHT}' rx='6' fill='{FILL}' stroke='{DOT}'/>")
        found.append(_text(middle, y + (21 if below else 30), part, "font-size='15' font-weight='600'"))
        if below:
            found.append(_text(middle, y + 38, " · ".join(below), f"font-size='{11 if len(below) < 4 else 10}'"))
    return found


def _matrix(imports: Graph, order: list[str], x: float, y: float) -> list[str]:
    """A row a part, a column a part that it imports, both from the top of the picture down."""
    found = [_text(x + LABELS, y + 12, "imports", "font-size='12' font-style='italic'", "start")]
    for number, part in enumerate(order):
        middle = LABELS + (number + 0.5) * CELL
        found.append(_text(x + LABELS - 8, y + middle + 4, part, "font-size='12'", "end"))
        column = f"font-size='12' transform='rotate(-90 {x + middle + 4:g} {y + LABELS - 8:g})'"
        found.append(_text(x + middle + 4, y + LABELS - 8, part, column, "start"))
    for row, part in enumerate(order):
        for column_number, other in enumerate(order):
            corner = f"x='{x + LABELS + column_number * CELL:g}' y='{y + LABELS + row * CELL:g}'"
            shade = PALE if row == column_number else "none"
            found.append(f"<rect {corner} width='{CELL}' height='{CELL}' fill='{shade}' stroke='{PALE}'/>")
            if other in imports[part]:
                centre = f"cx='{x + LABELS + (column_number + 0.5) * CELL:g}' cy='{y + LABELS + (row + 0.5) * CELL:g}'"
                found.append(f"<circle {centre} r='6' fill='{DOT}'/>")
    return found


def _text(x: float, y: float, words: str, how: str, anchor: str = "middle") -> str:
    return f"<text x='{x:g}' y='{y:g}' text-anchor='{anchor}' {HOW} {how}>{escape(words)}</text>"


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT / ".typing"))
    PICTURE.write_text(drawn(*read()), encoding="utf-8")
