from __future__ import annotations

import base64
import dataclasses
import functools
import hashlib
import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from advisor.reports import html
from advisor.reports.charts import vega
from advisor.testing.made_up_advices import DEMOS, HOSTILE, long_model

VOID = {"meta", "img", "br", "link", "hr", "input", "path", "line", "rect"}
FORBIDDEN = {"iframe", "object", "embed", "link", "base", "form", "foreignobject", "audio", "video", "style/script"}


class Page(HTMLParser):
    """Every tag and attribute of a page, whether tags nest, and the text of its scripts."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text: list[str] = []
        self.scripts: list[tuple[str | None, str]] = []
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), (tag, attrs)
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] == ["script"]:
            self.scripts.append((self.tags[-1][1].get("type"), data))
        elif self.open[-1:] != ["style"]:
            self.text.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.text).split())

    @property
    def data(self) -> Any:
        return json.loads(next(text for kind, text in self.scripts if kind == "application/json"))


@functools.cache
def page_of(name: str) -> Page:
    return Page(html.render(DEMOS[name]()))


@pytest.fixture(params=DEMOS, scope="module")
def page(request: pytest.FixtureRequest) -> Page:
    return page_of(request.param)


def test_tags_nest_and_only_harmless_ones_occur(page: Page) -> None:
    assert page.open == []
    assert not {tag for tag, _ in page.tags} & FORBIDDEN


def test_no_attribute_runs_or_fetches_anything(page: Page) -> None:
    for tag, attributes in page.tags:
        for name, value in attributes.items():
            assert not name.startswith("on"), (tag, name)
            if name == "src":
                assert value is not None
                assert re.fullmatch(r"data:image/png;base64,[A-Za-z0-9+/=]+", value)
            if name in ("href", "xlink:href"):
                assert value is not None
                assert value.startswith("#")
            assert "url(" not in (value or "").replace("url(#", "")


def test_the_policy_allows_two_scripts_by_their_hashes_and_no_eval(page: Page) -> None:
    policy = next(a["content"] for a in page.all("meta") if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'sha256-")
    assert "unsafe-eval" not in policy
    assert "http" not in policy
    run = [text for kind, text in page.scripts if kind is None]
    assert len(run) == 2
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in run]
    assert [f"'sha256-{found}'" in policy for found in hashes] == [True, True]


def test_the_scripts_are_ours_whatever_the_advice() -> None:
    own = [text for kind, text in page_of("digits").scripts if kind is None]
    assert own == [text for kind, text in page_of("hostile").scripts if kind is None]
    assert own[0] == vega.library()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not bound addresses")
def test_where_addresses_are_short_the_page_says_why_it_has_no_charts() -> None:
    """The engine that draws them would end the process, and the answer with it."""
    script = """
import resource
from advisor.reports import html
from advisor.testing.made_up_advices import DEMOS
resource.setrlimit(resource.RLIMIT_AS, (2**34, 2**34))
print(html.render(DEMOS["digits"]()))
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == 0, run.stderr
    page = Page(run.stdout)
    assert page.scripts == []
    assert (
        "No chart: its engine reserves more addresses than ulimit -v grants (16 GiB of 128 GiB)."
        in run.stdout.replace("\xa0", " ")
    )
    assert DEMOS["digits"]().headline.split(",")[0] in run.stdout


def test_a_page_for_a_notebook_runs_nothing() -> None:
    page = Page(html.still_page(DEMOS["digits"]()))
    assert page.scripts == []
    assert "script-src 'none'" in str(page.all("meta"))
    assert len(page.all("svg")) >= 6


def test_ids_are_unique_and_references_resolve(page: Page) -> None:
    ids = [a["id"] for _, a in page.tags if "id" in a]
    assert len(ids) == len(set(ids))
    wanted = {a["href"] for _, a in page.tags if "href" in a} | {
        f"#{name}"
        for _, a in page.tags
        for value in a.values()
        for name in re.findall(r"url\(#([\w-]+)\)", value or "")
    }
    assert wanted <= {f"#{name}" for name in ids}
    assert {a["aria-labelledby"] for _, a in page.tags if "aria-labelledby" in a} <= set(ids)


def test_every_picture_has_words(page: Page) -> None:
    assert all(a.get("alt") for a in page.all("img"))
    assert all(a.get("aria-hidden") == "true" or a.get("aria-label") for a in page.all("svg"))


def test_hostile_names_appear_as_text() -> None:
    page = page_of("hostile")
    assert "</svg><script>alert(1)</script>" in page.words
    assert HOSTILE[3] in page.words  # neither mathematics nor a template
    assert "{{ 7*7 }}" in page.words
    assert "esc\\x1b[2J" in page.words
    assert "left out: not a PNG" in page.words
    assert not page.all("img")
    assert page.data["cuts"][1]["name"] == HOSTILE[0]


def test_a_pages_data_holds_no_markup() -> None:
    for name in DEMOS:
        text = next(text for kind, text in page_of(name).scripts if kind == "application/json")
        assert not set("<>&") & set(text)
        assert text.isascii()


