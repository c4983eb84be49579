"""Pictures of what was seen, kept for who looks at them."""

from typing import TYPE_CHECKING

from tests.browser.conftest import SHOTS

if TYPE_CHECKING:
    from playwright.sync_api import Page


def shoot(page: "Page", name: str) -> None:
    """Keep a picture of it in the light and in the dark."""
    SHOTS.mkdir(parents=True, exist_ok=True)
    page.emulate_media(color_scheme="dark")
    page.screenshot(path=SHOTS / f"{name}_dark.png")
    page.emulate_media(color_scheme="light")
    page.screenshot(path=SHOTS / f"{name}_light.png")
