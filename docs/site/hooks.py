"""What mkdocs asks while it builds the site: files keep the paths that they have in the repository.

So the links between them, in docs/ and out of it, lead to the same on GitHub and in the site, and those that lead
nowhere fail `mkdocs build --strict`.
"""

import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

# Outside docs/: where it stands, and which page of the site it is.
OUTSIDE = {
    "README.md": "index.html",
    "CHANGELOG.md": "changelog.html",
    "CONTRIBUTING.md": "contributing.html",
    "SECURITY.md": "security.html",
    "LICENSE": "LICENSE.txt",
    "dbt_project/housing/data/README.md": "data.html",
}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """The files of docs/ and those outside, by their paths in the repository."""
    root = Path(config.config_file_path).parent
    inside = [file for file in files if file.inclusion.is_included()]
    found = {f"docs/{file.src_uri}": (file.abs_src_path, file.dest_uri) for file in inside}
    found |= {path: (str(root / path), page) for path, page in OUTSIDE.items()}
    made = Files([])
    for path, (source, page) in found.items():
        named = File.generated(config, path, abs_src_path=source)
        named.dest_uri = page
        made.append(named)
    return made


def on_page_markdown(markdown: str, **_: Any) -> str:
    r"""Code in a table says `\|` on GitHub where it means `|`; Python's Markdown takes it at its word."""
    return re.sub(r"`[^`\n]+`", lambda code: code[0].replace(r"\|", "|"), markdown)
