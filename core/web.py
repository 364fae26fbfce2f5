"""Pages that are one file: opened from disk, with no request to anywhere, and everything foreign on them as text."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from .. import __version__
from .errors import UserError
from .files import refuse_second_writer, whole_file, write_failure

if TYPE_CHECKING:
    from jinja2 import Environment

CORE = __package__
"""The package whose `assets` hold the frame's own templates, style and script."""

_BEGINNING = b"<!doctype html"
"""What every page begins with, in capitals or not."""

_FORMATS = {b"\x89PNG\r\n\x1a\n": "png", b"\xff\xd8\xff": "jpeg", b"RIFF": "webp"}


@dataclass(frozen=True)
class Section:
    """A part of a page with a heading and an entry in the table of contents.

    Attributes:
        key: its anchor, made of letters, digits and `-`; given by the program, never by data.
        title: plain text.
        body: what it holds; a plain string is shown as text.
    """

    key: str
    title: str
    body: Markup | str


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        name: its heading.
        numeric: set flush right and sorted by number.
        meaning: what it holds, shown with the heading.
    """

    name: str
    numeric: bool = False
    meaning: str = ""


@dataclass(frozen=True)
class Cell:
    """A cell that is sorted by something else than its text, or marked.

    Attributes:
        text: plain text, or markup of the program's own.
        sort: number or text to sort by; None for what has no value, which comes last.
        mark: a class of the style sheet, such as `good` or `bad`; empty for none.
    """

    text: Markup | str
    sort: float | str | None = None
    mark: str = ""


Content = Cell | Markup | str | float | None
"""What a cell may be given as; None is shown as a dash."""


@cache
def environment(package: str = CORE) -> Environment:
    """Jinja's environment over a package's `assets` and the frame's: everything is escaped, a missing value raises.

    Args:
        package: dotted name of the package that holds the templates.
    """
    from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

    loaders = [PackageLoader(name, "assets") for name in dict.fromkeys((package, CORE))]
    return Environment(
        loader=ChoiceLoader(loaders),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=False,
    )


def render(template: str, package: str = CORE, **values: Any) -> Markup:
    """A template of a package's `assets`, filled; values that are no `Markup` are escaped."""
    return Markup(environment(package).get_template(template).render(**values))


def asset(name: str, package: str = CORE) -> str:
    """The text of a file of a package's `assets`, such as a style sheet or a script."""
    from importlib.resources import files

    return files(package).joinpath("assets", name).read_text(encoding="utf-8")


def page(title: str, sections: Sequence[Section], *, lead: Markup | str = "", style: str = "", script: str = "") -> str:
    """A whole HTML page.

    Its Content-Security-Policy names the hashes of its own style and script and allows `data:` images; any other
    script, style attribute, event handler, frame, form or request is refused by the browser, whatever data says.
    Half a pair of surrogates, as of bytes in a file's name that are no text, is shown as its escape.

    Args:
        title: plain text, also the first heading.
        sections: with different keys.
        lead: what stands below the title.
        style: rules after those of the frame, from the program's own assets.
        script: code after that of the frame, from the program's own assets.

    Raises:
        ValueError: two sections share a key, a key is no anchor, or a style or script holds its own end tag.
    """
    keys = [section.key for section in sections]
    if len(set(keys)) < len(keys) or not all(re.fullmatch(r"[A-Za-z][A-Za-z0-9-]*", key) for key in keys):
        raise ValueError(f"sections need different keys of letters, digits and '-': {keys}")
    style, script = asset("page.css") + style, asset("page.js") + script
    if "</style" in style.lower() or "</script" in script.lower():
        raise ValueError("a style or script holds the tag that ends it")
    policy = (
        f"default-src 'none'; script-src '{digest(script)}'; style-src '{digest(style)}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    html = render(
        "page.html",
        title=title,
        lead=lead,
        sections=sections,
        policy=policy,
        style=Markup(style),
        script=Markup(script),
        version=__version__,
    )
    return html.encode(errors="backslashreplace").decode()


def write_page(path: Path, html: str) -> None:
    """Write a page, whole or not at all.

    Raises:
        UserError: `path` is a folder, holds something that is no page, or cannot be written.
    """
    refuse_no_page(path)
    refuse_second_writer(path)
    with whole_file(path) as temporary:
        temporary.write_text(html, encoding="utf-8")


