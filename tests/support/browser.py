"""A real Chromium without a window, driven through Debian's chromedriver; nothing is downloaded for it.

Threading: one thread drives one browser.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from selenium.webdriver import Chrome, ChromeOptions, ChromeService
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

PACKAGES: Final = {"chromium": "/usr/bin/chromium", "chromium-driver": "/usr/bin/chromedriver"}
"""Debian's packages and their programs."""
_FLAGS: Final = (
    "--headless",
    "--no-sandbox",  # tests run as root
    "--disable-gpu",
    "--disable-dev-shm-usage",
    # Nothing but OMERO.web is talked to.
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1600,900",
)
_PAGE_SECONDS: Final = 60.0


@contextmanager
def chromium(profile: Path) -> Iterator[Chrome]:
    """A browser with a profile of its own, and so with cookies of its own.

    Args:
        profile: A folder that does not exist yet.
    """
    options = ChromeOptions()
    options.binary_location = PACKAGES["chromium"]
    for flag in (*_FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    # With the path of a driver Selenium does not look for one to download.
    browser = Chrome(options, ChromeService(executable_path=PACKAGES["chromium-driver"]))
    try:
        browser.set_page_load_timeout(_PAGE_SECONDS)
        yield browser
    finally:
        browser.quit()


class WebClient:
    """OMERO.web in a browser, as a user sees it.

    Args:
        browser: A browser that nobody is logged in with.
        url: Where OMERO.web is, with a slash at its end.
    """

    def __init__(self, browser: Chrome, url: str) -> None:
        self._browser = browser
        self._url = url

    def log_in(self, user: str, password: str) -> None:
        """Fill in the login form, and wait until it has let us in."""
        self._browser.get(f"{self._url}webclient/login/")
        self._browser.find_element(By.NAME, "username").send_keys(user)
        self._browser.find_element(By.NAME, "password").send_keys(password)
        self._browser.find_element(By.CSS_SELECTOR, "input[type=submit]").click()
        self._wait("document.querySelector('#dataTree .jstree-node') !== null", "the tree of data after the login")

    def show_plate(self, plate_id: int) -> None:
        """Open the link that a submitter is given; it selects the plate where one may see it."""
        self._browser.get(f"{self._url}webclient/?show=plate-{plate_id}")
        self._wait("document.querySelector('#dataTree .jstree-node') !== null", "the tree of data")

    def wait_wells(self, count: int) -> list[str]:
        """Wait until the grid shows so many wells with a picture in each, and return their labels such as ``A1``."""
        pictures = (
            "[...document.querySelectorAll('#spw td.well img')]"
            ".filter(image => image.complete && image.naturalWidth > 1 && !image.src.endsWith('.gif')).length"
        )
        self._wait(f"{pictures} === {count}", f"{count} wells with thumbnails")
        return self.wells()

    def wells(self) -> list[str]:
        """Labels of the wells that the grid shows now."""
        found = self._browser.find_elements(By.CSS_SELECTOR, "#spw td.well .wellLabel")
        return [str(label.get_attribute("textContent")) for label in found]

    def selected(self) -> str:
        """Wait until something is selected in the tree of data, and return its text."""
        self._wait("document.querySelector('#dataTree .jstree-clicked') !== null", "a selection in the tree of data")
        return str(
            self._browser.find_element(By.CSS_SELECTOR, "#dataTree .jstree-clicked").get_attribute("textContent")
        )

    def text(self) -> str:
        """All that can be read on the page."""
        return str(self._browser.find_element(By.TAG_NAME, "body").text)

    def screenshot(self, file: Path) -> None:
        """Write what the window shows as PNG."""
        assert self._browser.save_screenshot(str(file))

    def _wait(self, condition: str, what: str) -> None:
        waiting = WebDriverWait(self._browser, _PAGE_SECONDS, poll_frequency=0.1)
        waiting.until(lambda browser: browser.execute_script(f"return {condition}"), f"{what}: not shown")
