# SPDX-License-Identifier: Apache-2.0
"""The page on one kernel in a real Chromium. Skipped where none is found: `apt-get install chromium`."""

from __future__ import annotations

import pytest

import bitquant as bq
from bitquant.arch import resolve_target
from bitquant.compute import select_implementation
from bitquant.explore import explore
from bitquant.problem import Problem
from bitquant.schedule import plan, preferred_layout
from tests.unit.browser import Chromium, find_chromium

pytestmark = [
    pytest.mark.thorough,
    pytest.mark.skipif(find_chromium() is None, reason="no Chromium or Chrome is on PATH: the page is not looked at"),
]

WIDTHS = (360, 768, 1280, 1920)

#: Contrast, by WCAG 2.2, of each text that is seen with what is painted behind it, where that is below what level AA
#: asks for: 4.5, and 3 for large text. Colours are painted and read back, whatever function they are written with.
CONTRAST = """
(() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  canvas.canvas.width = canvas.canvas.height = 1;
  const known = new Map();
  const over = (colour, below) => {
    const key = colour + below;
    if (!known.has(key)) {
      canvas.fillStyle = below; canvas.fillRect(0, 0, 1, 1);
      canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
      known.set(key, `rgb(${canvas.getImageData(0, 0, 1, 1).data.slice(0, 3).join(",")})`);
    }
    return known.get(key);
  };
  const light = (colour) => {
    const linear = (v) => (v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
    const part = colour.match(/[\\d.]+/g).map((v) => linear(v / 255));
    return .2126 * part[0] + .7152 * part[1] + .0722 * part[2];
  };
  const behind = (element) => {
    const chain = [];
    for (let e = element; e; e = e.parentElement) chain.unshift(getComputedStyle(e).backgroundColor);
    return chain.reduce((below, colour) => over(colour, below), "rgb(255,255,255)");
  };
  const poor = new Map();
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node; (node = walker.nextNode());) {
    const element = node.parentElement;
    const name = element.tagName.toUpperCase();
    if (!node.data.trim() || !element.checkVisibility() || ["SCRIPT", "STYLE", "TITLE"].includes(name)) continue;
    const style = getComputedStyle(element), isSvg = element instanceof SVGElement;
    let below = behind(isSvg ? element.closest("article") : element);
    if (isSvg) {
      const box = element.getBoundingClientRect(), x = box.x + box.width / 2, y = box.y + box.height / 2;
      for (const rect of element.closest("svg").querySelectorAll("rect")) {
        const r = rect.getBoundingClientRect(), fill = getComputedStyle(rect).fill;
        if (fill !== "none" && r.left <= x && x <= r.right && r.top <= y && y <= r.bottom) below = over(fill, below);
      }
    }
    const [a, b] = [light(over(isSvg ? style.fill : style.color, below)), light(below)].sort((p, q) => q - p);
    const ratio = (a + .05) / (b + .05), size = parseFloat(style.fontSize);
    if (ratio < (size >= 24 || (size >= 18.66 && style.fontWeight >= 700) ? 3 : 4.5)) {
      const look = element.className.baseVal ?? element.className;
      poor.set(`${name}.${look}`, `${ratio.toFixed(2)} "${node.data.trim().slice(0, 20)}"`);
    }
  }
  return [...poor].map((entry) => entry.join(": "));
})()
"""


@pytest.fixture(scope="module", params=[("sm_90a", 16), ("sm_90a", 1), ("cpu", 16)], ids=lambda p: f"{p[0]}-{p[1]}")
def path(request, tmp_path_factory):
    """The file of a page."""
    target, m = request.param
    fields = {"W_dtype": "uint4", "group_size": 128, "with_scaling": True, "with_zeros": True}
    config = bq.MatmulConfig(M=m, N=4096, K=4096, **fields)
    resolved = resolve_target(target)
    layout = preferred_layout(config, resolved)
    problem = Problem(config, m, resolved, layout)
    page = explore(problem, select_implementation(config, layout), plan(config, resolved, layout))
    file = tmp_path_factory.mktemp("pages") / f"{target}.html"
    page.save(file)
    return file


@pytest.fixture(scope="module")
def browser():
    """One Chromium for all tests; at the end nothing has complained."""
    chromium = Chromium(find_chromium())
    yield chromium
    chromium.close()


@pytest.fixture(autouse=True)
def quiet(browser):
    """No test leaves an error in the console, and none makes the page load something."""
    browser.complaints.clear()
    yield
    browser.run("1")  # What was said before has arrived.
    assert browser.complaints == []


