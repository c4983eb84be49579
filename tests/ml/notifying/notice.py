"""A notice that nobody was told yet."""

from datetime import UTC, datetime

from ml.records.notices import Notice

REFUSED = Notice(
    notice_id="0123456789abcdef0123456789abcdef",
    exposure="points",
    about="features.points@7",
    occasion="refused",
    recipient="OPS",
    template="json",
    text="points: version a<b of features.points@7 was refused & <!channel> is told: 1 ≠ 2.",
    noticed_at=datetime(2026, 1, 1, 12, tzinfo=UTC),
    state=None,
    reason=None,
    tries=0,
    first_at=None,
    stated_at=None,
)
