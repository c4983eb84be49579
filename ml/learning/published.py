"""The published rows that have their answer, and their classes, as table expressions; what is wrong with them."""

from ml import answers, classes
from ml.classes import Class
from ml.errors import TractError
from ml.exposures import Exposure
from ml.lake.engine import Engine, added
from ml.lake.sql import quoted
from ml.records.publications import Publication

# The place of a row's class among the classes, from 0.
CODE = "code of the class"


class RowsError(TractError):
    """The published rows cannot be learned from; the message names the column and what was found."""


def where_of(exposure: Exposure, publication: Publication) -> str:
    """The rows and who reads them, as errors name them."""
    return f"{publication.publication_id}, read by exposure {exposure.name}"


def answered_sql(exposure: Exposure, publication: Publication) -> str:
    """The published rows that have their answer, as a table expression."""
    return f"(from {publication.table} where {answers.known_sql(exposure.spec.target)})"


def coded_sql(exposure: Exposure, publication: Publication, of: tuple[Class, ...]) -> str:
    """The same, of classes with a column `CODE`."""
    answered, target = answered_sql(exposure, publication), exposure.spec.target
    if not of:
        return answered
    code = classes.code_sql(target, exposure.columns[target], of)
    return f"(select *, {code} as {quoted(CODE)} from {answered})"


def classes_of(engine: Engine, exposure: Exposure, publication: Publication, where: str) -> tuple[Class, ...]:
    """The target's classes, rising; none of numbers.

    Raises:
        RowsError: There is one, or too many, or none that is the spec's positive; or SQL cannot write one.
    """
    if exposure.task == "regression":
        return ()
    spec = exposure.spec
    value = classes.read_sql(spec.target, exposure.columns[spec.target])
    counted = (
        f"select {value}, count(*) from {answered_sql(exposure, publication)} group by 1 order by 2 desc limit 10000"
    )
    found = added(engine.rows(counted), keys=1)
    if why := classes.unfit(spec.target, len(found), sum(count for _, count in found)):
        raise RowsError(f"{where}: {why}.")
    if any(isinstance(one, str) and chr(0) in one for one, _ in found):
        raise RowsError(
            f"{where}: a class of {spec.target} holds the character NUL, which SQL cannot write: remove it."
        )
    rising = tuple(sorted(one for one, _ in found))
    if why := classes.unfit_positive(spec.positive, rising):
        raise RowsError(f"{where}: {why}.")
    return rising
