"""A bundle: the folder of networks, tokenizer and settings that serving runs."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from unbundle.base.atomic import write_json
from unbundle.base.errors import UserError
from unbundle.encoding.untrained_parts import AXES, IDF
from unbundle.ranking.embedding_parts import PARTS, TERMS, UNTRAINED, Modality
from unbundle.ranking.open_set_model import FEATURES, Tree
from unbundle.vision.keypoints import KeypointSettings

SETTINGS = "bundle.json"
FORMAT = 5
"""Of the settings and networks that this version writes, and the only one that it reads."""

DETECTOR = "detector.onnx"
BACKBONE = "backbone.onnx"
CAPTURE = "capture.onnx"
TOKENIZER = "tokenizer.json"
PROJECTION = "keypoints.npy"
FILES = (DETECTOR, BACKBONE, CAPTURE, TOKENIZER, PROJECTION, AXES, IDF)


class BundleFormatError(UserError):
    """A bundle that another version of unbundle wrote."""


class BundleSection(BaseModel):
    """A frozen part of `bundle.json`; keys that a newer exporter adds are ignored.

    Some fields stand there under an older name: their alias, which the format keeps.
    """

    model_config = ConfigDict(frozen=True, validate_by_name=True, serialize_by_alias=True)


class DetectorSettings(BundleSection):
    """From photo to proposals."""

    image_size: int = Field(ge=1, alias="side")
    """Of the letterboxed input, in pixels."""
    min_score: float
    nms_iou: float
    max_proposals: int = Field(ge=1)


class BackboneSettings(BundleSection):
    """From crops to visual tokens."""

    name: str
    image_size: int = Field(ge=1, alias="side")
    """Of a crop, in pixels."""
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    grid: int = Field(ge=0)
    """The crop's region tokens are a grid of this side."""
    dimension: int = Field(ge=1)
    """Of a token: the feature map's channels and the colours."""
    channels: int = Field(ge=1, alias="features")
    """The feature map's channels."""

    @model_validator(mode="after")
    def _with_colours(self) -> Self:
        if self.channels >= self.dimension:
            raise ValueError(f"features: expected less than dimension, found {self.channels}")
        return self


class CaptureSettings(BundleSection):
    """From tokens and title to heads."""

    title_tokens: int = Field(ge=2)
    """Longest title, [CLS] and [SEP] included."""
    regions: int = Field(ge=1)
    dimension: int = Field(ge=1)


class FittedOn(BundleSection):
    """The labelled queries that fitted what a bundle learns."""

    split: str
    queries: int
    half: bool
    """Whether these are half of the split's labelled ones."""
    composed: bool = False
    """Whether nobody labelled them: they were composed of the gallery's own photos."""


class EmbeddingSettings(BundleSection):
    """How the parts of an instance become one vector."""

    parts: tuple[str, ...]
    dimensions: tuple[int, ...]
    weights: dict[Modality, dict[str, float]]
    """One weight per term of `unbundle.ranking.embedding_parts.TERMS`, by what a query has."""
    fitted_on: FittedOn | None = None
    """None for the weights of the params."""

    @property
    def plain(self) -> bool:
        """Whether photo and title are ranked by untrained terms alone."""
        return not any(
            weight for term, weight in self.weights["both"].items() if term not in UNTRAINED
        )

    def dimension_of(self, part: str) -> int:
        """Numbers of a part."""
        return self.dimensions[self.parts.index(part)]

    @model_validator(mode="after")
    def _aligned(self) -> Self:
        if set(self.parts) != set(PARTS) or len(self.parts) != len(PARTS):
            raise ValueError(f"parts: expected {', '.join(PARTS)}, found {', '.join(self.parts)}")
        if len(self.dimensions) != len(self.parts):
            raise ValueError(f"dimensions: expected {len(self.parts)} numbers, one per part")
        for mode in get_args(Modality):
            if set(self.weights.get(mode, ())) != set(TERMS):
                raise ValueError(f"weights.{mode}: expected {', '.join(TERMS)}")
        return self


Precision = Literal["fp32", "int8"]


class PrecisionSettings(BundleSection):
    """What detector and backbone compute with."""

    detector: Precision = "fp32"
    backbone: Precision = "fp32"


