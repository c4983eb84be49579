"""Whether a dotted path names something here, as far as files tell: nothing is imported, which may take seconds."""

import ast
import difflib
from collections.abc import Iterator
from importlib import invalidate_caches
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec
from pathlib import Path

# Packages that come with an extra of Tract.
EXTRAS = {"lightgbm": "boosting"}


def installing(path: str) -> str:
    """What a person does to have the package of `package.module.Name` here."""
    extra = EXTRAS.get(path.partition(".")[0])
    how = f": `pip install 'tract[{extra}]'`, in a checkout of Tract `make {extra}`" if extra else ""
    return f"install its package{how}"


def missing(path: str) -> str | None:
    """What of `package.module.Name` is not here, in words; None where it is, or where only an import can tell."""
    module, _, name = path.rpartition(".")
    if not module:
        return "it names no module"
    invalidate_caches()  # a notebook may have written a module a moment ago
    found = None
    for part in _heads(module):
        spec = _spec(part, found)
        if spec is None:
            # a module may put others where the import looks first, as os does its path
            hidden = found is not None and "sys.modules" in (_text(found) or "sys.modules")
            return None if hidden else f"there is no {'module' if '.' in part else 'package'} {part} here"
        found = spec
    assert found is not None
    bound = _bound(found)
    if bound is None or name in bound or _spec(path, found):
        return None
    near = difflib.get_close_matches(name, sorted(bound), n=1)
    return f"{module} has no {name}{f', but {near[0]}' if near else ''}"


def _heads(module: str) -> Iterator[str]:
    """`a`, `a.b`, `a.b.c` of `a.b.c`."""
    parts = module.split(".")
    yield from (".".join(parts[: count + 1]) for count in range(len(parts)))


def _spec(module: str, package: ModuleSpec | None) -> ModuleSpec | None:
    """Where a module is: a package's own, or one that stands by itself."""
    if package is not None:
        inside = package.submodule_search_locations
        return PathFinder.find_spec(module, inside) if inside else None
    try:
        return find_spec(module)
    except ValueError:  # of a module that was made without a file, as __main__
        return None


def _bound(spec: ModuleSpec) -> set[str] | None:
    """The names that a module gives a meaning to anywhere in it; None where its text does not tell."""
    text = _text(spec)
    if text is None:
        return None
    names: set[str] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names.update(alias.asname or alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.Name):
            names.add(node.id)
    return None if names & {"*", "__getattr__", "globals", "exec"} else names


def _text(spec: ModuleSpec) -> str | None:
    """A module's source; None of one that is compiled, or has no file."""
    return Path(spec.origin).read_text(errors="replace") if spec.origin and spec.origin.endswith(".py") else None
