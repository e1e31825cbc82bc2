"""The video of a report and its timeline, in a real browser: the frame that is named is the one that is seen."""

import json
import time

import numpy as np
import pytest
from browsing import open_browser, open_page, resize, wait_for
from media import ffmpeg
from report_runs import change, real_run

from framencc.report import write_report

pytestmark = pytest.mark.slow  # a browser starts

CURRENT = "return Number(document.getElementById('frame').value)"
N_BITS = 7
# The number that the picture shows, as it is painted: a field for each bit.
SEEN = f"""
const video = document.getElementById("video"), canvas = document.createElement("canvas");
[canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
const context = canvas.getContext("2d");
context.drawImage(video, 0, 0);
let number = 0;
for (let bit = 0; bit < {N_BITS}; bit += 1) {{
  const x = Math.floor((bit + 0.5) * canvas.width / {N_BITS});
  number |= (context.getImageData(x, canvas.height / 2, 1, 1).data[0] > 128) << bit;
}}
return number;
"""
# What the player itself says it shows.
WATCH = """
const video = document.getElementById("video");
const seen = (_, frame) => { window.shown = frame.mediaTime; video.requestVideoFrameCallback(seen); };
video.requestVideoFrameCallback(seen);
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with open_browser(tmp_path_factory.mktemp("profile")) as driver:
        yield driver


def pts_shown(browser, output):
    """Return the time of the frame that the timeline names."""
    rows = json.loads(output.with_name(output.name + ".json").read_text(encoding="utf-8"))["frames"]
    return rows[browser.execute_script(CURRENT)]["pts_seconds"]


def go_to(browser, place):
    """Move the slider as a hand does."""
    browser.execute_script(f"document.getElementById('frame').value = {place}")
    browser.execute_script("document.getElementById('frame').dispatchEvent(new Event('input'))")


def press_play(browser):
    """Press the button that plays and pauses."""
    browser.execute_script("document.getElementById('play').click()")


@pytest.fixture
def numbered(browser, tmp_path):
    """A report of 100 frames, opened, whose video shows in each picture its number."""
    output = real_run(tmp_path, n_frames=100)
    bits = np.arange(100)[:, np.newaxis] >> np.arange(N_BITS) & 1
    rows = np.repeat((20 + 215 * bits).astype(np.uint8), 32, axis=1)
    ffmpeg(
        *("-f", "rawvideo", "-pix_fmt", "gray", "-s", f"{32 * N_BITS}x96", "-r", "25", "-i", "-"),
        *("-pix_fmt", "yuv420p", "-c:v", "libx264", "-crf", "18", tmp_path / "preview.mp4"),
        stdin=np.repeat(rows[:, np.newaxis], 96, axis=1).tobytes(),
    )
    change(output, lambda content: content["outputs"].update(preview="preview.mp4"))
    resize(browser, 1600)
    open_page(browser, write_report(output))
    wait_for(browser, "return document.getElementById('video').readyState >= 3")
    return browser


@pytest.mark.parametrize("embedded", [True, False])
@pytest.mark.parametrize("preview", ["preview.mp4", None])
def test_a_part_of_a_take_opens_at_the_frame_that_is_named(browser, tmp_path, monkeypatch, embedded, preview):
    """Its video does not begin at 0, and a player does not know from the start how long it is."""
    from framencc.report import page as page_module

    monkeypatch.setattr(page_module, "_EMBEDDED_BYTES", 10**7 if embedded else 10)
    others = {} if preview is None else {"preview": str(tmp_path / preview)}
    output = real_run(tmp_path, "maps.mkv" if preview else "maps.mp4", frames="6:40:2", **others)
    resize(browser, 1600)
    open_page(browser, write_report(output))
    first = pts_shown(browser, output)
    assert first > 0.6
    at = "document.getElementById('video').currentTime"
    wait_for(browser, f"return Math.abs({at} - {first} - 0.01) < 0.02")
    browser.execute_script(WATCH)
    for key in ("previous", "next", "next"):
        browser.find_element("id", key).click()
        wait_for(browser, f"return window.shown && Math.abs(window.shown - {pts_shown(browser, output)}) < 0.002")
    go_to(browser, 16)
    wait_for(browser, f"return Math.abs(window.shown - {38 / 25}) < 0.002")


def test_after_a_pause_the_frame_that_is_named_is_seen(numbered):
    go_to(numbered, 2)
    wait_for(numbered, SEEN.replace("return number", "return number === 2"))
    for number in range(6):
        press_play(numbered)
        time.sleep(0.25 + 0.013 * number)
        press_play(numbered)
        time.sleep(0.3)  # a frame that was on its way
        assert numbered.execute_script("return document.getElementById('video').paused")
        assert numbered.execute_script(CURRENT) == numbered.execute_script(SEEN) > 2


def test_at_the_end_the_last_frame_is_named_though_no_callback_tells_of_it(numbered):
    # What a busy machine does now and then: the last frames are painted, and nobody is told.
    numbered.execute_script("""
        const told = HTMLVideoElement.prototype.requestVideoFrameCallback;
        document.getElementById("video").requestVideoFrameCallback = function (wanted) {
          const ask = () => told.call(this, (now, frame) => (frame.mediaTime < 3.7 ? wanted(now, frame) : ask()));
          return ask();
        };
    """)
    go_to(numbered, 80)
    wait_for(numbered, SEEN.replace("return number", "return number === 80"))
    press_play(numbered)
    wait_for(numbered, "return document.getElementById('video').ended")
    wait_for(numbered, f"{CURRENT} === 99")
    assert numbered.execute_script(SEEN) == 99
    press_play(numbered)  # from the beginning again
    wait_for(numbered, f"const at = document.getElementById('video').currentTime; {CURRENT} < 60 && at < 2.5")


def test_the_timeline_follows_the_players_own_slider(numbered):
    """In full screen there is no other."""
    for place in (70, 12):
        numbered.execute_script(f"document.getElementById('video').currentTime = {(place + 0.6) / 25}")
        wait_for(numbered, f"{CURRENT} === {place}")
        wait_for(numbered, SEEN.replace("return number", f"return number === {place}"))
