"""What people are told of, and the words: exposure, what happened, the figure, the next step."""

from typing import Literal

Occasion = Literal["failed", "refused", "promoted", "drifted", "late", "coverage"]
# What each is, for who chooses.
OCCASIONS: dict[Occasion, str] = {
    "failed": "a publication was given up after three tries that reached the rows",
    "refused": "the gate refused a version: the champion before it serves on",
    "promoted": "another version serves: the gate, a search or a person promoted it",
    "drifted": "a column of a publication has moved far from what the champion learned from",
    "late": "no publication came within `fresh_within_hours` of the last one",
    "coverage": "intervals, or sets of classes, hold too few of the true values that came later",
}
# A column has moved far: as the tests of the mart model_monitoring fail, unless a project sets other bounds for them.
PSI_FAR, KS_FAR = 0.25, 0.3
# Coverage is short by this much of what the spec asks for, on so many true values: of fewer it may be chance.
COVERAGE_SHORT, FEWEST_ROWS = 0.05, 100


def failed(exposure: str, publication_id: str, reason: str) -> str:
    """A publication was given up."""
    return (
        f"{exposure}: {publication_id} was given up: {reason}. The predictions before it stand. Mend the cause, then "
        f"`tract retry {exposure}`, or build again."
    )


def refused(exposure: str, publication_id: str, version_id: str, champion_id: str | None, reason: str) -> str:
    """The gate refused a version, with the figures by which it did."""
    serves = f"{champion_id} serves on" if champion_id else "No version serves yet"
    return (
        f"{exposure}: version {version_id} of {publication_id} was refused: {reason}. {serves}. `tract promote "
        f"{version_id} --exposure {exposure} --reason …` makes it serve all the same."
    )


def promoted(exposure: str, number: int, version_id: str, promoted_by: str, reason: str) -> str:
    """Another version serves, or the first one: its number is 1."""
    back = f"`tract rollback --exposure {exposure} --reason …` is the way back"
    card = f"It is the first; `tract card {exposure}` saves what it is"
    return (
        f"{exposure}: version {version_id} serves from now on, promoted by {promoted_by}: {reason}. "
        f"{card if number == 1 else back}."
    )


def drifted(exposure: str, publication_id: str, baseline_id: str, column: str, psi: float, ks: float, far: int) -> str:
    """Columns have moved far; the one that has moved most is named."""
    columns = "1 column has" if far == 1 else f"{far} columns have"
    return (
        f"{exposure}: {columns} moved far in {publication_id} since {baseline_id}, which the champion learned from. "
        f"{column} most: PSI {psi:.3f}, Kolmogorov-Smirnov {ks:.3f}; far is above {PSI_FAR} or {KS_FAR}. "
        "lake.marts.model_monitoring has each column: see whether the data are right."
    )


def coverage(
    exposure: str, publication_id: str, version_id: str, promised: str, rows: int, held: float, asked: float
) -> str:
    """Too few true values lie in what was promised, `intervals` or `sets`."""
    return (
        f"{exposure}: {publication_id} brought {rows:,} true values that {version_id} had not seen, and its {promised} "
        f"hold {held:.1%} of them; {asked:.1%} were asked for. lake.marts.model_live_errors has the errors before: see "
        "whether the data have changed, and learn anew."
    )
