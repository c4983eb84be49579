"""What the Markdown of the repository points to is there, and what it shows as code can be read as such."""

import ast
import json
import re
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any
from urllib.parse import unquote

import jinja2
import pytest
import sqlglot
import yaml
from markdown_it import MarkdownIt
from markdown_it.token import Token

from ml.spec import CandidateSpec, Spec
from orchestration.commands import cli
from tests.conftest import ROOT

# Git is not asked: tests run on copies of a checkout too.
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for pattern in ("*.md", *(f"{room}/**/*.md" for room in ("docs", "dbt_project", "ml", "orchestration", "tests")))
    for path in ROOT.glob(pattern)
    if not {"target", "dbt_packages"} & set(path.relative_to(ROOT).parts)
)
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
MARKDOWN = MarkdownIt("commonmark").enable("table")


@dataclass(frozen=True)
class Code:
    """A block of code.

    Attributes:
        place: File and line, `README.md:12`.
    """

    place: str
    language: str
    text: str


def tokens(page: str) -> list[Token]:
    return MARKDOWN.parse((ROOT / page).read_text())


def inline(page: str) -> Iterator[Token]:
    return (part for token in tokens(page) for part in token.children or ())


def links(page: str) -> list[str]:
    """The addresses of a page's links and pictures."""
    named = [str(token.attrs.get("href") or token.attrs.get("src") or "") for token in inline(page)]
    return [address for address in named if address]


def blocks(page: str) -> list[Code]:
    return [
        Code(f"{page}:{token.map[0] + 1}", token.info.strip(), token.content)
        for token in tokens(page)
        if token.type == "fence" and token.map
    ]


@cache
def anchors(page: str) -> frozenset[str]:
    """The names by which GitHub lets a link reach the headings of a page."""
    found: Counter[str] = Counter()
    names = set()
    for opening, heading in pairwise(tokens(page)):
        if opening.type != "heading_open":
            continue
        text = "".join(part.content for part in heading.children or ())
        name = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
        names.add(f"{name}-{found[name]}" if found[name] else name)
        found[name] += 1
    return frozenset(names)


def broken(page: str, address: str) -> str:
    """Why a link leads nowhere; empty where it leads somewhere, or out of the repository."""
    if re.match(r"[a-z]+:", address) or address.startswith("#!/"):  # dbt's docs have addresses of their own
        return ""
    path, _, anchor = unquote(address).partition("#")
    target = (ROOT / page).parent / path if path else ROOT / page
    if not target.resolve().is_relative_to(ROOT) or not target.exists():
        return f"{page}: {address}: there is no {path}"
    if anchor and target.suffix == ".md":
        names = anchors(target.resolve().relative_to(ROOT).as_posix())
        if anchor not in names:
            return f"{page}: {address}: no heading is called so, of {', '.join(sorted(names))}"
    return ""


def spoken(text: str) -> list[tuple[str, str]]:
    """What a line of a shell asks of make or of tract: the program, and its target or verb."""
    return re.findall(r"(?:^|&& |; )(?:TRACT_\S+ )?(make|tract) ((?!PYTHON=)[a-z][a-z-]*)", text, re.MULTILINE)


def unknown(said: tuple[str, str]) -> bool:
    program, verb = said
    return verb not in (TARGETS if program == "make" else set(cli.tract.commands))


def settings(said: Any) -> Iterator[str]:
    """The names of settings in a block of YAML: below `ml` of an exposure, or at its top where it is a part of one."""
    if isinstance(said, list):
        for part in said:
            yield from settings(part)
    elif isinstance(said, dict):
        for inner in ("exposures", "config", "meta", "ml"):
            if inner in said:
                yield from settings(said[inner])
                return
        yield from said


def parse_sql(text: str) -> None:
    jinja2.Environment().parse(text)
    if "{%" in text:  # a macro, which is no statement
        return
    sqlglot.parse(re.sub(r"\{\{.*?\}\}", "lake.ml.predictions", text), dialect="duckdb")


PARSERS: dict[str, Callable[[str], Any]] = {
    "python": ast.parse,
    "yaml": yaml.safe_load,
    "json": json.loads,
    "sql": parse_sql,
    "sh": lambda text: subprocess.run(["sh", "-n"], input=text, text=True, capture_output=True, check=True),
}
CODE = [code for page in PAGES for code in blocks(page)]


def test_the_pages_are_found() -> None:
    assert {
        "README.md",
        "docs/operating.md",
        "docs/decisions/01-ducklake.md",
        "dbt_project/housing/data/README.md",
    } <= {*PAGES}
    assert {code.language for code in CODE} <= {*PARSERS, ""}
    assert len(CODE) > 25


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    assert [why for address in links(page) if (why := broken(page, address))] == []


@pytest.mark.parametrize("code", [code for code in CODE if code.language], ids=lambda code: code.place)
def test_code_can_be_read(code: Code) -> None:
    PARSERS[code.language](code.text)


@pytest.mark.parametrize("page", [page for page in PAGES if page != "CHANGELOG.md"])  # it tells of what was, too
def test_targets_and_verbs_are_there(page: str) -> None:
    said = [code.text for code in blocks(page) if code.language in ("sh", "")]
    said += [token.content for token in inline(page) if token.type == "code_inline"]
    assert [asked for text in said for asked in spoken(text) if unknown(asked)] == []


# These have settings of dbt's own files.
OF_DBT = ("docs/environments.md:", "docs/scale-out.md:")
EXPOSURES = [code for code in CODE if code.language == "yaml" and not code.place.startswith(OF_DBT)]


@pytest.mark.parametrize("code", EXPOSURES, ids=lambda code: code.place)
def test_settings_are_there(code: Code) -> None:
    named = set(settings(yaml.safe_load(code.text)))
    assert named
    assert named - {*Spec.model_fields, *CandidateSpec.model_fields} == set()


def test_what_leads_nowhere_is_found() -> None:
    assert broken("README.md", "docs/events.md") == "README.md: docs/events.md: there is no docs/events.md"
    assert "no heading is called so" in broken("README.md", "docs/event.md#under-water")
    assert "no heading is called so" in broken("README.md", "#why-not")
    assert "there is no" in broken("README.md", "../elsewhere.md")
    for address in ("#why", "docs/event.md#under-fire", "LICENSE", "https://example.com/nothing"):
        assert broken("README.md", address) == ""


def test_what_is_asked_of_make_and_tract_is_found() -> None:
    text = "make run    # not `make nothing`\ntract status\ncd x && tract learn\nmake PYTHON=python3.12"
    assert spoken(text) == [("make", "run"), ("tract", "status"), ("tract", "learn")]
    assert [unknown(asked) for asked in spoken(text)] == [False, False, True]


def test_sql_that_cannot_be_read_is_found() -> None:
    with pytest.raises(sqlglot.errors.ParseError):
        parse_sql("select from where")
