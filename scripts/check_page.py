"""The checks of scripts/check_external.sh in headless Chromium: pages with vessels that turn.

    python scripts/check_page.py CHROMIUM FOLDER PAGE ...

Each page has to draw the vessels, turn them by mouse and keyboard, and ask for nothing but itself. Without JavaScript
and without WebGL it has to show the projections and say so. FOLDER gets screenshots in the light and in the dark, 400
and 1400 pixels wide, and the printed page.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from playwright.sync_api import Browser, Page, TimeoutError, sync_playwright

SOFTWARE_GL = ("--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist")
WIDTHS = (400, 1400)
LEAST_PIXELS = 500
TIMEOUT_MS = 300_000
"""How long a step may take: on a busy machine software WebGL can need more than Playwright's 30 s."""
EYE = "document.querySelector('#vessel-tree .drawing').layout.scene.camera.eye"
DRAWN = "window.Plotly && document.querySelector('#vessel-tree .drawing').querySelector('canvas')"


def main(chromium: str, folder: str, *pages: str) -> None:
    """Checks all pages; the first check that fails raises an AssertionError that says which."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        start = playwright.chromium.launch
        browser = start(executable_path=chromium, args=SOFTWARE_GL)
        without_gl = start(executable_path=chromium, args=["--disable-3d-apis"])
        print(f"Chromium {browser.version}")
        for path in map(Path, pages):
            for check in (draws_and_turns, can_be_read, prints):
                print(f"{path.name}: {check(browser, path.resolve(), Path(folder))}")
            print(f"{path.name}: {without_javascript(browser, path.resolve())}")
            print(f"{path.name}: {without_webgl(without_gl, path.resolve())}")
        browser.close()
        without_gl.close()


def draws_and_turns(browser: Browser, path: Path, folder: Path) -> str:
    """Draws, turns by drag and by key, looks from the front again, hides a part; no request leaves the file."""
    requests: list[str] = []
    page = opened(browser, path, on_request=requests.append)
    view = page.locator("#vessel-tree .drawing")
    first = pixels(page)
    n_drawn = coloured(first)
    assert n_drawn > LEAST_PIXELS, f"{n_drawn} coloured pixels"

    def moved(by: Callable[[], object], what: str) -> None:
        before = page.evaluate(f"JSON.stringify({EYE})")
        by()
        try:
            page.wait_for_function(f"before => JSON.stringify({EYE}) != before", arg=before)
        except TimeoutError:
            raise AssertionError(f"{what} does not turn the vessels") from None

    def drag() -> None:
        box = view.bounding_box()
        assert box
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        page.mouse.move(x, y)
        page.mouse.down()
        page.mouse.move(x + 120, y + 40, steps=8)
        page.mouse.up()

    moved(drag, "the mouse")
    assert (pixels(page) != first).any(axis=-1).sum() > LEAST_PIXELS, "the picture stays the same"
    page.get_by_role("button", name="Farther").focus()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className").startswith("drawing"), "Tab does not reach the vessels"
    for key in ("ArrowLeft", "ArrowUp", "+", "-"):
        moved(lambda key=key: page.keyboard.press(key), key)
    moved(lambda: page.get_by_role("button", name="From the left").click(), "a button")
    parts = page.get_by_role("checkbox")
    for part in parts.all():
        part.uncheck()
    for _attempt in range(TIMEOUT_MS // 500):
        page.wait_for_timeout(500)
        if coloured(pixels(page)) < n_drawn / 10:
            break
    else:
        raise AssertionError("a hidden part is still drawn")
    outside = [url for url in requests if url != path.as_uri() and not url.startswith(("data:", "blob:"))]
    assert not outside, f"requests: {outside}"
    page.context.close()
    return f"draws {n_drawn} pixels of vessels, turns, asks for nothing ({len(requests)} requests within the file)"


def can_be_read(browser: Browser, path: Path, folder: Path) -> str:
    """Takes screenshots of each width and scheme; nothing is wider than the window, and the dark page is dark."""
    for width in WIDTHS:
        for scheme in ("light", "dark"):
            page = opened(browser, path, width=width, color_scheme=scheme)
            wide = page.evaluate("document.scrollingElement.scrollWidth")
            assert wide <= width, f"{wide} pixels in a window of {width}"
            ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
            assert (ground == "rgb(255, 255, 255)") == (scheme == "light"), f"{scheme}: the ground is {ground}"
            page.screenshot(path=folder / f"{path.stem}_{width}_{scheme}.png", full_page=True)
            page.context.close()
    return f"fits {' and '.join(map(str, WIDTHS))} pixels, light and dark"


def prints(browser: Browser, path: Path, folder: Path) -> str:
    """Prints the page; the projections are on paper and the view that turns is not."""
    page = opened(browser, path, color_scheme="dark")
    page.emulate_media(media="print")
    assert not page.locator("#vessel-tree").is_visible() and page.locator("img").last.is_visible()
    page.pdf(path=folder / f"{path.stem}.pdf", format="A4", print_background=True)
    page.context.close()
    return f"prints ({(folder / f'{path.stem}.pdf').stat().st_size // 1000} kB)"


def without_javascript(browser: Browser, path: Path) -> str:
    """The projections and a line remain, and no control is there that does nothing."""
    page = new_page(browser, java_script_enabled=False)
    page.goto(path.as_uri())
    told = page.locator("noscript")
    assert told.is_visible() and "turn only where JavaScript runs" in told.inner_text()
    assert page.locator("img").last.is_visible()
    assert not page.locator("#vessel-tree .drawing").is_visible() and not page.locator(".controls").is_visible()
    page.context.close()
    return "says that it needs JavaScript, and shows the projections"


def without_webgl(browser: Browser, path: Path) -> str:
    """The projections and a line remain."""
    page = new_page(browser)
    page.goto(path.as_uri())
    assert page.get_by_text("it lacks WebGL").is_visible() and page.locator("img").last.is_visible()
    assert not page.locator("#vessel-tree .drawing").is_visible()
    page.context.close()
    return "says that it needs WebGL, and shows the projections"


def opened(
    browser: Browser,
    path: Path,
    *,
    width: int = 1400,
    on_request: Callable[[str], None] = str,
    color_scheme: str = "light",
) -> Page:
    """Returns a page that has drawn its vessels; an error in its console ends the check."""
    page = new_page(browser, viewport={"width": width, "height": 900}, color_scheme=color_scheme)
    page.on("request", lambda request: on_request(request.url))
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto(path.as_uri())
    page.wait_for_function(DRAWN)
    page.wait_for_timeout(1500)
    assert not problems, problems
    return page


def new_page(browser: Browser, **options: Any) -> Page:
    """Returns an empty page in a context of its own that has these options; each step may take TIMEOUT_MS."""
    context = browser.new_context(**options)
    context.set_default_timeout(TIMEOUT_MS)
    return context.new_page()


def pixels(page: Page) -> np.ndarray:
    """Returns the picture of the vessels (H, W, 3)."""
    return np.asarray(Image.open(io.BytesIO(page.locator("#vessel-tree .drawing").screenshot())).convert("RGB"))


def coloured(rgb: np.ndarray) -> int:
    """Returns the number of pixels that are not grey: those of vessels."""
    return int((np.ptp(rgb.astype(int), axis=-1) > 60).sum())


if __name__ == "__main__":
    main(*sys.argv[1:])
