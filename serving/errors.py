"""The one kind of error that a person can cause and repair."""


class UserError(Exception):
    """A mistake in an input: one line that names the place, what was expected and what to do.

    Commands print the line and exit with 1; the traceback is for `--debug`.
    """
