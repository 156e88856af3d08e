"""The page in a real browser: nothing is fetched, nothing complains, and what can be touched answers."""

from __future__ import annotations

import csv
import dataclasses
import io
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from advisor.reports import REPORTS
from advisor.reports.several import several_page
from advisor.testing.made_up_advices import DEMOS, HOSTILE, long_model

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
SWITCHES = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
AXE = os.environ.get("PARTITION_ADVISOR_AXE", "")
"""Path of axe.min.js, of the npm package axe-core."""

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium: apt-get install chromium")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as play:
        found = play.chromium.launch(executable_path=CHROMIUM, args=list(SWITCHES))
        yield found
        found.close()


def page_of(report: str, demo: str) -> str:
    """A report of a made-up advice; "several" is that advice beside two others."""
    if report != "several":
        return REPORTS[report](DEMOS[demo]())
    return several_page.render(
        {"before": DEMOS[demo](), HOSTILE[0]: DEMOS["infeasible"](), "out-pi": DEMOS["resnet"]()}
    )


class Opened:
    """A page from a file, and everything that it complained of or asked for."""

    def __init__(self, browser: Any, file: Path, report: str, demo: str, **options: Any) -> None:
        file.write_text(page_of(report, demo), encoding="utf-8")
        self.page = browser.new_context(**options).new_page()
        self.said: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("dialog", lambda dialog: self.said.append(f"dialog {dialog.message}"))
        self.page.on("request", lambda request: self.asked(request.url))
        self.page.goto(file.as_uri())
        if options.get("java_script_enabled", True) and report in ("html", "several"):
            self.page.wait_for_selector("html.ready", timeout=30_000)

    def asked(self, url: str) -> None:
        if not url.startswith(("data:", "blob:", "file:")):
            self.said.append(f"request {url}")


def test_hover_click_sort_filter_and_download_answer_and_nothing_leaves(browser: Any, tmp_path: Path) -> None:
    opened = Opened(browser, tmp_path / "a.html", "html", "digits")
    page = opened.page
    assert page.locator(".drawn").count() == page.locator(".chart").count() > 4

    chart = page.locator('[data-chart="latency"] .live svg')
    chart.scroll_into_view_if_needed()
    box = chart.bounding_box()
    assert box["width"] > 600  # as wide as its place, though that was empty when it was drawn
    page.mouse.move(box["x"] + 0.98 * box["width"], box["y"] + box["height"] / 2)
    page.locator("#at-says", has_text="9 output").wait_for()
    page.locator("#at").fill("2")
    assert page.locator("#at-says").inner_text().startswith("2 features.1")

    marks = page.locator('[data-chart="front"] .live path[aria-label*="gaussian"]')
    marks.first.click()
    assert "gaussian" in page.locator("#picked").inner_text()
    page.locator("#pick").select_option("0")
    assert "classifier.0 + int8 (chosen)" in page.locator("#picked").inner_text()

    names = lambda: page.locator("#table tbody th code").all_inner_texts()  # noqa: E731
    before = names()
    page.locator("#table th button", has_text="latency").click()
    assert page.locator('#table th[aria-sort="ascending"]').count() == 1
    latencies = DEMOS["digits"]().profile["latency"].values
    assert names() == [before[i] for i in latencies.argsort(kind="stable")]
    page.locator("#filter").fill("classifier")
    assert sorted(names()) == ["classifier.0", "classifier.2"]

    with page.expect_download() as download:
        page.locator("#download").click()
    theirs = list(csv.reader(io.StringIO(Path(download.value.path()).read_text(encoding="utf-8"))))
    ours = list(csv.reader(io.StringIO(REPORTS["csv"](DEMOS["digits"]()))))
    assert theirs[0] == ours[0]
    for one, other in zip(theirs[1:], ours[1:], strict=True):
        assert one[:4] == other[:4]
        numbers = [[float(value or "nan") for value in line[4:]] for line in (one, other)]
        assert numbers[0] == pytest.approx(numbers[1], nan_ok=True)
    assert opened.said == []


def test_several_advices_stand_side_by_side_and_sort(browser: Any, tmp_path: Path) -> None:
    opened = Opened(browser, tmp_path / "a.html", "several", "digits")
    page = opened.page
    assert page.locator(".drawn").count() == page.locator(".chart").count() == 2
    assert page.locator('[data-chart="latencies"] .live path[aria-label*="before: edge"]').count() == 1
    names = lambda: [text.split("\n")[0] for text in page.locator("#several tbody th").all_inner_texts()]  # noqa: E731
    given, latency = names(), page.locator("#several th button", has_text="latency")
    assert given == ["before", HOSTILE[0], "out-pi"]
    latency.click()
    rows = [float(value) for value in page.locator("#several tbody td:nth-child(2)").evaluate_all(
        "cells => cells.map(cell => cell.dataset.value)")]  # fmt: skip
    assert rows == sorted(rows)
    latency.press("Enter")
    assert page.locator('#several th[aria-sort="descending"]').count() == 1
    assert page.locator("#several td.best").count() > 0
    assert opened.said == []