def wait(browser, condition):
    """Wait until an expression is true, for two seconds at most."""
    script = f"""new Promise((done) => {{
        let turns = 0;
        const look = () => (({condition}) ? done(true) : turns++ > 100 ? done(false) : setTimeout(look, 20));
        look();
    }})"""
    assert browser.run(script), condition


@pytest.mark.parametrize("width", WIDTHS)
def test_page_is_no_wider_than_the_window(browser, path, width):
    """Nothing reaches over the window's edge but what scrolls within itself; stages are shown as there is room for."""
    browser.open(path, width)
    assert browser.run("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    assert (
        browser.run("""
        [...document.querySelectorAll("article, table, svg, header *, .pane, .bar *")].filter((e) => {
          const box = e.getBoundingClientRect();
          return e.checkVisibility() && !e.closest(".scroll, .search span") && box.right > innerWidth + 1;
        }).map((e) => e.outerHTML.slice(0, 80))""")
        == []
    )
    shown = browser.run("document.querySelectorAll('.pane:not([hidden])').length")
    assert shown == {360: 1, 768: 1, 1280: 2, 1920: 3}[width]
    meanings = browser.run("[...document.querySelectorAll('.fields td:last-child')].map((e) => e.clientWidth)")
    assert min(meanings) >= 130, "what a field means is not squeezed into a column of a few letters"


@pytest.mark.parametrize("width", WIDTHS)
def test_the_table_of_a_hint_has_room_for_what_its_fields_mean(browser, path, width):
    """Sentences take a third of the window where something stands beside them, and most of it elsewhere."""
    browser.open(path, width)
    places = browser.run("""
        [...document.querySelectorAll("#overview article")].map((card) => {
          const box = card.getBoundingClientRect(), cell = card.querySelector(".fields tbody tr > :last-child");
          const meaning = cell ? cell.getBoundingClientRect().width : 0;
          return { left: box.left, top: box.top, bottom: box.bottom, meaning };
        })""")
    rule, call, roofline = places
    is_beside = width >= 960
    assert (call["left"] > rule["left"]) is is_beside
    assert rule["meaning"] >= width * (0.3 if is_beside else 0.5)
    if width == 1280:  # No column stays empty below its first card.
        assert roofline["left"] == call["left"]
        assert 0 < roofline["top"] - call["bottom"] < 20


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_contrast(browser, path, scheme):
    """All text, drawings and code included, has the contrast of WCAG's level AA, in light and dark."""
    browser.open(path, 1920, 1200, scheme)
    ground = browser.run("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).reduce((a, b) => a + +b, 0)")
    assert (ground < 200) == (scheme == "dark")
    assert browser.run(CONTRAST) == []
    browser.run("document.querySelector('#search').value = 'for'; document.querySelectorAll('pre span')[3].click()")
    browser.run("document.querySelector('#search').dispatchEvent(new Event('input'))")
    wait(browser, "document.querySelectorAll('.hit').length > 0")
    assert browser.run(CONTRAST) == []


def test_button_changes_light_and_dark(browser, path):
    """The button takes the other scheme than the system's, and says which comes next."""
    browser.open(path, 1280, 900, "dark")
    dark = browser.run("getComputedStyle(document.body).backgroundColor")
    assert browser.run("document.querySelector('#theme').textContent") == "Light"
    browser.run("document.querySelector('#theme').click()")
    assert browser.run("getComputedStyle(document.body).backgroundColor") != dark
    assert browser.run("document.querySelector('#theme').textContent") == "Dark"


def test_text_can_be_selected_without_line_numbers(browser, path):
    """What is selected in a stage is its lines, as they are."""
    browser.open(path, 1280)
    text = browser.run("""(() => {
        const lines = document.querySelectorAll('.pane:not([hidden]) code > span');
        const range = new Range();
        range.setStart(lines[0], 0); range.setEnd(lines[2], lines[2].childNodes.length);
        getSelection().removeAllRanges(); getSelection().addRange(range);
        const all = getSelection().toString(), wanted = [0, 1, 2].map((i) => lines[i].textContent).join("");
        getSelection().removeAllRanges();
        return [all.trimEnd(), wanted.trimEnd()];
    })()""")
    assert text[0] == text[1] != ""


