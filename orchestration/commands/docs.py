"""`tract docs`: dbt's docs as one file, with the arrows that dbt itself cannot draw.

To dbt an exposure is an end and a source a beginning. Here the tables of `ml` are what the exposures write, and
`ops.publications` what the builds of their features write: so the lineage goes on, through the exposure to the marts.
"""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from ml.errors import TractError
from ml.manifest import read_exposures
from orchestration.assets.translator import ML_SOURCES
from orchestration.project import ROOT, install_packages, there

TARGET = ROOT / "target"
FILE = TARGET / "docs.html"

# The types of nodes from which dbt's page draws arrows, as its script says them.
_DRAWN = '["model","source","seed","snapshot","metric","semantic_model","saved_query","function"]'


class DocsError(TractError):
    """The docs cannot be made; the message says why."""


def writers(manifest: Mapping[str, Any]) -> dict[str, list[str]]:
    """Unique id of each table of `ml` and `ops` → the unique ids of the nodes that write it."""
    exposures = read_exposures(manifest)
    ids = {node["name"]: unique_id for unique_id, node in manifest["exposures"].items()}
    written: dict[str, list[str]] = {}
    for unique_id, source in manifest["sources"].items():
        table = source["name"]
        if source["source_name"] not in ML_SOURCES:
            continue
        if table == "publications":
            written[unique_id] = sorted({exposure.unique_id for exposure in exposures})
        else:  # some tables are of those exposures whose spec names them, the others of all
            named = [exposure for exposure in exposures if table in (exposure.spec.predictions_table, exposure.heldout)]
            written[unique_id] = [ids[exposure.name] for exposure in named or exposures]
    return written


def page(index: str, manifest: Mapping[str, Any], catalog: Mapping[str, Any]) -> str:
    """The page of dbt's docs with manifest and catalog inside, and an arrow from each writer to what it writes.

    Args:
        index: dbt's page, as `dbt docs generate` leaves it.
        manifest: dbt's manifest.
        catalog: dbt's catalog.

    Raises:
        DocsError: the page is not the one that this was written for.
    """
    parents = {**manifest["parent_map"], **writers(manifest)}
    inlined = {
        '"MANIFEST.JSON INLINE DATA"': json.dumps({**manifest, "parent_map": parents}),
        '"CATALOG.JSON INLINE DATA"': json.dumps(catalog),
        _DRAWN: _DRAWN.replace("]", ',"exposure"]'),
    }
    for old in inlined:
        if (found := index.count(old)) != 1:
            raise DocsError(
                f"dbt's page has {old} {found} times, not once: orchestration/commands/docs.py knows that of dbt 1.11."
            )
    for old, new in inlined.items():
        index = index.replace(old, new)
    return index


def main() -> None:
    """Generate the docs of the lake as it is now, and say where they are.

    Raises:
        DocsError: dbt's page is not the one that this was written for.
        ParseError: dbt cannot link the project's packages.
        SystemExit: dbt failed, and has said why; its exit code.
    """
    dbt = Path(sys.executable).with_name("dbt")
    command = [str(dbt), "--quiet", "--warn-error", "docs", "generate", *there(), "--target-path", str(TARGET)]
    install_packages()
    ended = subprocess.run(command, cwd=ROOT, check=False)
    if ended.returncode:
        sys.exit(ended.returncode)
    index, manifest, catalog = (
        (TARGET / name).read_text(encoding="utf-8") for name in ("index.html", "manifest.json", "catalog.json")
    )
    FILE.write_text(page(index, json.loads(manifest), json.loads(catalog)), encoding="utf-8")
    sentence = f"The docs are one file, to open in a browser or to send to someone: {FILE.as_uri()}"
    Console(highlight=False, emoji=False).print(sentence, markup=False, soft_wrap=True)
