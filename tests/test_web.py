"""Pages that are one file: what is foreign is text on them, and the policy lets nothing else run."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from pathlib import Path

import pytest
from markupsafe import Markup
from noisyfer.core.charts import Series, group, line_chart
from noisyfer.core.errors import UserError
from noisyfer.core.web import (
    Cell,
    Column,
    Section,
    environment,
    facts,
    folded,
    image,
    joined,
    listed,
    note,
    number_cell,
    page,
    table,
    write_page,
)
from page_reading import Reading, check_self_contained

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</script><script>alert(1)</script>",
    "' onmouseover='alert(1)",
    "</title></style><b>",
    "{{ 7 * 7 }}",
    "\u2028<!--",
)


@pytest.mark.parametrize("text", HOSTILE)
def test_foreign_text_is_text_wherever_it_stands(text: str) -> None:
    chart = line_chart(text, [Series(text, [1, 2], [0.5, 0.25])])
    html = page(
        text,
        [
            Section("a", text, joined(text, group([text], [chart]), note(text), listed([text]), facts([(text, text)]))),
            Section("b", text, joined(folded(text, text), image(b"\xff\xd8\xff", text, text))),
            Section("c", text, table(text, [Column(text, meaning=text)], [[text], [Cell(text, text, "bad")]])),
        ],
        lead=text,
    )
    found = check_self_contained(html)
    assert found.text.count(text) == 23
    (data,) = (json.loads(raw) for raw in found.raw["script"] if raw.startswith("{"))
    assert (data["title"], data["series"][0]["name"]) == (text, text)
    assert [name for name, _ in found.elements if name in ("b", "img", "title", "h2")].count("b") == 0
    harmless = Reading(html.replace(text, "x"))
    assert [name for name, _ in found.elements] == [name for name, _ in harmless.elements]


def test_the_policy_names_the_pages_own_style_and_script_and_nothing_else() -> None:
    found = Reading(page("A page", [Section("one", "One", "text")], style="b{top:0}", script="\n// more"))
    policies = [each for _, each in found.elements if each.get("http-equiv") == "Content-Security-Policy"]
    parts = dict(part.strip().split(" ", 1) for part in (policies[0]["content"] or "").split(";"))
    for name in ("script", "style"):
        (text,) = found.raw[name]
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert parts.pop(f"{name}-src") == f"'sha256-{digest}'"
    assert found.raw["style"][0].endswith("b{top:0}")
    assert found.raw["script"][0].endswith("// more")
    assert parts == {"default-src": "'none'", "img-src": "data:", "base-uri": "'none'", "form-action": "'none'"}


def test_a_page_has_what_those_need_who_do_not_see_or_point() -> None:
    found = Reading(page("A page", [Section("one", "One", "text"), Section("two", "Two", "more")]))
    assert ("html", {"lang": "en"}) in found.elements
    anchors = [attributes["href"] for name, attributes in found.elements if name == "a"]
    assert anchors == ["#content", "#one", "#two"]
    ids = [attributes["id"] for _, attributes in found.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {anchor[1:] for anchor in anchors if anchor} <= set(ids)
    labelled = [attributes["aria-labelledby"] for name, attributes in found.elements if name == "section"]
    assert set(labelled) <= set(ids)


@pytest.mark.parametrize("keys", [("a", "a"), ("a b", "c"), ("1", "c"), ('"', "c")])
def test_keys_are_anchors_and_differ(keys: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match="different keys"):
        page("A page", [Section(key, "One", "") for key in keys])


def test_a_script_that_ends_itself_is_refused() -> None:
    with pytest.raises(ValueError, match="ends it"):
        page("A page", [], script="'</script>'")


def test_cells_of_a_table_say_what_they_are_sorted_by() -> None:
    made = table(
        "Table",
        [Column("name"), Column("value", numeric=True)],
        [["a", 1234], ["b", 0.123456], ["c", None], ["d", number_cell("2.0 ± 0.1")], [Markup("<i>e</i>"), "text"]],
    )
    found = Reading(made)
    assert [row[1] for row in found.tables["Table"]] == ["value", "1,234", "0.1235", "–", "2.0 ± 0.1", "text"]
    keys = [each.get("data-sort") for name, each in found.elements if name == "td"]
    assert keys == ["1234.0", "0.123456", None, "2.0", None]
    headings = [each for name, each in found.elements if name == "th" and each.get("scope") == "col"]
    assert [each["aria-sort"] for each in headings] == ["none", "none"]
    assert [name for name, _ in found.elements].count("i") == 1


def test_a_value_that_a_template_misses_is_an_error() -> None:
    from jinja2 import UndefinedError

    with pytest.raises(UndefinedError):
        environment().get_template("page.html").render(title="only")


def test_a_picture_is_of_a_known_format() -> None:
    assert 'src="data:image/png;base64,' in image(b"\x89PNG\r\n\x1a\nrest", "a picture")
    with pytest.raises(ValueError, match="PNG, JPEG or WebP"):
        image(b"<svg onload='alert(1)'/>", "a picture")


def test_a_file_name_that_is_no_text_is_shown_by_its_escape(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9")
    write_page(tmp_path / "page.html", page(name, [Section("one", name, note(name))]))
    found = Reading((tmp_path / "page.html").read_text(encoding="utf-8"))
    assert found.text.count("caf\\udce9") == 5


def test_a_page_takes_no_folders_place(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="it is a folder"):
        write_page(tmp_path, page("A page", []))
    write_page(tmp_path / "page.html", page("A page", []))
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]


@pytest.mark.parametrize("there", [b"", b"<!doctype html><title>older</title>", b"<!DOCTYPE HTML>"])
def test_a_page_takes_an_older_ones_place(there: bytes, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_bytes(there)
    write_page(path, page("A page", []))
    assert "A page" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("there", [b"PAR1 a manifest", b"\n<!doctype html>", b"<!doc", b"notes"])
def test_a_page_takes_no_other_files_place(there: bytes, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_bytes(there)
    with pytest.raises(UserError, match=r"a file that is no page stands there\. Choose another name"):
        write_page(path, page("A page", []))
    assert path.read_bytes() == there
    assert [entry.name for entry in tmp_path.iterdir()] == ["page.html"]


def test_a_page_takes_no_pipes_place_and_does_not_wait_for_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match="no page stands there"):
        write_page(tmp_path / "pipe", page("A page", []))
