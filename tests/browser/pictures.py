"""`make pictures`: pictures of Dagster's UI for README and docs/, after one run on the real data, on its own stack."""

import os
import sys
import tempfile
from pathlib import Path

from PIL import Image

from tests.browser.ui import Ui, chromium, opened

LARGEST = 300_000  # bytes of a picture


def graph(ui: Ui) -> Path:
    """The asset graph after a run; it is fitted to the room that there is when it opens."""
    ui.height(1060)
    ui.open("/asset-groups")
    ui.text("Hide navigation").click()
    ui.graph()
    ui.page.wait_for_timeout(10_000)  # until each asset has its colour
    return ui.shoot("ui_graph")


def version(ui: Ui) -> Path:
    """The newest version in pictures, as they open from its materialization: the first two of them."""
    ui.height(1965)
    ui.pictures()
    return ui.shoot("ui_version")


def tick(ui: Ui) -> Path:
    """What the sensor saw and decided when the publication came."""
    ui.height(800)
    ui.sensor("follow_publications")
    ui.text("All ticks").click()
    ui.page.get_by_text("Requested", exact=True).last.click()
    ui.page.get_by_role("button", name="View logs").first.click()
    ui.page.get_by_text("is not consumed yet").first.wait_for()
    return ui.shoot("ui_tick")


def smaller(path: Path) -> None:
    """With a palette of 256 colours, a third of the bytes."""
    with Image.open(path) as picture:
        picture.convert("RGB").quantize(256, kmeans=1, dither=Image.Dither.NONE).save(path, optimize=True)
    if (size := path.stat().st_size) > LARGEST:
        raise SystemExit(f"{path} has {size:,} bytes, more than {LARGEST:,}: show less of it.")


def main(directory: Path) -> None:
    """Build, publish and learn on a new stack, and make the pictures."""
    from orchestration import stack
    from orchestration.commands import run

    home = Path(os.environ["TRACT_HOME"])
    try:
        run.main()
        with chromium() as browser:
            ui = opened(browser, stack.ui(home), directory)
            for path in (graph(ui), version(ui), tick(ui)):
                smaller(path)
                sys.stdout.write(f"Wrote {path}\n")
    finally:
        stack.down(home)


if __name__ == "__main__":
    for name in [name for name in os.environ if name.startswith(("TRACT_", "HOUSING_", "MLFLOW_"))]:
        del os.environ[name]  # nobody's own lake is touched
    with tempfile.TemporaryDirectory(prefix="tract-pictures-") as made:
        os.environ["TRACT_HOME"] = made
        main(Path(sys.argv[1]))
