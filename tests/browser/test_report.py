"""The report and the cards of a lake in a real browser: nothing is wider than a phone, in the light and in the dark."""

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.browser.shots import shoot
from tests.conftest import ROOT

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]


@pytest.fixture(scope="module")
def report(learned: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    assert learned
    file = tmp_path_factory.mktemp("report") / "report.html"
    command = [sys.executable, "-m", "orchestration.commands", "report", "--file", str(file)]
    made = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert made.returncode == 0, made.stderr
    return file


@pytest.mark.parametrize("width", [390, 1280])
def test_the_report_and_its_cards_fit(width: int, report: Path, learned: str, chromium: "Browser") -> None:
    page = chromium.new_page(viewport={"width": width, "height": 1000})
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    for file, name in ((report, "report"), (report.with_name("report-housing_value.html"), "card")):
        page.goto(file.as_uri())
        wider = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wider <= 0, file.name
        assert page.get_by_text(learned).first.is_visible()
        shoot(page, f"{name}_{width}")
    page.close()
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
