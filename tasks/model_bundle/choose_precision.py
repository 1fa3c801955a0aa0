"""Which networks of a bundle serve in int8: those that params ask for, unless it costs too much."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from tokenizers import Tokenizer

from tasks.base.params import Params
from tasks.base.workspace import Workspace
from tasks.calibration.encoded_queries import StoredPhotos
from tasks.calibration.fit import Fitted
from tasks.model_bundle.export_networks import FILES, Exported, NetworkSettings
from tasks.model_bundle.int8_cost import asked_rows, calibration, cost, see
from tasks.model_bundle.parity import compare
from tasks.tokens.token_files import FeatureStore
from unbundle.base.errors import UserError
from unbundle.base.onnx_session import open_session
from unbundle.encoding.capture_inputs import OUTPUTS
from unbundle.encoding.model_bundle import (
    CAPTURE,
    TOKENIZER,
    Int8Cost,
    Int8Figures,
    Parity,
    PrecisionSettings,
)
from unbundle.encoding.untrained_parts import UntrainedParts


@dataclass(frozen=True)
class ServedPrecision:
    """What the networks of a bundle's folder compute with.

    Attributes:
        precision: of detector and backbone.
        int8: what it costs; None where no network is int8.
        declined: what it would have cost, where that was too much.
    """

    precision: PrecisionSettings
    int8: Int8Figures | None = None
    declined: Int8Figures | None = None


def stored_photos(store: FeatureStore, folder: Path, params: Params) -> StoredPhotos:
    """The proposals of a store, encoded by what a bundle's folder holds."""
    capture = open_session(folder / CAPTURE)
    return StoredPhotos(
        store,
        lambda inputs: capture.run(list(OUTPUTS), inputs),
        Tokenizer.from_file(str(folder / TOKENIZER)),
        params.pretrain.model.title_tokens,
        UntrainedParts.open(folder, params.export.lexical_dimension),
        params.features.batch,
    )


def choose_precision(
    exported: Mapping[str, Exported],
    settings: NetworkSettings,
    stored: StoredPhotos,
    fitted: Fitted,
    workspace: Workspace,
    manifest: pd.DataFrame,
    params: Params,
    folder: Path,
) -> ServedPrecision:
    """Make the networks int8 that `export.precision` names, and fp32 again where that costs much.

    Args:
        exported: the fp32 networks, by name.
        settings: theirs.
        stored: the catalogue as the fp32 networks see it.
        fitted: on it.
        workspace: of catalogue and features.
        manifest: of the catalogue.
        params: precision, calibration photos, `promote.max_int8_loss`.
        folder: of the bundle, whose files are replaced.

    Raises:
        UserError: int8 of a network that is not convolutional.
    """
    asked = params.export.precision.model_dump()
    chosen = [name for name, precision in asked.items() if precision == "int8"]
    precision = PrecisionSettings(**asked)
    if not chosen:
        return ServedPrecision(precision)
    exact = {name: (folder / FILES[name]).read_bytes() for name in chosen}
    networks = _quantise(chosen, exported, settings, workspace, manifest, params, folder)
    rows, detector, backbone = asked_rows(manifest), settings.detector, settings.backbone
    seen = see(rows, workspace.catalogue, folder, detector, backbone)
    served = stored_photos(seen, folder, params)
    loss = cost(manifest, served, stored, fitted, params.evaluate.resamples, params.seed)
    figures = Int8Figures(networks=networks, cost=loss)
    if _affordable(loss, params.promote.max_int8_loss):
        return ServedPrecision(precision, int8=figures)
    for name, content in exact.items():
        (folder / FILES[name]).write_bytes(content)
    return ServedPrecision(PrecisionSettings(), declined=figures)


def _affordable(loss: Int8Cost | None, limit: float) -> bool:
    return loss is None or loss.average_precision.mean >= -limit


def _quantise(
    chosen: Sequence[str],
    exported: Mapping[str, Exported],
    settings: NetworkSettings,
    workspace: Workspace,
    manifest: pd.DataFrame,
    params: Params,
    folder: Path,
) -> dict[str, Parity]:
    """Replace the chosen networks by int8 twins; returns their differences to fp32 by name."""
    from models.onnx.quantization import quantise

    images, cut = calibration(
        manifest,
        workspace.catalogue,
        FeatureStore.open(workspace.features),
        params.export.calibration_photos,
        settings.detector,
        settings.backbone,
    )
    batches = {"detector": images, "backbone": cut}
    parity = {}
    for name in chosen:
        path, network = folder / FILES[name], exported[name]
        try:
            quantise(path, batches[name])
        except ValueError as error:
            raise UserError(
                f"params.yaml: export.precision.{name}: {error}; set it to fp32"
            ) from None
        outputs = network.compared(open_session(path).run(None, network.inputs))
        parity[name] = compare(network.outputs, outputs, network.searched)
    return parity