def refuse_no_page(path: Path) -> None:
    """Refuse to replace a file that is no page: somebody's manifest, or notes. Pages and empty files may be replaced.

    Args:
        path: where a page is to be written; also before the work of making it.

    Raises:
        UserError: something else stands there, or cannot be looked at.
    """
    try:
        # a folder has a sentence of its own when it is written to
        other = path.exists() and not path.is_dir() and not _may_be_replaced(path)
    except OSError as error:
        raise write_failure(path, error) from error
    if other:
        raise UserError(f"Cannot write the page {path}: a file that is no page stands there. Choose another name.")


def _may_be_replaced(path: Path) -> bool:
    if not path.is_file():  # a pipe or a device, which would keep a reader waiting
        return False
    with path.open("rb") as stream:
        beginning = stream.read(len(_BEGINNING))
    return not beginning or beginning.lower() == _BEGINNING


def table(
    caption: str,
    columns: Sequence[Column],
    rows: Sequence[Sequence[Content]],
    *,
    sortable: bool = True,
    filterable: bool = False,
) -> Markup:
    """A table whose headings are buttons that sort, in a box that scrolls by itself on a narrow screen.

    Args:
        caption: plain text.
        columns: headings; the first column names its row.
        rows: as many cells each as there are columns. None is shown as a dash.
        sortable: whether headings are buttons.
        filterable: whether a box above narrows the rows to those with all words typed.
    """
    filled = [[cell if isinstance(cell, Cell) else _cell(cell) for cell in row] for row in rows]
    return render("table.html", caption=caption, columns=columns, rows=filled, sortable=sortable, filterable=filterable)


def facts(pairs: Sequence[tuple[str, Any]]) -> Markup:
    """A list of names and values."""
    return Markup('<dl class="facts">{}</dl>').format(
        Markup("").join(Markup("<div><dt>{}</dt><dd>{}</dd></div>").format(name, value) for name, value in pairs)
    )


def folded(summary: Markup | str, body: Markup | str, key: str = "", *, opened: bool = False) -> Markup:
    """Something that is opened by its summary; a link to its key opens it too, and so does printing.

    Args:
        summary: what is always shown.
        body: what is shown when it is open.
        key: its anchor, given by the program; empty for none.
        opened: whether it is open at first.
    """
    anchor = Markup(' id="{}"').format(key) if key else ""
    state = Markup(" open") if opened else ""
    return Markup("<details{}{}><summary>{}</summary>{}</details>").format(anchor, state, summary, body)


def heading(text: str) -> Markup:
    """A heading inside a section."""
    return Markup("<h3>{}</h3>").format(text)


def note(text: Markup | str) -> Markup:
    """A paragraph of explanation."""
    return Markup('<p class="note">{}</p>').format(text)


def listed(texts: Sequence[Markup | str]) -> Markup:
    """A list of sentences."""
    return Markup("<ul>{}</ul>").format(Markup("").join(Markup("<li>{}</li>").format(text) for text in texts))


def joined(*parts: Markup | str) -> Markup:
    """Pieces of a page one after another; plain strings are escaped."""
    return Markup("\n").join(parts)


def image(data: bytes, meaning: str, caption: str = "") -> Markup:
    """A picture inside the page.

    Args:
        data: a whole PNG, JPEG or WebP file.
        meaning: what is to be seen, for who does not see it.
        caption: plain text below.

    Raises:
        ValueError: another format.
    """
    kind = next((kind for magic, kind in _FORMATS.items() if data.startswith(magic)), None)
    if kind is None:
        raise ValueError("a PNG, JPEG or WebP file was expected")
    source = f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"
    below = Markup("<figcaption>{}</figcaption>").format(caption) if caption else ""
    return Markup('<figure class="picture"><img src="{}" alt="{}">{}</figure>').format(source, meaning, below)


def number_cell(text: str) -> Cell:
    """A cell of a number, or of a mean with its deviation as `1.2 ± 0.3`, sorted by the number; a dash comes last."""
    if text == "–":
        return Cell(text)
    value, sign, deviation = text.partition(" ± ")
    return Cell(Markup("{}<small>{}{}</small>").format(value, sign, deviation) if sign else text, float(value))


def _cell(value: Markup | str | float | None) -> Cell:
    if value is None:
        return Cell("–")
    if isinstance(value, str):
        return Cell(value, None if isinstance(value, Markup) else value)
    return Cell(f"{value:,}" if isinstance(value, int) else f"{value:.4g}", float(value))


def digest(text: str) -> str:
    """A script's or style's hash as a Content-Security-Policy names it."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode('ascii')}"
