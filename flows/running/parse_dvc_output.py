"""What DVC 3 prints, as far as flows have to understand it: it exits with 255 for any failure."""

import re
from dataclasses import dataclass

_ERROR = "ERROR: "
_BUSY = re.compile(r"is busy, it is being blocked by|Unable to acquire lock")
_BLOCKER = re.compile(r"\(PID \d+\)")
_OWN_WORDS = re.compile(r"ERROR: (failed to reproduce '[^']*': )?")
_HINTS = re.compile(
    r"(To track the changes|\s*git add |To enable auto|\s*dvc config |Use `dvc push`)|$"
)
_MISSING = re.compile(r"No such file or directory: '(.+)'")


@dataclass
class Output:
    """Lines of one `dvc repro --single-item`, taken one by one.

    Attributes:
        ran: the stage's command was started, rather than skipped or restored from the run cache.
        busy: another DVC command was in the way.
        blocker: which one, as ` (PID 123)`; empty where DVC does not say.
    """

    ran: bool = False
    busy: bool = False
    blocker: str = ""
    _last: str = ""
    _error: str = ""

    def take(self, line: str) -> bool:
        """Note what a line of DVC's output says; returns whether people should read it."""
        if line.startswith(_ERROR) and _BUSY.search(line):
            self.busy = True
        if self.busy:
            found = _BLOCKER.search(line)
            self.blocker = self.blocker or (f" {found[0]}" if found else "")
        elif line.startswith(_ERROR):
            # DVC's is the last one; one before it was the stage's.
            self._last, self._error = self._error or self._last, line
        elif line.startswith(("Running stage ", "> ")):
            self.ran = True
        elif line.strip() and self.ran:
            self._last = line.strip()
        return not self.busy and not _HINTS.match(line)

    @property
    def reason(self) -> str:
        """Why it failed, in one line: the stage's last words, then DVC's."""
        own = _OWN_WORDS.sub("", self._error) or "dvc ended without a word"
        if missing := _MISSING.search(own):
            return f"{missing[1]}: missing; run the stage that makes it first"
        return f"{self._last} ({own})" if self._last else own
