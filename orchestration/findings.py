"""What is found of an asset over time, and reported as a check when it changes."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

import dagster as dg


@dataclass(frozen=True)
class Finding:
    """Whether something holds, in words."""

    passed: bool
    sentence: str


@dataclass(frozen=True)
class Report:
    """A finding, and the check that it is reported by.

    Attributes:
        state: Another one when the finding is to be reported anew.
    """

    key: dg.AssetKey
    check: str
    finding: Finding
    state: str


def unreported(cursor: str | None, reports: Mapping[str, Report]) -> tuple[list[dg.AssetCheckEvaluation], str]:
    """An evaluation for each report whose state is not the one that a sensor's cursor holds, and the next cursor.

    Args:
        reports: By a name that stays the same.
    """
    told: dict[str, str] = json.loads(cursor) if cursor else {}
    news = {name: report for name, report in reports.items() if told.get(name) != report.state}
    events = [
        dg.AssetCheckEvaluation(
            asset_key=report.key,
            check_name=report.check,
            passed=report.finding.passed,
            description=report.finding.sentence,
            metadata={},
        )
        for report in news.values()
    ]
    return events, json.dumps(told | {name: report.state for name, report in news.items()})
