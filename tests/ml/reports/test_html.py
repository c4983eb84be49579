"""Pages: what is put into a template is text, and numbers and moments are written one way."""

from datetime import datetime, timedelta, timezone

from ml.reports import html


def test_numbers_and_moments_are_written_for_a_person_and_values_are_text() -> None:
    environment = html.template(html.STYLE).environment
    page = environment.from_string(
        "{{ a | number }} {{ b | number }} {{ c | figure }} {{ d | when }} {{ e | as_json }}"
    )
    moment = datetime(2026, 1, 2, 1, 30, tzinfo=timezone(timedelta(hours=2)))
    told = page.render(a=20640, b=1234.5678, c=38180.29, d=moment, e={"b": "<", "a": 1})
    assert told == "20,640 1,234.57 38,180 2026-01-01 23:30 UTC {&#34;a&#34;: 1, &#34;b&#34;: &#34;&lt;&#34;}"


def test_every_page_has_the_one_style_which_knows_light_and_dark() -> None:
    for name in ("card.html.jinja", "report.html.jinja"):
        assert f"{{% include '{html.STYLE}' %}}" in html.source(name)
    assert "prefers-color-scheme: dark" in html.source(html.STYLE)
