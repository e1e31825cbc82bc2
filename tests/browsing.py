"""A real browser, headless, for the tests of pages; skipped with its reason where there is none."""

import contextlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
QUIET = (
    "--headless",
    "--no-sandbox",  # it refuses to run as root with one, as containers do
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--hide-scrollbars",
    "--autoplay-policy=no-user-gesture-required",
)


@contextlib.contextmanager
def open_browser(profile: Path) -> Iterator[Any]:
    """Start a browser with a profile of its own, and end it."""
    selenium = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    driver = shutil.which("chromedriver")
    if browser is None or driver is None:
        pytest.skip("no Chromium with its chromedriver on this machine")
    options = selenium.ChromeOptions()
    options.binary_location = browser
    for argument in (*QUIET, f"--user-data-dir={profile}"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    with contextlib.closing(_Ending(selenium.Chrome(options, selenium.ChromeService(driver)))) as ending:
        ending.driver.get("about:blank")
        for log in ("performance", "browser"):
            ending.driver.get_log(log)  # of the page that a new browser begins with
        yield ending.driver


class _Ending:
    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def close(self) -> None:
        self.driver.quit()


def resize(driver: Any, width: int, height: int = 1000) -> None:
    """Give the page a size; a window of its own cannot be made as narrow as a telephone."""
    driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False},
    )


def choose_scheme(driver: Any, scheme: str, *, still: bool = False) -> None:
    """Let the page believe that its reader likes it dark or light, and perhaps without motion."""
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    if still:
        features.append({"name": "prefers-reduced-motion", "value": "reduce"})
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def open_page(driver: Any, page: Path) -> None:
    """Open a page from the disk and wait until it has drawn its timeline, or says that it cannot."""
    driver.get(page.absolute().as_uri())
    wait_for(
        driver,
        "return document.readyState === 'complete' && (document.documentElement.dataset.ready === 'true' "
        "|| document.getElementById('timeline-note').textContent.startsWith('There is no'))",
    )


def wait_for(driver: Any, condition: str, seconds: float = 20) -> Any:
    """Wait until a script returns something true, and return that."""
    from selenium.webdriver.support.ui import WebDriverWait

    return WebDriverWait(driver, seconds, 0.05).until(lambda one: one.execute_script(condition), condition)


def requests(driver: Any) -> list[str]:
    """Take the addresses that were asked for since the last call."""
    messages = (json.loads(entry["message"])["message"] for entry in driver.get_log("performance"))
    sent = (message for message in messages if message["method"] == "Network.requestWillBeSent")
    return [message["params"]["request"]["url"] for message in sent]


def complaints(driver: Any) -> list[str]:
    """Take what the page, or the browser about the page, has complained of since the last call."""
    return [entry["message"] for entry in driver.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]


def screenshot(driver: Any, path: Path) -> Path:
    """Save the whole page, from top to bottom."""
    height = driver.execute_script("return document.documentElement.scrollHeight")
    width = driver.execute_script("return innerWidth")
    content = driver.execute_cdp_cmd(
        "Page.captureScreenshot",
        {"captureBeyondViewport": True, "clip": {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}},
    )
    import base64

    path.write_bytes(base64.b64decode(content["data"]))
    return path
