"""Reports in a real browser: opened from the disk, without a network, by mouse and by keyboard."""

import json
from itertools import combinations, pairwise

import pytest
from browsing import choose_scheme, complaints, open_browser, open_page, requests, resize, wait_for
from report_runs import add_preview, add_regions, change, frame_row, real_run, write_sidecar

from framencc.report import write_comparison, write_report

pytestmark = pytest.mark.slow  # a browser starts

CURRENT = "return Number(document.getElementById('frame').value)"
LOADED = """
const pictures = [...document.images];
return pictures.length > 0 && pictures.every((one) => one.complete && one.naturalWidth > 0) && pictures.length
"""
# Of everything that can be seen, what is too faint; backgrounds are plain here, so the nearest one that is set counts.
CONTRAST = """
const numbers = (text) => text.match(/[\\d.]+/g).map(Number);
const light = (colour) => {
  const linear = (one) => one <= 0.03928 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4;
  const [r, g, b] = colour.slice(0, 3).map((one) => linear(one / 255));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const behind = (element) => {
  for (let one = element; one; one = one.parentElement) {
    const colour = numbers(getComputedStyle(one).backgroundColor);
    if (colour.length === 3 || colour[3] === 1) return colour;
  }
  return [255, 255, 255];
};
const faint = [];
document.querySelectorAll("main *, header *").forEach((element) => {
  if (![...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim())) return;
  if (element.closest("svg") || !element.getClientRects().length) return;
  const pair = [light(numbers(getComputedStyle(element).color)), light(behind(element))].sort((a, b) => a - b);
  if ((pair[1] + 0.05) / (pair[0] + 0.05) < 4.5) faint.push(element.outerHTML.slice(0, 80));
});
return faint;
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with open_browser(tmp_path_factory.mktemp("profile")) as driver:
        yield driver


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    output = real_run(tmp_path_factory.mktemp("take"))
    add_preview(output)
    add_regions(output, {"mouth <b>": lambda index: 0.2 if 30 <= index < 34 else 0.9, "none": lambda _: None}, none=0)
    return write_report(output)


@pytest.fixture
def opened(browser, page):
    """The page, fresh, at a desktop's size, light, without motion."""
    resize(browser, 1600)
    choose_scheme(browser, "light", still=True)
    open_page(browser, page)
    return browser


@pytest.mark.parametrize("width", [400, 1600])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_opens_whole_without_a_network(browser, page, width, scheme):
    resize(browser, width)
    choose_scheme(browser, scheme, still=True)
    requests(browser), complaints(browser)
    open_page(browser, page)
    assert wait_for(browser, LOADED) >= 3
    assert browser.execute_script("return document.documentElement.scrollWidth") == width
    assert browser.execute_script("return document.querySelectorAll('#plot .trace').length") >= 2
    assert browser.execute_script(CONTRAST) == []
    asked = requests(browser)
    assert page.absolute().as_uri() in asked
    assert [url[:80] for url in asked if not url.startswith(("data:", "blob:", page.absolute().as_uri()))] == []
    assert complaints(browser) == []


def test_it_is_dark_for_those_who_like_it_dark(browser, page):
    shades = []
    for scheme in ("light", "dark"):
        choose_scheme(browser, scheme)
        open_page(browser, page)
        shades.append(browser.execute_script("return getComputedStyle(document.body).backgroundColor"))
    assert shades == ["rgb(251, 251, 250)", "rgb(19, 21, 24)"]


def test_clicking_the_timeline_seeks_the_video(opened):
    from selenium.webdriver.common.action_chains import ActionChains

    wait_for(opened, "return document.getElementById('video').duration > 0")
    area = opened.find_element("css selector", "#plot .nsewdrag")
    for share, expected in ((0.25, 0.4), (0.75, 1.2)):
        offset = round((share - 0.5) * area.size["width"])
        ActionChains(opened).move_to_element_with_offset(area, offset, 0).pause(0.2).click().perform()
        shown = wait_for(
            opened,
            "const v = document.getElementById('video');"
            f"return !v.seeking && Math.abs(v.currentTime - {expected}) < 0.1 && v.currentTime",
        )
        frame = opened.execute_script(CURRENT)
        assert frame / 25 <= shown < (frame + 1) / 25
        assert f"Frame {frame}," in opened.find_element("id", "readout").text


