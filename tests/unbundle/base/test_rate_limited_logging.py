import logging

import pytest

from unbundle.base.rate_limited_logging import MINUTE, Sparing


def test_a_line_warns_once_a_minute_and_says_how_often_it_would_have(
    caplog: pytest.LogCaptureFixture,
) -> None:
    now = 0.0
    logger = logging.getLogger("sparing")
    logger.addFilter(Sparing(lambda: now))
    for number in range(5):
        logger.warning("full: %d", number)
        logger.error("broken: %d", number)
    logger.warning("another line")
    now = MINUTE
    for number in range(2):
        logger.warning("full: %d", number)
    told = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    # The loops are two lines.
    assert told == ["full: 0", "another line", "full: 0"]
    assert len(caplog.records) == 3 + 5


def test_the_next_warning_of_a_line_counts_those_held_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    now = 0.0
    logger = logging.getLogger("counting")
    logger.addFilter(Sparing(lambda: now))
    for second in (0, 1, 2, MINUTE):
        now = second
        logger.warning("full: %d", second)
    assert [record.getMessage() for record in caplog.records] == [
        "full: 0",
        "full: 60 (2 more in between)",
    ]
