"""A person at a real browser: Debian's chromium, driven by playwright."""

import contextlib
import importlib.util
import io
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium")
MISSING = [
    name
    for name, there in (("chromium", CHROMIUM), ("playwright", importlib.util.find_spec("playwright")))
    if there is None
]
needs_browser = pytest.mark.skipif(
    bool(MISSING), reason=f"{' and '.join(MISSING)} missing: apt-get install chromium, make venv"
)
PATIENCE_MS = 180_000


@contextlib.contextmanager
def chromium() -> Iterator[Any]:
    """Yield a browser without a window."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        try:
            yield browser
        finally:
            browser.close()


class Person:
    """Somebody at the page; what the browser complained about and what it asked of other servers is kept."""

    def __init__(self, browser: Any, url: str, user: str, **context: Any) -> None:
        self.context = browser.new_context(viewport={"width": 1360, "height": 900}, **context)
        self.context.set_default_timeout(PATIENCE_MS)
        self.page = self.context.new_page()
        self.complaints: list[str] = []
        self.foreign: list[str] = []
        self.url, self.user = url, user
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", lambda said: said.type == "error" and self.complaints.append(said.text))
        self.page.on(
            "request",
            lambda sent: sent.url.startswith((url, "data:", "blob:")) or self.foreign.append(sent.url),
        )

    def log_in(self, password: str) -> None:
        """Log in through Airflow's own form."""
        self.page.goto(f"{self.url}/auth/login")
        self.page.fill('input[name="username"]', self.user)
        self.page.fill('input[name="password"]', password)
        self.page.click('button[type="submit"]')
        self.page.wait_for_url(lambda address: "/auth/login" not in address, wait_until="commit")
        self.complaints.clear()  # of Airflow's own pages
        self.foreign.clear()

    def take_login(self, token: str) -> None:
        """Be logged in already."""
        self.context.add_cookies([{"name": "_token", "value": token, "url": self.url}])

    def open(self, project: str, section: str = "loop") -> Any:
        """Open the page at a section and wait until all its panels have been drawn."""
        self.page.goto("about:blank")  # another section alone would not load the page anew
        self.page.goto(f"{self.url}/satseg/page/#{project}/{section}")
        self.loaded()
        return self.page

    def loaded(self) -> None:
        """Wait until no panel is loading."""
        self.page.wait_for_selector("section#loop")
        self.page.wait_for_function("() => !document.querySelector('[aria-busy=true], .loading')")

    def panel(self, name: str) -> Any:
        """Return a panel by the id of its section."""
        return self.page.locator(f"section#{name}")

    def words(self, name: str) -> str:
        """Return the text of a panel."""
        return str(self.panel(name).inner_text())

    def picture(self, path: Path, *panels: str) -> None:
        """Save panels, or what the window shows, as a PNG of 256 colours."""
        from PIL import Image

        taken = self.page.screenshot(**({"full_page": True, "clip": self._around(panels)} if panels else {}))
        few_colours = Image.open(io.BytesIO(taken)).convert("RGB").quantize(256, dither=Image.Dither.NONE)
        few_colours.save(path, optimize=True)

    def _around(self, panels: tuple[str, ...], margin_px: int = 10) -> dict[str, float]:
        """Return the rectangle of the page that holds panels."""
        self.page.evaluate("() => window.scrollTo(0, 0)")
        boxes = [self.panel(name).bounding_box() for name in panels]
        left, top = (min(box[name] for box in boxes) - margin_px for name in ("x", "y"))
        right = max(box["x"] + box["width"] for box in boxes) + margin_px
        bottom = max(box["y"] + box["height"] for box in boxes) + margin_px
        return {"x": left, "y": top, "width": right - left, "height": bottom - top}

    def close(self) -> None:
        """Close the browser's window."""
        self.context.close()