def test_dragging_zooms_and_the_buttons_zoom_back(opened):
    from selenium.webdriver.common.action_chains import ActionChains

    span = "const r = document.getElementById('plot').layout.xaxis.range; return r[1] - r[0]"
    whole = opened.execute_script(span)
    area = opened.find_element("css selector", "#plot .nsewdrag")
    ActionChains(opened).move_to_element_with_offset(area, -100, 0).click_and_hold().move_by_offset(
        200, 0
    ).release().perform()
    wait_for(opened, f"{span} < {whole / 2}")
    opened.find_element("id", "zoom-all").click()
    wait_for(opened, f"{span} > {whole * 0.99}")
    opened.find_element("id", "zoom-in").click()
    wait_for(opened, f"{span} < {whole / 2}")


def test_the_video_is_played_by_a_button_that_covers_nothing_of_it(opened):
    wait_for(opened, "return document.getElementById('video').duration > 0")
    assert opened.execute_script("return document.getElementById('video').controls") is False
    button = opened.find_element("id", "play")
    assert button.text == "Play"
    opened.execute_script("document.getElementById('frame').value = 0")
    opened.execute_script("document.getElementById('frame').dispatchEvent(new Event('input'))")
    button.send_keys("\ue007")
    wait_for(opened, "return document.getElementById('play').textContent === 'Pause'")
    wait_for(opened, f"{CURRENT} > 2")  # the timeline follows
    button.send_keys("\ue007")
    wait_for(opened, "return document.getElementById('video').paused")
    wait_for(opened, "return document.getElementById('play').textContent === 'Play'")  # follows with the pause event


def test_thumbnails_and_stretches_jump_to_their_place(opened):
    buttons = opened.find_elements("css selector", ".jump")
    assert len(buttons) >= 6
    for button in buttons:
        wanted = round(float(button.get_attribute("data-time")) * 25)
        opened.execute_script("arguments[0].focus()", button)
        button.send_keys("\ue007")
        wait_for(opened, f"{CURRENT} === {wanted}")


def test_the_keyboard_reaches_everything_and_moves_the_timeline(opened):
    from selenium.webdriver.common.keys import Keys

    reached = []
    for _ in range(60):
        opened.switch_to.active_element.send_keys(Keys.TAB)
        focused = opened.execute_script(
            "const e = document.activeElement; return [e.id || e.className, getComputedStyle(e).outlineStyle]"
        )
        if focused[0] == "skip" and reached:
            break
        reached.append(focused[0])
    assert {"skip", "view", "zoom-in", "zoom-out", "zoom-all", "previous", "frame", "next"} <= set(reached)
    assert {"play", "full-screen"} <= set(reached)
    assert "jump" in reached
    assert reached.count("card jump") == len(opened.find_elements("css selector", ".card"))
    slider = opened.find_element("id", "frame")
    before = opened.execute_script(CURRENT)
    slider.send_keys(Keys.ARROW_LEFT)
    wait_for(opened, f"{CURRENT} === {before - 1}")
    assert f"Frame {before - 1}" in slider.get_attribute("aria-valuetext")
    slider.send_keys(Keys.HOME)
    wait_for(opened, f"{CURRENT} === 0")


