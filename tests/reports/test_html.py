from __future__ import annotations

import functools
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import matplotlib
import pytest

from advisor.reports import html
from advisor.testing.made_up_advices import DEMOS, HOSTILE

VOID = {"meta", "img", "br", "link", "hr", "input"}
SAFE_TAGS = {
    *("html", "head", "meta", "title", "style", "body", "main", "header", "section", "footer", "h1", "h2", "h3", "p"),
    *(
        "code",
        "pre",
        "b",
        "ul",
        "ol",
        "li",
        "dl",
        "dt",
        "dd",
        "div",
        "span",
        "figure",
        "figcaption",
        "details",
        "summary",
    ),
    *(
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
        "img",
        "svg",
        "g",
        "defs",
        "path",
        "use",
        "rect",
        "text",
        "clippath",
    ),
}


class Page(HTMLParser):
    """Every tag and attribute of a page, and whether tags nest."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text: list[str] = []
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), (tag, attrs)
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(params=DEMOS, scope="module")
def page(request: pytest.FixtureRequest) -> Page:
    return page_of(request.param)


@functools.cache
def page_of(name: str) -> Page:
    return Page(html.render(DEMOS[name]()))


def test_tags_nest_and_only_harmless_ones_occur(page: Page) -> None:
    assert page.open == []
    assert {tag for tag, _ in page.tags} <= SAFE_TAGS


def test_no_attribute_runs_or_fetches_anything(page: Page) -> None:
    for tag, attributes in page.tags:
        for name, value in attributes.items():
            assert not name.startswith("on"), (tag, name)
            if name == "src":
                assert value is not None
                assert re.fullmatch(r"data:image/png;base64,[A-Za-z0-9+/=]+", value)
            if name == "href":
                assert value is not None
                assert value.startswith("#")
            assert "url(" not in (value or "").replace("url(#", "")


def test_the_policy_forbids_scripts_and_the_network(page: Page) -> None:
    policy = next(a["content"] for a in page.all("meta") if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'; img-src data:")


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
    assert all(a.get("aria-label") and a.get("role") == "img" for a in page.all("svg"))


def test_hostile_names_appear_as_text() -> None:
    page = page_of("hostile")
    text = "".join(page.text)
    assert "</svg><script>alert(1)</script>" in text
    assert HOSTILE[3] in text  # neither mathematics nor a template
    assert "{{ 7*7 }}" in text
    assert "esc\\x1b[2J" in text
    assert "left out: not a PNG" in text
    assert not page.all("img")


def test_gallery_pairs_reconstructions_with_originals() -> None:
    advice = DEMOS["digits"]()
    images = page_of("digits").all("img")
    assert [a["src"] for a in images[:6]] == list(advice.gallery.originals)
    assert images[6]["src"] == advice.gallery.reconstructions["features.0"][0]
    assert images[6]["alt"] == "what the quick attack recovers of input 1 from cut features.0"
    assert len(images) == 6 * 9


def test_evidence_stands_beside_the_prediction() -> None:
    text = " ".join("".join(page_of("digits").text).split())
    assert "NMSE 0.769 (0.679–0.839) 0.779 (0.739–0.809) quick KA decoder, 48 held-out inputs" in text.replace(
        "NMSE0", "NMSE 0"
    ).replace(")0", ") 0").replace(")q", ") q")


def test_every_attack_that_was_run_is_shown_with_its_threat_model_and_pictures() -> None:
    page = page_of("resnet")
    text = " ".join("".join(page.text).split())
    assert "rmle (quick) at layer1.0/add, defense rmle: 40 inputs, 4 transmissions of each averaged" in text
    assert "Threat model: knows rmle." in text
    assert "0.250 (0.230–0.270)" in text
    assert "practised on rmle" in text
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
    expected = {role: 1e3 * advice.best.predicted[f"{role}_latency"].value for role in ("edge", "link", "cloud")}
    assert weights == pytest.approx(expected, abs=1e-3)


def test_chosen_zone_and_published_rows_are_marked() -> None:
    rows = page_of("digits").all("tr")
    assert [a.get("class") for a in rows].count("chosen zone") == 2  # the table, and the whole table
    assert [a.get("class") for a in rows].count("published") == 2


def test_a_bare_float_in_the_template_is_refused() -> None:
    with pytest.raises(TypeError, match="bare float"):
        html._environment().from_string("{{ x }}").render(x=0.5)


def test_the_users_matplotlib_settings_neither_matter_nor_change() -> None:
    advice = DEMOS["digits"]()
    before = html.render(advice)
    with matplotlib.rc_context({"axes.facecolor": "red", "text.usetex": True, "svg.fonttype": "path"}):
        assert html.render(advice) == before
        assert matplotlib.rcParams["axes.facecolor"] == "red"


def test_every_colour_of_the_plots_follows_the_page() -> None:
    styles = [a["style"] or "" for tag, a in page_of("resnet").tags if "style" in a and tag != "span"]
    assert not [style for style in styles if re.search(r"#[0-9a-f]{6}", style)]
    assert any("var(--zone)" in style for style in styles)


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
