"""What decides a version's numbers beside its rows and its spec: the code that learns, all of it and nothing else.

Comments and docstrings decide nothing, so a module counts as its syntax tree without them.
"""

import ast
import hashlib
import platform
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from importlib import invalidate_caches
from importlib.metadata import Distribution, version
from importlib.util import find_spec, resolve_name
from pathlib import Path

HERE = Path(__file__).parent
# The rooms and modules of ml that learn, judge and predict; those of recipes count for the candidates that name them.
LEARNING = (
    "answers.py",
    "classes.py",
    "columns.py",
    "metrics.py",
    "learning",
    "linear",
    "lake/sql.py",
    "serving/scoring.py",
)
LIBRARIES = ("duckdb", "joblib", "numpy", "pandas", "pyarrow", "scikit-learn", "scipy", "threadpoolctl")


def code_version(estimators: Iterable[str] = ()) -> str:
    """sha256 over what learns: modules of ml, Python's minor version, libraries, and the candidates' own code.

    Args:
        estimators: Dotted paths of the candidates' estimators. One of an installed distribution counts as that and its
            version; one of an editable distribution, or of none, as the source of its module and of what this imports.
    """
    return _digest([_own(), *_candidates(estimators)])


@cache
def _own() -> str:
    libraries = [f"{name}=={version(name)}" for name in LIBRARIES]
    return _digest([".".join(platform.python_version_tuple()[:2]), *libraries, modules(HERE, LEARNING)])


def modules(root: Path, names: Iterable[str]) -> str:
    """sha256 over folders and modules below a root: their names, and what their statements say."""
    files = sorted(
        file for name in names for file in ([root / name] if name.endswith(".py") else root.rglob(f"{name}/*.py"))
    )
    return _digest(f"{file.relative_to(root)} {_meaning(file)}" for file in files)


def _digest(parts: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _meaning(file: Path) -> str:
    """What a module says, without comments and docstrings; of a compiled one its bytes."""
    if file.suffix != ".py":
        return hashlib.sha256(file.read_bytes()).hexdigest()
    tree = ast.parse(file.read_bytes())
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and ast.get_docstring(
            node, clean=False
        ):
            node.body = node.body[1:]
    return ast.dump(tree)


def _candidates(estimators: Iterable[str]) -> list[str]:
    """The distributions and the sources that estimators are of, a line each, sorted."""
    invalidate_caches()  # a notebook may have written a module a moment ago
    lines: set[str] = set()
    seen: set[str] = set()
    ahead = sorted({path.rpartition(".")[0] for path in estimators})
    while ahead:
        module = ahead.pop()
        if module in seen or not module:
            continue
        seen.add(module)
        package = module.partition(".")[0]
        if package in sys.stdlib_module_names:
            continue
        # first the package alone: to find a module in it, it would be imported, 2 s of scikit-learn
        owner = _owner(_file(package)) or _owner(_file(module))
        if owner:
            lines.add(f"{owner.metadata['Name']}=={owner.version}")
            continue
        file = _file(module)
        if file is None:
            continue  # of an import that names no module, or one that is not there: then fitting says so
        lines.add(f"{module} {_meaning(file)}")
        ahead.extend(sorted(_imported(module, file, seen)))
    return sorted(lines)


def _file(module: str) -> Path | None:
    try:
        found = find_spec(module)
    except (ImportError, ValueError):
        return None
    return Path(found.origin) if found and found.origin and found.has_location else None


def _owner(file: Path | None) -> Distribution | None:
    """The distribution whose record names a file; None for what is editable, or of no distribution.

    `importlib.metadata.packages_distributions` would take 1.3 s, a look through the records 0.1 s.
    """
    for entry in sorted(map(Path, sys.path), key=lambda path: -len(path.parts)):
        if file is None or not file.is_relative_to(entry):
            continue
        line = f"{file.relative_to(entry).as_posix()},".encode()
        for record in entry.glob("*.dist-info/RECORD"):
            content = record.read_bytes()
            if content.startswith(line) or b"\n" + line in content:
                return Distribution.at(record.parent)
    return None


def _imported(module: str, file: Path, seen: set[str]) -> Iterator[str]:
    """The modules that a module imports, and the packages that it is in, whose `__init__` runs before it."""
    parent = module
    while parent := parent.rpartition(".")[0]:
        yield parent
    if file.suffix != ".py":
        return
    package = module if file.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            name = resolve_name("." * node.level + (node.module or ""), package) if node.level else node.module or ""
            yield name
            yield from (f"{name}.{alias.name}" for alias in node.names)
