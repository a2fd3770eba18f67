"""The HTML report in a real browser, opened from disk: charts, themes, phone width, sample browser, hostile answers."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from html_helpers import HOSTILE, write_answered_run

from benchmarks.results.folder import open_runs
from reports.pages import write_site
from reports.paper_tables import Plan

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    CHROMIUM is None or DRIVER is None,
    reason="needs Chromium and chromedriver (Debian: apt-get install chromium chromium-driver)",
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> str:
    root = tmp_path_factory.mktemp("site")
    runs = [write_answered_run(root / "runs" / name, seed) for seed, name in enumerate(("first", "second"))]
    page = write_site(Plan(tuple(open_runs(runs))), root / "html")
    return page.parent.as_uri()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(str(DRIVER)))
    yield driver
    driver.quit()


def set_view(browser: Any, width: int = 1280, height: int = 900, scheme: str = "light") -> None:
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    media = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": media})


def wait(browser: Any, script: str) -> Any:
    from selenium.webdriver.support.ui import WebDriverWait

    return WebDriverWait(browser, 20).until(lambda driver: driver.execute_script(f"return {script}"))


def open_samples(browser: Any, site: str, state: str = "") -> None:
    browser.get("about:blank")
    browser.get(f"{site}/samples.html#{state}")
    wait(browser, "document.querySelectorAll('.detail h2, .detail .empty').length > 0")


def complaints(browser: Any) -> list[str]:
    return [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]


def pages(site: str) -> list[str]:
    folder = Path(site.removeprefix("file://"))
    return sorted(path.name for path in folder.glob("*.html"))


def test_every_page_opens_without_complaint_and_without_network(site: str, browser: Any) -> None:
    complaints(browser)
    for page in pages(site):
        browser.get(f"{site}/{page}")
        addresses = browser.execute_script("return performance.getEntriesByType('resource').map(entry => entry.name)")
        assert all(address.startswith(("file://", "data:")) for address in addresses)
        assert browser.find_element("css selector", "h1").get_attribute("textContent")
    assert complaints(browser) == []


def test_overview_draws_twelve_rows_with_dots_intervals_and_words(site: str, browser: Any) -> None:
    browser.get(f"{site}/index.html")
    rows = browser.find_elements("css selector", ".plot-row")
    assert len(rows) == 12
    plot = rows[7].find_element("css selector", "svg.plot")
    assert [len(plot.find_elements("css selector", f"{form}.point")) for form in ("circle", "rect")] == [1, 1]
    assert len(plot.find_elements("css selector", "line.interval")) == 2
    assert len(plot.find_elements("css selector", "path.reference")) == 1
    words = plot.get_attribute("aria-label")
    assert re.match(
        r"POPE: first [\d.]+ (±[\d.]+|\([\d.]+ to [\d.]+\)); second .*AKI-4B \(Ours\) 86.9; other rows", words
    )
    circle = plot.find_element("css selector", "circle.point")
    share = float(circle.find_element("xpath", "..").get_attribute("x").rstrip("%"))
    shown = float(words.split("first ")[1].split(" ")[0])
    assert share == pytest.approx(shown, abs=0.1)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("page", ["index.html", "benchmark-pope.html", "compare.html", "samples.html", "paper.html"])
def test_text_has_contrast_in_both_themes(scheme: str, page: str, site: str, browser: Any) -> None:
    set_view(browser, scheme=scheme)
    browser.get("about:blank")
    browser.get(f"{site}/{page}")
    if page == "samples.html":
        wait(browser, "document.querySelectorAll('.detail h2').length > 0")
    assert browser.execute_script(LOW_CONTRAST) == []
    set_view(browser)


LOW_CONTRAST = r"""
const parse = (colour) => (colour.match(/[\d.]+/g) || []).map(Number);
const linear = (c) => (c <= 0.03928 * 255 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4);
const light = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
const behind = (element) => {
  for (let each = element; each; each = each.parentElement) {
    const colour = parse(getComputedStyle(each).backgroundColor);
    if (colour.length === 3 || colour[3] === 1) return colour;
  }
  return [255, 255, 255];
};
const low = [];
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const element = walker.currentNode.parentElement;
  if (!walker.currentNode.textContent.trim() || !element.getClientRects().length) continue;
  if (element.closest("option, svg")) continue;
  const [one, two] = [light(parse(getComputedStyle(element).color)), light(behind(element))].sort((a, b) => b - a);
  if ((one + 0.05) / (two + 0.05) < 4.5) low.push(`${element.className}: ${element.textContent.slice(0, 40)}`);
}
return low;
"""


@pytest.mark.parametrize("page", ["index.html", "benchmark-pope.html", "compare.html", "samples.html", "paper.html"])
def test_phone_width_does_not_scroll_sideways(page: str, site: str, browser: Any) -> None:
    set_view(browser, 390, 800)
    browser.get("about:blank")
    browser.get(f"{site}/{page}")
    if page == "samples.html":
        wait(browser, "document.querySelectorAll('.detail h2').length > 0")
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 390
    set_view(browser)


def test_theme_can_be_chosen_and_is_remembered(site: str, browser: Any) -> None:
    set_view(browser, scheme="light")
    browser.get(f"{site}/index.html")
    before = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    browser.find_element("id", "theme").click()
    after = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert after != before
    browser.get(f"{site}/paper.html")
    assert browser.execute_script("return getComputedStyle(document.body).backgroundColor") == after
    browser.find_element("id", "theme").click()


def test_hostile_answers_are_text(site: str, browser: Any) -> None:
    complaints(browser)
    open_samples(browser, site, "task=pope&id=0")
    said = browser.find_elements("css selector", ".answer .said")
    assert said[0].get_attribute("textContent") == HOSTILE
    assert browser.execute_script("return window.hacked") is None
    assert browser.find_elements("css selector", ".detail script, .detail img[src='x'], .detail iframe") == []
    browser.get(f"{site}/index.html")
    assert browser.execute_script("return window.hacked") is None
    assert complaints(browser) == []


def test_filters_count_what_the_scores_say(site: str, browser: Any) -> None:
    open_samples(browser, site, "task=pope&b=-")
    runs = open_runs([Path(site.removeprefix("file://")).parent / "runs" / "first"])
    scores = runs[0].scores("pope", "kit")
    for result, expected in (
        ("right", sum(score.value == 1 for score in scores)),
        ("wrong", sum(score.value == 0 for score in scores)),
        ("unscored", sum(score.value is None for score in scores)),
    ):
        choose(browser, "result", result)
        assert count(browser) == (expected, len(scores))
    choose(browser, "result", "all")
    choose(browser, "group", "popular")
    assert count(browser)[0] == sum("popular" in score.groups for score in scores)


def choose(browser: Any, field: str, value: str) -> None:
    browser.execute_script(
        "const field = document.getElementById(arguments[0]); field.value = arguments[1];"
        "field.dispatchEvent(new Event('change', {bubbles: true}))",
        field,
        value,
    )


def count(browser: Any) -> tuple[int, int]:
    text = wait(browser, "(document.getElementById('count').textContent.match(/^[\\d,]+ of [\\d,]+/) || [null])[0]")
    first, second = text.replace(",", "").split(" of ")
    return int(first), int(second)


def test_two_runs_show_what_flipped(site: str, browser: Any) -> None:
    open_samples(browser, site, "task=real_world_qa&a=first&b=second&result=lost")
    folder = Path(site.removeprefix("file://")).parent / "runs"
    first, second = (
        {score.index: score.value for score in run.scores("real_world_qa", "kit")}
        for run in open_runs([folder / "first", folder / "second"])
    )
    lost = [index for index, value in first.items() if value == 1 and second[index] == 0]
    assert count(browser) == (len(lost), len(first))
    assert browser.find_element("css selector", ".flip").text == "Lost: first right, second wrong"
    assert len(browser.find_elements("css selector", ".answer")) == 2
    assert "result=lost" in browser.current_url


def test_gained_and_lost_are_said_with_the_names_of_the_runs(site: str, browser: Any) -> None:
    open_samples(browser, site, "task=real_world_qa&a=first&b=second")
    said = "return document.querySelector('#result option[value=lost]').textContent"
    assert browser.execute_script(said) == "lost: first right, second wrong"
    choose(browser, "run-a", "second")
    choose(browser, "run-b", "first")
    assert browser.execute_script(said) == "lost: second right, first wrong"


def test_exports_of_other_filters_have_other_names_and_hold_the_options(site: str, browser: Any) -> None:
    open_samples(browser, site, "task=real_world_qa&a=first&b=second")
    browser.execute_script(
        "window.saved = []; AKI.exports.save = (name, type, text) => window.saved.push([name, text])"
    )
    for result in ("gained", "lost"):
        choose(browser, "result", result)
        browser.find_element("id", "export-csv").click()
        wait(browser, f"window.saved.length === {1 + (result == 'lost')}")
    (gained, text), (lost, _) = browser.execute_script("return window.saved")
    assert (gained, lost) == ("real_world_qa.first.second.kit.gained.csv", "real_world_qa.first.second.kit.lost.csv")
    assert json.loads(next(csv.DictReader(io.StringIO(text)))["choices"]) == {"A": "Yes", "B": "No"}


def test_on_a_phone_a_tapped_sample_comes_into_view(site: str, browser: Any) -> None:
    set_view(browser, 390, 800)
    open_samples(browser, site, "task=pope")
    browser.find_element("id", "row-2").click()
    wait(browser, "document.querySelector('.detail h2').textContent === 'Sample 2'")
    top = "document.querySelector('.detail h2').getBoundingClientRect().top"
    assert wait(browser, f"{top} >= 0 && {top} < 400 && 1")
    hidden = "document.elementFromPoint(60, document.querySelector('.detail h2').getBoundingClientRect().top + 8)"
    assert browser.execute_script(f"return {hidden}.textContent") == "Sample 2"
    set_view(browser)


def test_a_count_of_answers_opens_as_many(site: str, browser: Any) -> None:
    browser.get(f"{site}/benchmark-pope.html")
    links = browser.find_elements("css selector", ".answers .plot-value a[href*='read=No&target=Yes']")
    shown = [int(link.text) for link in links]
    assert len(shown) == 2
    assert min(shown) > 0
    links[1].click()
    wait(browser, "document.querySelectorAll('.detail h2').length > 0")
    assert count(browser) == (shown[1], 600)
    assert browser.execute_script("return document.getElementById('read').value") == "No"


def test_search_finds_text_on_pages_not_yet_loaded(site: str, browser: Any) -> None:
    open_samples(browser, site, "task=pope")
    browser.find_element("id", "search").send_keys("needle in the last page")
    wait(browser, "document.getElementById('count').textContent.startsWith('1 of ')")
    wait(browser, "document.querySelector('.detail').textContent.includes('needle in the last page')")


def test_keys_move_through_the_list(site: str, browser: Any) -> None:
    from selenium.webdriver.common.action_chains import ActionChains

    open_samples(browser, site, "task=pope")
    heading = "document.querySelector('.detail h2').textContent"
    ActionChains(browser).send_keys("jj").perform()
    wait(browser, f"{heading} === 'Sample 2'")
    ActionChains(browser).send_keys("k").perform()
    wait(browser, f"{heading} === 'Sample 1'")
    assert browser.execute_script("return document.querySelector('[aria-selected=true]').id") == "row-1"
    ActionChains(browser).send_keys("/").perform()
    assert browser.switch_to.active_element.get_attribute("id") == "search"
    browser.find_element("css selector", "body").click()


def test_every_picture_and_field_has_a_name(site: str, browser: Any) -> None:
    open_samples(browser, site, "task=real_world_qa")
    wait(browser, "document.querySelectorAll('.pictures img').length > 0")
    for image in browser.find_elements("css selector", "img"):
        assert "of sample" in image.get_attribute("alt")
        assert wait(browser, "document.querySelector('.pictures img').naturalWidth") > 0
    unnamed = browser.execute_script(
        "const fields = [...document.querySelectorAll('select, input, button')];"
        "return fields.filter(each => !(each.labels || []).length && !each.ariaLabel).length"
    )
    assert unnamed == 0


def test_long_lists_draw_only_what_is_in_sight(site: str, browser: Any) -> None:
    open_samples(browser, site, "task=pope")
    assert browser.execute_script("return document.querySelectorAll('.row').length") < 60
    browser.execute_script("document.getElementById('list').scrollTop = 1e7")
    wait(browser, "[...document.querySelectorAll('.row-id')].some(row => row.textContent === '599')")


def said(browser: Any) -> str:
    return str(wait(browser, "(document.querySelector('.detail [role=alert]') || {}).textContent"))


def test_a_link_to_what_is_not_there_says_so_and_shows_no_other_sample(site: str, browser: Any) -> None:
    for state, text in (
        ("task=pope&a=first&id=no+such", "Sample no such is not in POPE of this report."),
        ("task=pope&a=gone&id=3", "This report has no run called gone. It has first, second."),
        ("task=mmmu&id=3", "This report has no benchmark called mmmu."),
    ):
        browser.get("about:blank")
        browser.get(f"{site}/samples.html#{state}")
        assert said(browser).startswith(text)
        assert browser.find_elements("css selector", ".detail h2, .row[aria-selected=true]") == []


def test_a_sample_that_the_filters_hide_is_a_press_away(site: str, browser: Any) -> None:
    browser.get("about:blank")
    browser.get(f"{site}/samples.html#task=pope&a=first&b=-&group=popular&id=2")
    assert said(browser).startswith("Sample 2 does not pass these filters.")
    browser.find_element("css selector", ".detail [role=alert] button").click()
    wait(browser, "(document.querySelector('.detail h2') || {}).textContent === 'Sample 2'")


def test_a_number_on_the_page_of_comparisons_opens_as_many_samples(site: str, browser: Any) -> None:
    browser.get(f"{site}/compare.html")
    link = browser.find_element("css selector", "#pair1 td a[href*='result=lost']")
    number, address = int(link.text), link.get_attribute("href")
    browser.get("about:blank")
    browser.get(address)
    wait(browser, "document.querySelectorAll('.detail h2').length > 0")
    assert count(browser)[0] == number


def test_right_answers_and_readings_are_filters(site: str, browser: Any) -> None:
    """Yes was right and No was read: the answers biased to No."""
    open_samples(browser, site, "task=pope&a=first&b=-&target=Yes&read=No")
    folder = Path(site.removeprefix("file://")).parent / "runs" / "first"
    scores = open_runs([folder])[0].scores("pope", "kit")
    assert count(browser)[0] == sum(score.target == "Yes" and score.answer == "No" for score in scores)


def test_columns_sort_at_a_press_and_return(site: str, browser: Any) -> None:
    browser.get(f"{site}/benchmark-pope.html")
    column = "[...document.querySelectorAll('[id^=every-metric] tbody td:nth-child(2)')]"
    cells = f"{column}.map(cell => Number(cell.dataset.value))"
    button = browser.find_element("css selector", "[id^=every-metric] th:nth-child(2) button.sort")
    printed = browser.execute_script(f"return {cells}")
    for way, expected in (("descending", sorted(printed, reverse=True)), ("ascending", sorted(printed))):
        button.click()
        assert browser.execute_script(f"return {cells}") == expected
        assert button.find_element("xpath", "..").get_attribute("aria-sort") == way
    button.click()
    assert browser.execute_script(f"return {cells}") == printed


def test_the_list_is_exported_as_it_is_filtered(site: str, browser: Any) -> None:
    """Hostile answers stay text, also for a spreadsheet."""
    open_samples(browser, site, "task=pope&a=first&b=second&group=popular")
    browser.execute_script("AKI.exports.save = (name, type, text) => { window.saved = { name, type, text }; }")
    browser.find_element("id", "export-jsonl").click()
    saved = wait(browser, "window.saved")
    records = [json.loads(line) for line in saved["text"].splitlines()]
    assert len(records) == count(browser)[0]
    assert set(records[0]["runs"]) == {"first", "second"}
    assert all("popular" in record["groups"] for record in records)
    browser.execute_script("window.saved = null")
    browser.find_element("id", "export-csv").click()
    lines = list(csv.DictReader(io.StringIO(wait(browser, "window.saved")["text"])))
    assert [line["id"] for line in lines] == [record["id"] for record in records]
    assert saved["name"] == "pope.first.second.kit.popular.jsonl"
    assert browser.execute_script(
        "return AKI.exports.csv([{task: '=1+1', id: '', groups: [], runs: {}}], [])"
    ).endswith("'=1+1,,,,,,\n")