@pytest.mark.slow
@pytest.mark.parametrize("report", ["html", "card", "several"])
def test_a_hostile_name_does_nothing(browser: Any, tmp_path: Path, report: str) -> None:
    opened = Opened(browser, tmp_path / "a.html", report, "hostile")
    opened.page.wait_for_timeout(500)
    assert opened.said == []
    assert opened.page.locator("img").count() == 0
    assert "</svg><script>alert(1)</script>" in opened.page.locator("body").inner_text()


@pytest.mark.slow
@pytest.mark.parametrize("width", [390, 820, 1400])
@pytest.mark.parametrize(
    ("report", "demo"), [("html", "digits"), ("html", "resnet"), ("html", "long_model"), ("several", "digits")]
)
def test_no_page_is_wider_than_its_window(browser: Any, tmp_path: Path, report: str, demo: str, width: int) -> None:
    opened = Opened(browser, tmp_path / "a.html", report, demo, viewport={"width": width, "height": 900})
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= width
    assert opened.page.evaluate("document.querySelectorAll('*').length") < 8000
    assert opened.said == []


@pytest.mark.slow
@pytest.mark.parametrize("report", ["html", "several"])
def test_without_scripts_the_still_charts_are_there(browser: Any, tmp_path: Path, report: str) -> None:
    opened = Opened(browser, tmp_path / "a.html", report, "digits", java_script_enabled=False)
    assert opened.page.locator(".still svg").first.is_visible()
    assert not opened.page.locator("button").first.is_visible()


@pytest.mark.slow
def test_a_page_of_three_hundred_cuts_stays_small_and_answers_soon(browser: Any, tmp_path: Path) -> None:
    file = tmp_path / "a.html"
    file.write_text(REPORTS["html"](long_model(300)), encoding="utf-8")
    page = browser.new_context().new_page()
    page.goto(file.as_uri())
    page.wait_for_selector("html.ready", timeout=30_000)
    assert page.evaluate("document.querySelectorAll('*').length") < ELEMENTS
    moved = page.evaluate("""async () => {
      const slider = document.getElementById("at"), before = performance.now();
      for (let i = 0; i < 20; i++) { slider.value = 10 * i; slider.dispatchEvent(new Event("input")); }
      await new Promise(requestAnimationFrame);
      return (performance.now() - before) / 20;
    }""")
    assert moved < 100  # ms a step, on cores that are shared
    page.locator("#every").check()
    assert page.locator("#table tbody tr").count() == 300
    strips = page.locator("section[aria-labelledby=pictures] tr")
    assert strips.count() == 1 + 24
    page.get_by_text("more cuts").click()
    strips.nth(200).wait_for()
    assert strips.count() > 290


ELEMENTS = 5000
"""Of a page of 300 cuts with pictures, the chart library's marks included."""


@pytest.mark.slow
@pytest.mark.skipif(not AXE, reason="PARTITION_ADVISOR_AXE does not name axe.min.js (npm install axe-core)")
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("report", ["html", "card", "several"])
def test_axe_finds_no_violation(browser: Any, tmp_path: Path, report: str, scheme: str) -> None:
    opened = Opened(browser, tmp_path / "a.html", report, "resnet", color_scheme=scheme, bypass_csp=True)
    opened.page.add_script_tag(path=AXE)
    told = "r => r.violations.map(v => [v.id, v.nodes.map(n => n.html.slice(0, 200))])"
    found = opened.page.evaluate(f"axe.run().then({told})")
    assert found == []


@pytest.mark.parametrize("demo", ["digits", "resnet", "long_model", "infeasible", "unmeasured"])
@pytest.mark.parametrize("crowded", [False, True])
def test_the_card_prints_on_one_page(browser: Any, tmp_path: Path, demo: str, crowded: bool) -> None:
    advice = DEMOS[demo]()
    if crowded:
        reason = "ka_nmse at block1.conv, block2.conv, block3.conv: not attacked, to keep to the time"
        advice = dataclasses.replace(advice, unmeasured=(reason,) * 9, evidence=advice.evidence * 3)
    (tmp_path / "a.html").write_text(REPORTS["card"](advice), encoding="utf-8")
    page = browser.new_context().new_page()
    page.goto((tmp_path / "a.html").as_uri())
    assert len(re.findall(rb"/Type\s*/Page\b", page.pdf(format="A4"))) == 1
