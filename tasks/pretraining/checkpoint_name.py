"""Names of checkpoints of CAPTURE's training."""

from collections.abc import Sequence

from tasks.base.digests import digest
from tasks.base.import_closure import code_digest
from tasks.base.params import Params
from tasks.base.workspace import Workspace
from tasks.pretraining.capture_with_losses import CaptureForPretraining
from tasks.tokens.run_backbone import BACKBONE


def checkpoint_name(
    workspace: Workspace,
    params: Params,
    rows: Sequence[str],
    kind: type[CaptureForPretraining] = CaptureForPretraining,
) -> str:
    """The file name of a training's checkpoint: a digest of inputs and code.

    So no run resumes from a checkpoint of other data, parameters or code.

    Args:
        workspace: with the features and the network that made them.
        params: of the training.
        rows: ids of the manifest that it trains on, as variants of the ablation leave some out.
        kind: what is trained.
    """
    features = workspace.features
    inputs = workspace.manifest, features / "index.parquet", features / BACKBONE
    settings = params.features, params.views, params.pretrain, params.seed
    code = code_digest("tasks.pretraining.training"), code_digest(kind.__module__)
    return f"{digest(*inputs, *settings, *rows, *code)[:16]}.pt"
