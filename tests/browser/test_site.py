"""The site of the docs in a real browser, opened as files: no page is wider than a phone, and search works."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.browser.conftest import SHOTS
from tests.conftest import ROOT
from tests.site import build, needs_tools

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser site"), needs_tools]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("site")
    built = build(ROOT, target)
    assert built.returncode == 0, built.stderr
    return target


@pytest.fixture(scope="module")
def opened(chromium: None) -> "Iterator[Browser]":
    from tests.browser.ui import chromium as launched

    with launched() as browser:
        yield browser


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_fit_and_ask_nobody(width: int, scheme: str, site: Path, opened: "Browser") -> None:
    page = opened.new_page(viewport={"width": width, "height": 1000}, color_scheme=scheme)  # type: ignore[arg-type]
    asked: list[str] = []
    missing: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("requestfailed", lambda request: missing.append(request.url))
    for path in sorted(site.rglob("*.html")):
        if path.name == "404.html":  # which is for servers: its addresses begin at their root
            continue
        page.goto(path.as_uri())
        wider = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wider <= 0, path.name
        if path.stem in ("index", "exposures", "learning", "api", "01-ducklake"):
            SHOTS.mkdir(parents=True, exist_ok=True)
            page.screenshot(path=SHOTS / f"site_{path.parent.name[:9]}_{path.stem}_{width}_{scheme}.png")
    page.close()
    assert missing == []
    assert {url for url in asked if not url.startswith(site.as_uri())} == set()
    assert len(asked) > 100


def test_search_finds_a_decision(site: Path, opened: "Browser") -> None:
    page = opened.new_page()
    page.goto((site / "index.html").as_uri())
    page.get_by_role("textbox", name="Search").fill("normalized cross-conformal")
    page.get_by_role("link", name="Intervals are conformal, and dbt tests them").first.click()
    page.wait_for_url("**/decisions/05-conformal-intervals.html*")
    page.close()
