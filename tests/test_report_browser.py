"""The report in a real Chromium: it asks for nothing, runs nothing but its own script, and answers mouse and keys."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import browsers
import pytest
from browsers import watched
from noisyfer.benchmark.report import write_report
from report_runs import HOSTILE, IMAGE, MANIFEST

pytestmark = browsers.NEEDED


@pytest.fixture(scope="module")
def report(hostile_runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("page") / "report.html"
    write_report([hostile_runs], out, title=HOSTILE)
    return out


@pytest.fixture
def page(browser: Any, report: Path) -> Iterator[Any]:
    """The opened report; at the end nothing was on the console, asked for, or executed by a name."""
    with watched(browser, report.as_uri()) as opened:
        yield opened


def cells(page: Any, caption: str, column: int) -> list[str]:
    """The texts of a column of the rows that are seen."""
    script = """([caption, column]) => {
      const table = [...document.querySelectorAll("table")].find((each) => each.caption?.textContent === caption);
      return [...table.tBodies[0].rows].filter((row) => !row.hidden).map((row) => row.cells[column].textContent.trim());
    }"""
    return list(page.evaluate(script, [caption, column]))


def test_hostile_names_are_shown_and_executed_nothing(page: Any) -> None:
    assert page.title() == HOSTILE
    assert page.locator("h1").inner_text() == HOSTILE
    assert page.locator("script:not([type])").count() == 1
    assert page.locator("img:not([src^='data:'])").count() == 0
    page.get_by_text("vgg-all, seed 0, class", exact=True).click()
    names = page.locator("#confusion details").last.locator("thead th").all_inner_texts()
    assert names[:2] == [HOSTILE, IMAGE]
    assert page.evaluate("document.querySelectorAll('[onerror], [onmouseover], [style]').length") == 0
    loaded = page.evaluate("[...document.images].map((image) => image.complete && image.naturalWidth > 0)")
    assert loaded == [True, True]


def test_the_policy_stops_what_gets_in(browser: Any, report: Path) -> None:
    """Should a name ever become markup, the browser still refuses to run it, and says so."""
    page = browser.new_page()
    refused: list[str] = []
    page.on("console", lambda message: refused.append(message.text))
    page.goto(report.as_uri())
    page.evaluate("""() => { window.ran = 0; document.body.insertAdjacentHTML(
        "beforeend", "<b id=trap onclick='window.ran = 1'>x</b>"); }""")
    page.locator("#trap").click()
    assert page.evaluate("window.ran") == 0
    page.close()
    assert ["Content Security Policy" in text for text in refused] == [True]


def test_headings_sort_by_mouse_and_by_keyboard(page: Any) -> None:
    table = page.locator("#runs table").first
    heading = table.locator("thead th", has_text="last epoch")
    place = heading.evaluate("(each) => each.cellIndex")
    heading.locator("button").click()
    assert heading.get_attribute("aria-sort") == "ascending"
    rising = [float(text) for text in cells(page, "All runs", place)]
    assert rising == sorted(rising)
    heading.locator("button").focus()
    page.keyboard.press("Enter")
    assert heading.get_attribute("aria-sort") == "descending"
    assert [float(text) for text in cells(page, "All runs", place)] == sorted(rising, reverse=True)
    seed = table.locator("thead th", has_text="seed")
    seed.locator("button").focus()
    page.keyboard.press("Space")
    assert cells(page, "All runs", 2) == ["0", "0", "1"]
    assert table.locator("[aria-sort=ascending], [aria-sort=descending]").count() == 1


def test_the_filter_keeps_rows_with_all_words(page: Any) -> None:
    box = page.locator("#runs .filter")
    box.locator("input").fill("PROPOSED  seed1")
    assert len(cells(page, "All runs", 0)) == 1
    assert box.locator("[role=status]").inner_text() == "1 of 3 rows"
    box.locator("input").fill("<script>nothing")
    assert cells(page, "All runs", 0) == []
    box.locator("input").fill("")
    assert len(cells(page, "All runs", 0)) == 3


def test_the_legend_hides_a_series_in_all_charts_of_its_group(page: Any) -> None:
    charts = page.locator("#curves > .charts").first
    button = charts.locator(".legend button", has_text="vgg-all")
    drawn = charts.locator("svg [data-series='1']")

    def seen(series: Any) -> set[bool]:
        return set(series.evaluate_all("(all) => all.map((each) => getComputedStyle(each).display !== 'none')"))

    assert drawn.count() > 3
    assert seen(drawn) == {True}
    button.click()
    assert button.get_attribute("aria-pressed") == "false"
    assert seen(drawn) == {False}
    assert seen(charts.locator("svg [data-series='0']")) == {True}
    assert seen(page.locator("#calibration svg [data-series='1']")) == {True}
    button.focus()
    page.keyboard.press("Enter")
    assert button.get_attribute("aria-pressed") == "true"
    assert seen(drawn) == {True}


def test_values_are_read_by_pointer_and_by_arrow_keys(page: Any) -> None:
    chart = page.locator("#curves .chart").first
    plot = chart.locator(".plot")
    assert plot.get_attribute("role") == "slider"
    plot.focus()
    page.keyboard.press("Home")
    assert plot.get_attribute("aria-valuenow") == "0"
    assert (plot.get_attribute("aria-valuetext") or "").startswith("epoch 1: proposed 0.")
    page.keyboard.press("ArrowRight")
    assert chart.locator(".readout").inner_text().startswith("epoch 2: proposed 0.")
    page.keyboard.press("ArrowRight")  # there is no third epoch
    assert plot.get_attribute("aria-valuenow") == "1"
    bounds = plot.bounding_box()
    page.mouse.move(bounds["x"] + bounds["width"] * 0.2, bounds["y"] + bounds["height"] / 2)
    assert chart.locator(".readout").inner_text().startswith("epoch 1:")
    page.locator("#curves > .charts .legend button", has_text="proposed").first.click()
    assert "proposed" not in chart.locator(".readout").inner_text()
    chart.locator("details summary").click()
    chart.locator("details table").wait_for()  # it is made in the event after the click's
    assert chart.locator("details th").all_inner_texts() == ["epoch", "proposed", "vgg-all", "1", "2"]


def test_bars_are_read_with_the_whole_name_of_their_class(page: Any) -> None:
    chart = page.locator("#classes .chart").first
    chart.locator(".plot").focus()
    page.keyboard.press("Home")
    assert chart.locator(".readout b").inner_text() == f"class {HOSTILE}:"


def test_a_link_to_a_run_opens_it(page: Any) -> None:
    link = page.locator("#runs table a").first
    target = page.locator(f"#runs details{link.get_attribute('href')}")
    assert target.get_attribute("open") is None
    link.focus()
    page.keyboard.press("Enter")
    target.locator("pre").wait_for(state="visible")
    assert "noisyfer bench --method" in target.locator("pre").inner_text()


def test_the_first_tab_stop_skips_to_the_content(page: Any) -> None:
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "content"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_narrow_screen_never_scrolls_sideways(scheme: str, page: Any) -> None:
    page.set_viewport_size({"width": 390, "height": 800})
    page.emulate_media(color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (colour == "rgb(255, 255, 255)") == (scheme == "light")
    assert MANIFEST in page.locator("main").inner_text()
