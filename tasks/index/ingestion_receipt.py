"""What ingestion put where, and the Milvus that it was put into."""

import json
from dataclasses import dataclass
from pathlib import Path

from tasks.base.params import Ingest
from tasks.base.workspace import Workspace
from unbundle.base.errors import UserError
from unbundle.index.milvus_database import address


@dataclass(frozen=True)
class Receipt:
    """What ingestion put where; the same inputs give the same receipt."""

    collection: str
    rows: int
    bundle: str
    """Version."""
    gallery: str
    """Digest of the gallery's rows and photos."""
    uri: str
    dimension: int
    index: dict[str, str | int]

    @classmethod
    def read(cls, path: Path) -> "Receipt":
        """Read a receipt.

        Raises:
            UserError: there is none.
        """
        if not path.is_file():
            raise UserError(f"{path}: no such file; run `dvc repro ingest`")
        return cls(**json.loads(path.read_text(encoding="utf-8")))


def milvus_uri(workspace: Workspace, params: Ingest) -> str:
    """MILVUS_URI of the environment, else `ingest.uri`, else the workspace's Milvus Lite."""
    return address(params.uri or str(workspace.milvus))