class OpenSetSettings(BundleSection):
    """The model of the open-set score, see `unbundle.ranking.open_set_model`."""

    weights: dict[str, float]
    """By `unbundle.ranking.open_set_model.FEATURES`, and `bias`."""
    trees: tuple[Tree, ...] = ()
    """What is added to the weighted features."""
    threshold: float = Field(ge=0, le=1)
    """A lower probability is answered with "not in the catalogue"."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if set(self.weights) != {*FEATURES, "bias"}:
            raise ValueError(f"weights: expected {', '.join(FEATURES)} and bias")
        return self


class Parity(BundleSection):
    """How closely an exported network follows another, over all compared outputs."""

    max_difference: float
    """Largest absolute difference of any value."""
    min_cosine: float
    """Smallest cosine between a row and its exported twin."""
    top10_agreement: float | None
    """Share of the ten nearest rows that both agree on; None for outputs that are not searched."""


class Interval(BundleSection):
    """A mean over queries and its 95 % bootstrap interval."""

    mean: float
    low: float
    high: float


class Int8Cost(BundleSection):
    """Metrics with int8 less those with fp32, on the labelled dev queries."""

    queries: int
    average_precision: Interval = Field(alias="mAP@10")
    coverage: Interval = Field(alias="coverage@10")


class Int8Figures(BundleSection):
    """The networks that were made int8, compared with fp32."""

    networks: dict[str, Parity]
    cost: Int8Cost | None
    """None where no labelled dev query tells it."""


class BundleContent(BundleSection):
    """What an export learns and measures: the keys of `bundle.json` that its version depends on."""

    precision: PrecisionSettings = PrecisionSettings()
    detector: DetectorSettings
    backbone: BackboneSettings
    capture: CaptureSettings
    keypoints: KeypointSettings
    int8: Int8Figures | None = None
    """What int8 costs; None, and no key, where no network is int8."""
    declined_int8: Int8Figures | None = None
    """What int8 would have cost, where that was too much and the networks stayed fp32."""
    embedding: EmbeddingSettings
    verification: dict[Modality, float] = {}
    """Weight of `geometric_verification.bonus` in a score, by what a query has."""
    expansion: dict[Modality, float] = {}
    """Weight of `unbundle.ranking.query_expansion.expansion` in a score, by what a query has."""
    fusion: dict[str, float] | None = Field(default=None, alias="merging")
    """Rank fusion: weights of `unbundle.ranking.fusion.EVIDENCE` and `CROWD`; None
    interleaves the rankings."""
    open_set: dict[Modality, OpenSetSettings] = Field(default={}, alias="known")
    """The open-set score's model, by what a query has; none for titles alone, and empty where no
    labelled dev query could calibrate it."""
    parity: dict[str, Parity] = {}
    """Differences of the fp32 networks to torch's, by network."""

    @model_validator(mode="after")
    def _as_the_networks_give(self) -> Self:
        sizes = {
            "raw": self.embedding.dimension_of("raw"),
            "colour": self.backbone.dimension - self.backbone.channels,
            "lexical": self.embedding.dimension_of("lexical"),
        }
        given = [sizes.get(part, self.capture.dimension) for part in self.embedding.parts]
        if list(self.embedding.dimensions) != given:
            expected = ", ".join(str(size) for size in given)
            raise ValueError(f"embedding.dimensions: the networks give {expected}")
        return self

    def write(self, folder: Path) -> None:
        """Write `bundle.json` beside the bundle's other files, with their digests.

        Its version is the digest of everything in it: equal content has an equal version.
        """
        absent = {name for name in ("int8", "declined_int8") if getattr(self, name) is None}
        content = {
            **self.model_dump(by_alias=True, include=set(BundleContent.model_fields) - absent),
            "sha256": {name: _digest(folder / name) for name in FILES},
        }
        version = version_of(content)
        write_json(folder / SETTINGS, {"format": FORMAT, "version": version, **content})


class Bundle(BundleContent):
    """The checked settings of a bundle folder; `Bundle.open` makes it."""

    folder: Path
    format: Literal[5]
    version: str = Field(pattern=r"^[0-9a-f]{12}$")
    sha256: dict[str, str]

    @property
    def dimension(self) -> int:
        """Of the vectors that the bundle makes."""
        return sum(self.embedding.dimensions)

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Read `bundle.json` and compare every file with its digest.

        Raises:
            BundleFormatError: another version of unbundle wrote it.
            UserError: the folder is no bundle, a key is missing or wrong, a file, `bundle.json`
                itself among them, is missing or is not the one that was exported.
        """
        settings = folder / SETTINGS
        try:
            raw = json.loads(settings.read_text(encoding="utf-8"))
            if isinstance(raw, dict) and raw.get("format", FORMAT) != FORMAT:
                raise BundleFormatError(
                    f"{settings}: format {raw['format']}, this version of unbundle reads {FORMAT}; "
                    "run `dvc repro` and `unbundle promote`, or the version that wrote it"
                )
            bundle = cls.model_validate({**raw, "folder": folder})
        except FileNotFoundError:
            raise UserError(f"{folder}: no bundle (no {SETTINGS}); run `make demo`") from None
        except (json.JSONDecodeError, UnicodeDecodeError, TypeError):
            raise UserError(f"{settings}: not a JSON object; run `dvc repro export`") from None
        except ValidationError as error:
            problem = error.errors()[0]
            place = ".".join(str(part) for part in problem["loc"])
            what = ": ".join(part for part in (place, problem["msg"]) if part)
            raise UserError(f"{settings}: {what}; run `dvc repro export`") from None
        if bundle.version != version_of(raw):
            raise UserError(
                f"{settings}: not what was exported as {bundle.version}; copy the bundle again, or "
                "run `dvc repro export`"
            )
        for name in FILES:
            bundle._check(name)
        return bundle

    def _check(self, name: str) -> None:
        path = self.folder / name
        if not path.is_file():
            raise UserError(f"{path}: no such file; copy the whole bundle, or export it again")
        digest = _digest(path)
        if digest != self.sha256.get(name):
            raise UserError(
                f"{path}: sha256 {digest[:12]}… differs from {SETTINGS}; copy the bundle again"
            )


def version_of(settings: Mapping[str, Any]) -> str:
    """Digest of a bundle's settings, its files' digests among them, in any order of the keys."""
    content = {key: value for key, value in settings.items() if key not in ("format", "version")}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def bundle_folders(folder: Path) -> list[Path]:
    """`folder` itself where it is a bundle, else the bundles in it, by name."""
    if (folder / SETTINGS).exists():
        return [folder]
    return sorted(path.parent for path in folder.glob(f"*/{SETTINGS}"))


def is_plain(folder: Path) -> bool:
    """Whether a bundle ranks by untrained terms alone; no where its settings cannot be read."""
    try:
        settings = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
        return EmbeddingSettings.model_validate(settings["embedding"]).plain
    except (OSError, ValueError, LookupError, TypeError):
        return False
