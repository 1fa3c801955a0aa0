"""The published code's CAPTURE with its pretext tasks, which the ablation alone trains."""

from models.capture.release import ReleaseCaptureModel, ReleasePretextHeads
from tasks.pretraining.losses import CaptureForPretraining


class ReleaseForPretraining(CaptureForPretraining):
    """The release's network, heads and contrastive loss in the pipeline's two passes."""

    network_class = ReleaseCaptureModel
    heads_class = ReleasePretextHeads
