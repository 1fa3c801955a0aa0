"""The Dockerfile as its tests read it."""

from pathlib import Path

DOCKERFILE = Path(__file__).parents[2] / "infra/Dockerfile"


def instructions() -> list[list[tuple[str, str]]]:
    """Name and rest of the Dockerfile's instructions, by stage."""
    stages: list[list[tuple[str, str]]] = []
    text = DOCKERFILE.read_text(encoding="utf-8").replace("\\\n", " ")
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        name, rest = line.split(maxsplit=1)
        if name == "FROM":
            stages.append([])
        stages[-1].append((name, rest))
    return stages
