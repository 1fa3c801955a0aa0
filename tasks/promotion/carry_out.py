"""Carries a decision out: live changes, record, bundle, evidence, alias, then clean-up."""

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

from tasks.base.params import Params
from tasks.base.progress import console
from tasks.base.workspace import Workspace
from tasks.index.catch_up_with_journal import catch_up_with_journal
from tasks.index.ingestion_receipt import Receipt
from tasks.promotion.approval import NOBODY
from tasks.promotion.gate import Decision
from unbundle.base.atomic import atomic_folder, write_json
from unbundle.encoding.model_bundle import SETTINGS
from unbundle.index.change_journal import Journal
from unbundle.index.milvus_database import Database


def rejected_before(workspace: Workspace, candidate: str, champion: str | None) -> Decision | None:
    """The decision of a person who rejected this very candidate; None where nobody did."""
    if not workspace.promotion.is_file():
        return None
    last = json.loads(workspace.promotion.read_text(encoding="utf-8"))
    last.pop("decided_at", None)
    decision = Decision.model_validate(last)
    same = (decision.candidate, decision.champion) == (candidate, champion)
    approval = decision.approval or {}
    person = approval.get("decision") == "reject" and approval.get("reviewer") != NOBODY
    return decision if same and person and not decision.promoted else None


def carry_out(
    workspace: Workspace, database: Database, receipt: Receipt, decision: Decision, params: Params
) -> None:
    """Let a candidate serve: live changes, record, bundle and evidence first, then the alias.

    Killed at any point, the next promotion completes it. What changed live while the alias moved is
    made in the candidate after.
    """
    gallery = database.gallery(receipt.collection)
    fresh = not gallery.live
    caught_up = catch_up_with_journal(workspace, gallery, params)
    write_record(workspace, decision)
    _keep_bundle(workspace, receipt.bundle)
    gallery.annotate({"evaluation": _evidence(decision)})
    database.promote(receipt.collection)
    catch_up_with_journal(workspace, gallery, params)
    if fresh:
        # Its ingestion had seen them, and so will every later one.
        Journal(workspace.journal).forget(caught_up.seen)


def write_record(workspace: Workspace, decision: Decision) -> None:
    """Write `artifacts/promotion.json`: the decision and when it was made, UTC."""
    record = {"decided_at": datetime.now(UTC).isoformat(timespec="seconds")}
    write_json(workspace.promotion, record | decision.model_dump())


def _evidence(decision: Decision) -> str:
    floors = {rule.name: rule.figures for rule in decision.rules if "value" in rule.figures}
    return json.dumps({name: round(figures["value"], 6) for name, figures in floors.items()})


def _keep_bundle(workspace: Workspace, version: str) -> None:
    target = workspace.bundles / version
    if not (target / SETTINGS).is_file():
        with atomic_folder(target) as folder:
            shutil.copytree(workspace.bundle, folder, dirs_exist_ok=True)


def clean_up(workspace: Workspace, database: Database, keep: int) -> None:
    """Drop collections and bundles that nothing needs, but for the `keep` newest of each."""
    for collection in database.collect_garbage(keep):
        console.print(f"  dropped {collection}, no alias names it")
    used = {collection.bundle for collection in database.collections()}
    unused = [folder for folder in _bundles(workspace) if folder.name not in used]
    newest_first = sorted(unused, key=lambda folder: folder.stat().st_mtime, reverse=True)
    for folder in newest_first[keep:]:
        shutil.rmtree(folder)
        console.print(f"  removed {folder}, no collection needs it")


def _bundles(workspace: Workspace) -> list[Path]:
    # Half-written folders have names that begin with a dot.
    return [path.parent for path in workspace.bundles.glob(f"[0-9a-f]*/{SETTINGS}")]