def test_search_finds(browser, path):
    """A slash leads to the search; lines are counted by stage and marked, Enter goes to the next, Escape clears."""
    browser.open(path, 1280)
    browser.press("/", "/")
    assert browser.run("document.activeElement.id") == "search"
    browser.type("b_decode")
    wait(browser, "document.querySelector('#found').textContent.includes('line')")
    counted = browser.run("""[...document.querySelectorAll('.hits')].reduce((sum, e) => sum + +e.textContent, 0)""")
    found = browser.run(
        """[...document.querySelectorAll('code > span')].filter((e) => /b_decode/i.test(e.textContent)).length"""
    )
    assert counted == found == browser.run("document.querySelectorAll('.hit').length") > 0
    browser.press("Enter")
    first = browser.run("document.querySelector('.sel').textContent")
    assert "b_decode" in first.lower()
    assert browser.run("document.querySelector('.sel').checkVisibility()")
    assert " of " in browser.run("document.querySelector('#found').textContent")
    browser.press("Escape")
    assert browser.run("document.querySelectorAll('.hit').length") == 0
    assert browser.run("document.querySelector('#found').textContent") == ""


def test_keyboard_walks_stages_and_lines(browser, path):
    """A digit shows a stage and gives it the focus; arrows walk over its lines, and over the buttons of the stages."""
    browser.open(path, 1280)
    for index in range(browser.run("document.querySelectorAll('button.stage').length")):
        browser.press(str(index + 1), str(index + 1))
        key = browser.run("document.activeElement.closest('.pane').dataset.stage")
        assert key == browser.run(f"document.querySelectorAll('button.stage')[{index}].dataset.stage")
        assert browser.run(f"document.querySelector('button[data-stage={key}]').getAttribute('aria-pressed')") == "true"
    browser.press("ArrowDown")
    browser.press("ArrowDown")
    assert (
        browser.run(
            "[...document.querySelector('.sel').parentElement.children].indexOf(document.querySelector('.sel'))"
        )
        == 1
    )
    browser.press("ArrowUp")
    assert (
        browser.run(
            "[...document.querySelector('.sel').parentElement.children].indexOf(document.querySelector('.sel'))"
        )
        == 0
    )
    browser.run("document.querySelector('button.stage').focus()")
    browser.press("ArrowRight")
    assert browser.run("document.activeElement === document.querySelectorAll('button.stage')[1]")
    browser.press("Escape")
    assert browser.run("document.querySelectorAll('.sel').length") == 0


def test_a_line_lights_up_what_belongs_to_it(browser, path):
    """A line of CUDA C++ with a product marks products in PTX, which come into view; on a CPU a part marks its part."""
    browser.open(path, 1920)
    if path.stem == "cpu":
        browser.press("2", "2")
        browser.run("[...document.querySelectorAll('#stage-tir .c')][0].click()")
        assert (
            browser.run("document.querySelectorAll('#stage-scheduled .same, #stage-asm .same, #stage-te .same').length")
            > 0
        )
        return
    browser.run(
        "[...document.querySelectorAll('#stage-cuda code > span')]"
        ".filter((e) => /^ +ptx_(wg)?mma/.test(e.textContent)).at(-1).click()"
    )
    marked = browser.run("[...document.querySelectorAll('#stage-ptx .same')].map((e) => e.textContent)")
    assert any("mma" in line for line in marked)
    assert browser.run("""(() => {
        const box = document.querySelector('#stage-ptx .same').getBoundingClientRect();
        const pane = document.querySelector('#stage-ptx pre').getBoundingClientRect();
        return pane.top <= box.top && box.bottom <= pane.bottom + 20;
    })()""")


def test_drawings_and_the_byte_answer(browser, path):
    """Pointing at an element of the fragment layout lights up its lane; the byte is taken apart as it is typed."""
    browser.open(path, 1280)
    if path.stem != "cpu":
        lit = browser.run("""(() => {
            const cell = document.querySelector('#fragment rect[data-lane="5"]');
            cell.dispatchEvent(new Event('click', { bubbles: true }));
            return [...document.querySelectorAll('.lit')].map((e) => e.dataset.lane);
        })()""")
        assert lit == ["5"] * 8
        assert "lane 5" in browser.run("document.querySelector('#lane').textContent")
    browser.run(
        "document.querySelector('#hex').value = '9c'; document.querySelector('#hex').dispatchEvent(new Event('input'))"
    )
    text = browser.run("document.querySelector('#bits').textContent")
    assert "code 9" in text
    assert "code 12" in text


def test_what_can_be_used_has_a_name(browser, path):
    """Each control and region that takes the focus has a name for a screen reader, by Chromium's accessibility tree."""
    browser.open(path, 1280)
    browser.call("Accessibility.enable")
    nodes = browser.call("Accessibility.getFullAXTree")["nodes"]
    browser.call("Accessibility.disable")
    named = {"button", "link", "searchbox", "textbox", "region", "toolbar", "image", "navigation"}
    seen = [node for node in nodes if not node.get("ignored") and node["role"]["value"] in named]
    assert len(seen) > 20
    assert [node["role"]["value"] for node in seen if not node.get("name", {}).get("value")] == []