def test_it_is_made_for_screen_readers(opened):
    structure = opened.execute_script("""
        const names = (selector) => [...document.querySelectorAll(selector)];
        return {
          lang: document.documentElement.lang,
          landmarks: names("header, main").length,
          levels: names("h1, h2, h3").map((one) => Number(one.tagName[1])),
          silent: names("img").filter((one) => !one.alt).length + names("section").filter((one) =>
            !document.getElementById(one.getAttribute("aria-labelledby"))).length,
          unnamed: names("button, input, select, video").filter((one) => !(one.ariaLabel || one.textContent.trim()
            || (one.labels && one.labels.length))).length,
        }""")
    assert (structure["lang"], structure["landmarks"], structure["silent"], structure["unnamed"]) == ("en", 2, 0, 0)
    levels = structure["levels"]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_cards_are_read_out_with_their_pictures(opened):
    for card in opened.find_elements("css selector", ".card"):
        name = card.accessible_name
        assert "From left to right: static reference" in name
        assert "Frame " in name
        assert "confidence" in name.partition("Frame ")[2]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_lines_are_told_from_the_background_and_from_one_another(browser, page, scheme):
    choose_scheme(browser, scheme)
    open_page(browser, page)
    names = ["card", *(f"line-{number}" for number in range(8))]
    found = browser.execute_script(
        "const style = getComputedStyle(document.documentElement);"
        f"return {json.dumps(names)}.map((one) => style.getPropertyValue('--' + one).trim())"
    )
    card, *lines = [[int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)] for colour in found]

    def light(colour):
        linear = [one / 12.92 if one <= 0.03928 else ((one + 0.055) / 1.055) ** 2.4 for one in colour]
        return 0.05 + 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    for colour in lines:
        lower, higher = sorted((light(colour), light(card)))
        assert higher / lower >= 4.5
    for first, second in combinations(lines, 2):
        assert sum(abs(one - other) for one, other in zip(first, second, strict=True)) > 0.3


def test_names_are_shown_as_they_are(opened):
    legend = opened.execute_script("return document.querySelector('#plot .legend').textContent")
    assert "mouth <b>" in legend


def test_regions_with_the_names_of_scores_have_their_own_places_in_the_legend(browser, tmp_path):
    names = ("sharpness", "contrast", "whole frame", "5th to 95th percentile")
    rows = [frame_row(index, 0.9, dict.fromkeys(names, 0.5)) | {"pts_seconds": 3600.5 + index} for index in range(9)]
    open_page(browser, write_report(write_sidecar(tmp_path / "maps.mkv", rows)))
    shown = browser.execute_script("return [...document.querySelectorAll('#plot .legendtext')].map(e => e.textContent)")
    assert sorted(shown) == sorted([*names, *names])
    browser.execute_script("document.getElementById('next').click()")
    assert "Frame 1, 1:00:01.500" in browser.find_element("id", "readout").text


def test_another_score_can_be_chosen(opened, page):
    from selenium.webdriver.support.ui import Select

    choice = Select(opened.find_element("id", "view"))
    choice.select_by_visible_text("5th percentile")
    shown = opened.execute_script(
        "return document.getElementById('plot').data.find((one) => one.name === 'whole frame').y"
    )
    rows = json.loads(page.with_suffix(".json").read_text(encoding="utf-8"))["frames"]
    assert shown == pytest.approx([row["p05"] for row in rows], abs=1e-3)
    assert shown != pytest.approx([row["mean_confidence"] for row in rows], abs=1e-2)


def test_a_large_preview_is_played_from_beside_the_page(browser, tmp_path, monkeypatch):
    from framencc.report import page as page_module

    monkeypatch.setattr(page_module, "_EMBEDDED_BYTES", 10)
    output = real_run(tmp_path, "100% #1?.mkv")
    add_preview(output, "pre view #1?.mp4")
    choose_scheme(browser, "light", still=True)
    open_page(browser, write_report(output))
    wait_for(browser, "return document.getElementById('video').duration > 1")
    (tmp_path / "pre view #1?.mp4").unlink()
    open_page(browser, tmp_path / "100% #1?.mkv.html")
    wait_for(browser, "return !document.getElementById('video-problem').hidden")


def test_maps_for_viewing_serve_where_there_is_no_preview(browser, tmp_path):
    open_page(browser, write_report(real_run(tmp_path, "maps.mp4")))
    wait_for(browser, "return document.getElementById('video').duration > 1")
    assert "Confidence maps" in browser.find_element("css selector", ".video figcaption").text


@pytest.mark.parametrize(
    "rows",
    [[], [frame_row(3, 0.7)], [frame_row(0, None)], [{"index": i, "pts_seconds": 0.0} for i in range(3)]],
    ids=["none", "single", "invalid", "without scores or times"],
)
def test_runs_with_little_to_show(browser, tmp_path, rows):
    complaints(browser)
    open_page(browser, write_report(write_sidecar(tmp_path / "maps.mkv", rows)))
    assert complaints(browser) == []
    assert "NaN" not in browser.find_element("tag name", "body").text


