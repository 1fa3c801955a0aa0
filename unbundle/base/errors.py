"""The one kind of error that a person can cause and repair, and how commands tell it."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console


class UserError(Exception):
    """A mistake in an input: one line that names the place, what was expected and what to do.

    Commands print the line and exit with 1; the traceback is for `--debug`.
    """


class UnknownIdError(UserError):
    """An id that the index does not hold."""


@contextmanager
def told_in_one_line(debug: bool) -> Iterator[None]:
    """Turn a `UserError` of the block into one line on standard error and exit code 1.

    Args:
        debug: let it through instead, with its traceback.
    """
    try:
        yield
    except UserError as error:
        if debug:
            raise
        Console(stderr=True, highlight=False, soft_wrap=True).print(
            "error:", str(error), style="red", markup=False
        )
        raise SystemExit(1) from None
