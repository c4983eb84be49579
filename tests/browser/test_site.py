"""The site of the docs in a real browser, opened as files: no page is wider than a phone, and search works."""

from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

import pytest

from tests.browser.shots import shoot
from tests.conftest import ROOT
from tests.site import build, needs_tools

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser site"), needs_tools]


SHOWN = ("index.html", "exposures.html", "learning.html", "api.html", "decisions/01-ducklake.html")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("site")
    built = build(ROOT, target)
    assert built.returncode == 0, built.stderr
    return target


@pytest.mark.parametrize("width", [390, 1280])
def test_pages_fit_and_ask_nobody(width: int, site: Path, chromium: "Browser") -> None:
    page = chromium.new_page(viewport={"width": width, "height": 1000})
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    for path in sorted(site.rglob("*.html")):
        if path.name == "404.html":  # which is for servers: its addresses begin at their root
            continue
        page.goto(path.as_uri())
        wider = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wider <= 0, path.name
        if path.relative_to(site).as_posix() in SHOWN:
            shoot(page, f"site_{path.stem}_{width}")
    page.close()
    assert len(asked) > 100
    files = {site / unquote(url.removeprefix(f"{site.as_uri()}/").partition("?")[0]): url for url in asked}
    assert [url for path, url in files.items() if not (url.startswith(site.as_uri()) and path.is_file())] == []


def test_search_finds_a_decision(site: Path, chromium: "Browser") -> None:
    page = chromium.new_page()
    page.goto((site / "index.html").as_uri())
    words = page.get_by_role("textbox", name="Search")
    words.click()
    words.press_sequentially("conformal")
    page.locator(".md-search-result__link").filter(has_text="dbt tests them").first.click()
    page.wait_for_url("**/decisions/05-conformal-intervals.html*")
    page.close()