def test_names_from_a_sidecar_run_nothing(browser, tmp_path):
    evil = "</script><img src=x onerror=\"document.title='owned'\"><a href='javascript:alert(1)'>x</a>"
    rows = [frame_row(index, 0.2 if index == 3 else 0.9, {evil: 0.5}) for index in range(8)]
    complaints(browser)
    open_page(browser, write_report(write_sidecar(tmp_path / f"{'a' * 9}<b>.mkv", rows, outputs={evil: evil})))
    assert browser.title == "aaaaaaaaa<b>.mkv – framencc report"
    assert browser.execute_script("return document.querySelectorAll('img, a[href^=javascript]').length") == 0
    assert complaints(browser) == []


def test_a_comparison_opens_like_a_report(browser, tmp_path):
    outputs = [real_run(tmp_path, "a.mkv"), real_run(tmp_path, "b.mkv", ncc={"radius": 6})]
    change(outputs[0], lambda content: content["frames"][3].update(mean_confidence=None))
    page = write_comparison(*outputs)
    for width in (400, 1600):
        resize(browser, width)
        complaints(browser), requests(browser)
        open_page(browser, page)
        assert wait_for(browser, LOADED)
        assert browser.execute_script("return document.documentElement.scrollWidth") == width
        assert complaints(browser) == []
        assert all(url.startswith(("data:", "file:", "blob:")) for url in requests(browser))


def test_groups_of_frames_are_not_taken_for_one(browser, tmp_path, monkeypatch):
    from framencc.report import series

    monkeypatch.setattr(series.Thinning.fitting.__func__, "__defaults__", (400,))
    rows = [frame_row(index, 0.1 if index == 61 else 0.9) for index in range(121)]
    resize(browser, 1600)
    open_page(browser, write_report(write_sidecar(tmp_path / "maps.mkv", rows)))
    shown = browser.find_element("id", "readout").text
    n_together = int(shown.partition(" frames from ")[0])
    first = int(shown.partition(" frames from ")[2].partition(" ")[0])
    assert 1 < n_together < 20
    assert first <= 61 < first + n_together
    assert "whole frame 0.100 to 0.900" in shown
    browser.find_element("id", "next").click()
    assert f"{n_together} frames from {first + n_together} on" in browser.find_element("id", "readout").text
    slider = browser.find_element("id", "frame")
    assert "whole frame 0.900" in slider.get_attribute("aria-valuetext")
    slider.send_keys("\ue010")  # the end; the last group has what is left
    n_left = 121 % n_together
    assert n_left > 1
    assert f"{n_left} frames from {121 - n_left} on" in slider.get_attribute("aria-valuetext")


def test_a_frame_of_a_group_is_shown_by_the_video(browser, tmp_path, monkeypatch):
    from framencc.report import series

    monkeypatch.setattr(series.Thinning.fitting.__func__, "__defaults__", (150,))
    output = real_run(tmp_path)
    add_preview(output)
    resize(browser, 1600)
    open_page(browser, write_report(output))
    assert " frames from " in browser.find_element("id", "readout").text
    button = browser.find_elements("css selector", ".card")[-1]
    wanted = float(button.get_attribute("data-time"))
    button.send_keys("\ue007")
    at = "document.getElementById('video').currentTime"
    wait_for(browser, f"return {at} >= {wanted} && {at} < {wanted + 0.04}")
    named = browser.find_element("id", "readout").text
    size, first = int(named.partition(" ")[0]), int(named.partition(" from ")[2].partition(" ")[0])
    assert first <= round(wanted * 25) < first + size


def test_where_nothing_was_measured_no_other_number_is_announced(browser, tmp_path):
    rows = [frame_row(index, None) for index in range(3)]
    open_page(browser, write_report(write_sidecar(tmp_path / "maps.mkv", rows)))
    said = browser.find_element("id", "frame").get_attribute("aria-valuetext")
    assert "whole frame" not in said
    assert "measured share 0.000" in said


