"""The commands that a page of the documentation shows, by section."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def commands(page: str, section: str) -> list[list[str]]:
    """The lines of every `sh` block below a heading, without comments, split as a shell does."""
    text = (DOCS / page).read_text(encoding="utf-8")
    (body,) = re.findall(rf"^## {re.escape(section)}\n(.*?)(?=^## |\Z)", text, re.S | re.M)
    lines = "\n".join(re.findall(r"```sh\n(.*?)```", body, re.S)).splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def run(root: Path, command: list[str], **environment: str) -> str:
    """Run a command in a clone, with its own code; what it printed."""
    done = subprocess.run(
        command,
        cwd=root,
        env=_environment(root) | environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def _environment(root: Path) -> dict[str, str]:
    folder = str(Path(sys.executable).parent)
    person = {f"GIT_{who}_{what}": "test" for who in ("AUTHOR", "COMMITTER") for what in ("NAME",)}
    mail = {f"GIT_{who}_EMAIL": "test@example.org" for who in ("AUTHOR", "COMMITTER")}
    return {
        **os.environ,
        **person,
        **mail,
        "PATH": f"{folder}:{os.environ['PATH']}",
        "PYTHONPATH": str(root),
    }
