"""The published code's CAPTURE with its pretext tasks, which the ablation alone trains."""

from models.capture.published_network import ReleaseCaptureModel, ReleasePretextHeads
from tasks.pretraining.capture_with_losses import CaptureForPretraining


class ReleaseForPretraining(CaptureForPretraining):
    """The release's network, heads and contrastive loss in the pipeline's two passes."""

    network_class = ReleaseCaptureModel
    heads_class = ReleasePretextHeads