def test_a_comparison_follows_the_region_that_is_chosen(browser, tmp_path):
    from selenium.webdriver.support.ui import Select

    outputs = [real_run(tmp_path, "a.mkv"), real_run(tmp_path, "b.mkv", ncc={"radius": 6})]
    for output, mean in zip(outputs, (0.4, 0.7), strict=True):
        add_regions(output, {"mouth": lambda _, mean=mean: mean, "brow": lambda _: 0.9})
    resize(browser, 1600)
    open_page(browser, write_comparison(*outputs))
    assert "Region" in browser.find_element("id", "view-label").text
    Select(browser.find_element("id", "view")).select_by_visible_text("mouth")
    wait_for(browser, "return document.getElementById('readout').textContent.includes('0.700')")
    shown = browser.find_element("id", "readout").text
    for part in (
        "confidence, A 0.400",
        "confidence, B 0.700",
        "B - A, mean confidence 0.300",
        "measured share, A 1.000",
        "mean displacement in pixels, B 2.500",
    ):
        assert part in shown
    assert "whole frame" not in shown
    Select(browser.find_element("id", "view")).select_by_visible_text("whole frame")
    wait_for(browser, "return !document.getElementById('readout').textContent.includes('0.700')")
    assert "measured share, B" in browser.find_element("id", "readout").text


def test_what_a_region_does_not_have_is_said_to_be_of_the_whole_frame(browser, tmp_path):
    from selenium.webdriver.support.ui import Select

    outputs = [real_run(tmp_path, "a.mkv"), real_run(tmp_path, "b.mkv", ncc={"radius": 6})]
    for number, output in enumerate(outputs):  # no frame has it in both
        add_regions(output, {"mouth": lambda index, number=number: 0.4 if index % 2 == number else None})
    resize(browser, 1600)
    open_page(browser, write_comparison(*outputs))
    titles = "return document.getElementById('plot').layout.annotations.map((one) => one.text)"
    assert "difference" in browser.execute_script(titles)
    Select(browser.find_element("id", "view")).select_by_visible_text("mouth")
    wait_for(browser, "return document.getElementById('readout').textContent.includes('0.400')")
    assert "B - A, mean confidence, whole frame " in browser.find_element("id", "readout").text
    assert "difference, whole frame" in browser.execute_script(titles)


def test_narrow_pages_cut_no_table_off(browser, tmp_path):
    outputs = [real_run(tmp_path, "a.mkv"), real_run(tmp_path, "b.mkv", ncc={"radius": 6})]
    for output in outputs:
        add_regions(output, {"left_eye": lambda _: 0.4, "none": lambda _: None}, none=0)
    resize(browser, 400)
    for page in (write_report(outputs[1]), write_comparison(*outputs)):
        open_page(browser, page)
        cut = "return [...document.querySelectorAll('.wide')].filter((one) => one.scrollWidth > one.clientWidth).length"
        assert browser.execute_script(cut) == 0


def test_timeline_and_picture_are_seen_at_once(browser, page):
    resize(browser, 1600, 900)
    open_page(browser, page)
    wait_for(browser, "return document.getElementById('video').videoWidth > 0")
    height = browser.execute_script(
        "return document.getElementById('video').getBoundingClientRect().bottom"
        " - document.getElementById('timeline').getBoundingClientRect().top"
    )
    assert height < 900


def test_damaged_frames_have_a_mark_of_their_own(browser, tmp_path):
    rows = [frame_row(index, 0.9) for index in range(20)]
    for index in (4, 5):
        rows[index] = frame_row(index, None, damaged="packet is broken")
    resize(browser, 1600)
    open_page(browser, write_report(write_sidecar(tmp_path / "maps.mkv", rows)))
    mark, n_shaded = browser.execute_script("""
        const plot = document.getElementById("plot");
        return [plot.data.filter((one) => one.name === "damaged frame").map((one) => one.x),
                plot.layout.shapes.filter((one) => one.type === "rect").length];
    """)
    assert mark == [pytest.approx([0.16, 0.2])]
    assert n_shaded == 0
