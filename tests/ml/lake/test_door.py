"""What the door to the lake decides, whatever the environment says."""

from datetime import timedelta
from pathlib import Path

import pytest

from ml import lake


@pytest.mark.parametrize("zone", ["", "Nowhere/Else", "America/Los_Angeles"])
def test_moments_are_in_utc_whatever_the_zone_of_the_process(
    home: Path, zone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", zone)
    with lake.connect() as con:
        ((moment,),) = con.execute("select now()").fetchall()
        ((in_a_cursor,),) = con.cursor().execute("select now()").fetchall()
    assert (moment.utcoffset(), in_a_cursor.utcoffset()) == (timedelta(0), timedelta(0))
