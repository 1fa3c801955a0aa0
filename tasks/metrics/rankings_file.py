"""`retrieval_id_list.txt`, Product1M's file of rankings.

One line a query: its id, then the ids of gallery items, best first, all joined by commas.
"""

from collections.abc import Iterable
from pathlib import Path

from tasks.metrics.product1m_protocol import Ranking
from unbundle.base.atomic import atomic_file
from unbundle.base.errors import UserError


def read_rankings(path: Path) -> list[Ranking]:
    """The lines of a rankings file, in their order, as the published script splits them.

    Raises:
        UserError: the file is missing, is not UTF-8 or has no line.
    """
    try:
        with path.open(encoding="utf-8") as lines:
            rankings = [_split(line) for line in lines]
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; give a retrieval_id_list.txt") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: byte {error.start} is not UTF-8; save it as UTF-8") from None
    if not rankings:
        raise UserError(f"{path}: no rankings; expected lines `query id,gallery id,gallery id…`")
    return rankings


def write_rankings(path: Path, rankings: Iterable[Ranking]) -> None:
    """Write rankings, one line each.

    Raises:
        UserError: an id holds a comma or a line break, which the format has no way to write.
    """
    lines = []
    for query, ids in rankings:
        broken = next((name for name in (query, *ids) if set(name) & {",", "\n", "\r"}), None)
        if broken is not None:
            raise UserError(f"{path}: id {broken!r} holds a comma or a line break; rename it")
        lines.append(",".join((query, *ids)) + "\n")
    with atomic_file(path) as temporary:
        temporary.write_text("".join(lines), encoding="utf-8")


def _split(line: str) -> Ranking:
    query, *ids = line.strip().split(",")
    return query, ids
