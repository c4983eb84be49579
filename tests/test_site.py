"""The site of the docs is whole, asks no other server for anything, and is not built where a link leads nowhere."""

import re
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.site import build, needs_tools, sources

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("site"), needs_tools]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site as it is."""
    target = tmp_path_factory.mktemp("site")
    built = build(ROOT, target)
    assert built.returncode == 0, built.stderr
    assert "WARNING" not in built.stderr
    return target


def test_every_page_of_the_docs_is_there(site: Path) -> None:
    pages = {path.relative_to(ROOT / "docs").with_suffix(".html").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    pages = {page.replace("README.html", "index.html") for page in pages}
    assert len(pages) > 25
    for page in {*pages, "index.html", "security.html", "changelog.html", "contributing.html", "data.html"}:
        assert "<h1" in (site / page).read_text(), page
    assert not list(site.rglob("*.py"))


def test_links_out_of_docs_lead_to_pages(site: Path) -> None:
    assert '<a href="../event.html#under-fire">' in (site / "decisions" / "02-locks.html").read_text()
    assert '<a href="security.html#who-can-do-what">' in (site / "settings.html").read_text()
    start = (site / "index.html").read_text()
    for address in ("event.html#what-is-kept", "decisions/index.html", "data.html", "LICENSE.txt", "explore.ipynb"):
        assert f'<a href="{address}">' in start
        assert (site / address.partition("#")[0]).exists()


def test_the_page_of_the_api_has_what_the_docstrings_say(site: Path) -> None:
    page = (site / "api.html").read_text()
    for name in re.findall(r"^::: (\S+)$", (ROOT / "docs" / "api.md").read_text(), re.MULTILINE):
        assert f'id="{name}"' in page
    assert "Predict rows with the exposure's champion, whose file's sha256 is checked first." in page
    assert ":::" not in re.sub(r"<code>:::</code>", "", page)


def test_code_in_a_table_has_its_bars(site: Path) -> None:
    assert "(all|latest|" in (site / "exposures.html").read_text()


def test_nothing_is_asked_of_another_server(site: Path) -> None:
    loaded = r"<(?:script|img|iframe|source)[^>]* src=\"?([^\" >]+)|<link[^>]* href=\"?([^\" >]+)"
    asked = {
        a or b for page in site.rglob("*.html") for a, b in re.findall(loaded, page.read_text()) if "://" in (a or b)
    }
    asked |= {
        address
        for sheet in site.rglob("*.css")
        for address in re.findall(r"url\([\"']?((?:https?:)?//[^)\"']+)", sheet.read_text())
    }
    assert asked == set()


@pytest.mark.parametrize(
    ("page", "link", "said"),
    [
        ("docs/event.md", "../CHANGES.md", "'../CHANGES.md'"),
        ("README.md", "docs/event.md#under-water", "does not contain an anchor '#under-water'"),
    ],
)
def test_a_link_that_leads_nowhere_fails(page: str, link: str, said: str, tmp_path: Path) -> None:
    place = sources(tmp_path / "sources")
    (place / page).write_text(f"{(place / page).read_text()}\n[nowhere]({link})\n")
    built = build(place, tmp_path / "site")
    assert built.returncode == 1
    assert said in built.stderr