def test_gallery_pairs_reconstructions_with_originals() -> None:
    advice = DEMOS["digits"]()
    images = page_of("digits").all("img")
    assert [a["src"] for a in images[:6]] == list(advice.gallery.originals)
    assert images[6]["src"] == advice.gallery.reconstructions["features.0"][0]
    assert images[6]["alt"] == "what the quick attack recovers of input 1 from cut features.0"
    assert len(images) == 6 * 9
    assert "holds pictures of private inputs" in page_of("digits").words
    assert "This report holds no picture of any input." in page_of("unmeasured").words


def test_every_attack_that_was_run_is_shown_with_its_threat_model_and_pictures() -> None:
    page = page_of("resnet")
    assert "rmle (quick) at layer1.0/add, defense rmle: 40 inputs, 4 transmissions of each averaged" in page.words
    assert "Threat model: knows rmle." in page.words
    assert "0.250 (0.230–0.270)" in page.words
    assert "practised on rmle" in page.words
    alts = [image["alt"] for image in page.all("img")]
    for which in ("best", "median", "worst"):
        assert f"the original of the {which} reconstruction" in alts
        assert f"the {which} reconstruction" in alts


def test_the_latency_bar_is_in_proportion() -> None:
    advice = DEMOS["digits"]()
    assert advice.best is not None
    weights = {
        a["class"]: float((a["style"] or "").removeprefix("flex-grow: "))
        for a in page_of("digits").all("span")
        if "style" in a
    }
    parts = {role: advice.best.predicted[f"{role}_latency"].value for role in ("edge", "link", "cloud")}
    assert weights == pytest.approx({role: 1e3 * part / max(parts.values()) for role, part in parts.items()}, abs=1e-3)


def test_chosen_zone_and_published_rows_are_marked() -> None:
    rows = page_of("digits").all("tr")
    assert [a.get("class") for a in rows].count("chosen zone") == 1
    assert [a.get("class") for a in rows].count("published") == 1


def test_the_page_has_links_buttons_and_inputs() -> None:
    page = page_of("digits")
    assert len(page.all("a")) > 5
    assert len(page.all("input")) > 3
    assert len(page.all("button")) == 1


def test_the_data_of_the_charts_are_the_profiles() -> None:
    advice, data = DEMOS["digits"](), page_of("digits").data
    leakage = [row for layer in data["specs"]["leakage"]["layer"] for row in layer["data"]["values"] if "of" in row]
    drawn = {row["i"]: row["v"] for row in leakage if row["of"].startswith("strong")}
    assert drawn == pytest.approx(dict(enumerate(advice.profile["score"].values.tolist())))
    stacked = [row for layer in data["specs"]["latency"]["layer"] for row in layer["data"]["values"] if "k" in row]
    top = {i: max(row["hi"] for row in stacked if row["i"] == i) for i in range(10)}
    assert top == pytest.approx(dict(enumerate((1e3 * advice.profile["latency"].values).tolist())))


@pytest.mark.parametrize("cuts", [200, 300])
def test_a_page_is_small_with_few_elements_also_of_many_cuts(cuts: int) -> None:
    whole = html.render(long_model(cuts))
    assert len(whole.encode()) < 3e6
    at_once = re.sub(r"<template>.*?</template>", "", whole, flags=re.DOTALL)
    assert len(Page(at_once).tags) < 4500


def test_what_was_not_measured_is_marked_and_says_why() -> None:
    absent = [a for a in page_of("digits").all("td") if "absent" in str(a.get("class")).split()]
    assert len(absent) > 5
    assert all(a.get("title") and "num" in str(a["class"]).split() for a in absent)


def test_a_bare_float_in_the_template_is_refused() -> None:
    with pytest.raises(TypeError, match="bare float"):
        html.environment().from_string("{{ x }}").render(x=0.5)


def test_every_colour_of_the_charts_follows_the_page() -> None:
    drawn = [a for tag, a in page_of("digits").tags if tag in ("path", "text", "line", "rect") and "fill" in a]
    drawn = [a for a in drawn if a.get("fill") not in ("none", "transparent") and not str(a["fill"]).startswith("#")]
    assert len(drawn) > 50
    assert all(str(a["fill"]).startswith("var(--") or str(a.get("stroke", "")).startswith("var(--") for a in drawn)


@pytest.mark.slow
def test_another_process_gives_the_same_bytes() -> None:
    code = (
        "import sys; from advisor.testing.made_up_advices import digits; from advisor.reports import html; "
        "sys.stdout.write(html.render(digits()))"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "7", "PYTHONIOENCODING": "utf-8"}
    found = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parent,
        env=environment,
        capture_output=True,
        check=True,
        timeout=60,
    )
    assert found.stdout.decode("utf-8").replace("\r\n", "\n") == html.render(DEMOS["digits"]())


def test_commands_keep_their_blanks_and_quantities() -> None:
    advice = DEMOS["digits"]()
    command = "advisor recommend 'two  blanks.pt2' --max-latency '50 ms' --data 'a\\b <i>.npz'"
    page = Page(html.render(dataclasses.replace(advice, provenance={**advice.provenance, "command": command})))
    assert command in page.text
