"""Dagster's UI in a browser, as a person sees it."""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from playwright.sync_api import Browser, Locator, Page, sync_playwright

PROGRAM = "chromium"  # Debian's; Playwright's own download is not needed
PATIENCE = 120_000  # ms; pages load in 2 s, and in 20 on a machine that builds and learns meanwhile
LOCATION = "/locations/__repository__@orchestration.definitions"
WIDTH, HEIGHT = 1600, 1000


class Ui:
    """One page of one browser."""

    def __init__(self, page: Page, address: str, shots: Path) -> None:
        self.page = page
        self.address = address
        self.shots = shots

    def open(self, path: str) -> Page:
        """Go to a page of the UI."""
        self.page.goto(f"{self.address}{path}")
        return self.page

    def text(self, words: str) -> Locator:
        """The first element of exactly these words."""
        return self.page.get_by_text(words, exact=True).first

    def height(self, pixels: int = HEIGHT) -> None:
        """How much of a page is seen."""
        self.page.set_viewport_size({"width": WIDTH, "height": pixels})

    def shoot(self, name: str) -> Path:
        """Keep a picture of the page as it is once it has come to rest."""
        self.page.mouse.move(1, 1)  # no tooltip
        self.page.wait_for_timeout(2000)  # transitions, and the answers that fill a page after its first words
        self.shots.mkdir(parents=True, exist_ok=True)
        path = self.shots / f"{name}.png"
        self.page.screenshot(path=path)
        return path

    # pages

    def graph(self) -> None:
        """The graph of all assets, both teams' groups open."""
        teams = ",".join(f"global@global:{team}" for team in ("producer", "consumer"))
        self.open(f"/asset-groups?expanded={quote(teams)}")
        self.node("model_card").wait_for()

    def node(self, name: str) -> Locator:
        """An asset in the graph, where names too long for their box have dots in the middle."""
        words = re.compile(rf"^({name}|{name[:5]}\w*…\w*{name[-4:]})(?![_a-z])")
        return self.page.locator("foreignObject").filter(has_text=words).first

    def job(self, name: str) -> None:
        """A job's page."""
        self.open(f"{LOCATION}/jobs/{name}")

    def launch(self, job: str) -> str:
        """Launch a job by its page's button; the id of the run, whose page is open then."""
        self.job(job)
        with self.page.expect_response(lambda answer: "mutation " in (answer.request.post_data or "")) as answer:
            self.page.get_by_role("button", name="Materialize all").click()
        found = re.search(r'"run":\{"id":"([0-9a-f-]{36})"', answer.value.text())
        assert found, answer.value.text()
        self.run(found[1])
        return found[1]

    def run(self, run_id: str) -> None:
        """A run's page."""
        self.open(f"/runs/{run_id}")

    def ended(self, status: str) -> None:
        """Wait until the run whose page is open has ended so."""
        self.text(status).wait_for(timeout=3 * PATIENCE)

    def asset(self, key: str, view: str = "overview") -> None:
        """An asset's page."""
        self.open(f"/assets/{quote(key)}?view={view}")

    def pictures(self) -> Locator:
        """Open the pictures of the newest version; all of them."""
        self.asset("housing_value/model_card")
        self.page.get_by_text("[Show Markdown]").first.click()
        images = self.page.get_by_role("img").and_(self.page.locator("[src^='data:image/svg+xml']"))
        images.first.wait_for()
        return images

    def sensor(self, name: str) -> None:
        """A sensor's page."""
        self.open(f"{LOCATION}/sensors/{name}")


@contextmanager
def chromium() -> Iterator[Browser]:
    """Chromium, closed in the end."""
    with sync_playwright() as playwright:
        # its sandbox does not start as root, which CI is; it sees nothing but our own pages
        started = playwright.chromium.launch(executable_path=shutil.which(PROGRAM), args=["--no-sandbox"])
        try:
            yield started
        finally:
            started.close()


def opened(browser: Browser, address: str, shots: Path) -> Ui:
    """A page of it for the UI at this address."""
    page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, timezone_id="UTC", locale="en-US")
    page.set_default_timeout(PATIENCE)
    return Ui(page, address, shots)
