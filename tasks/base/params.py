"""`params.yaml` as frozen, checked values: parsed once, unknown keys rejected with their path."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from unbundle.base.errors import UserError

SCALES = ("tiny", "demo", "full")

DEPTH = 10
"""K of the metrics that decide: the fits maximise them, the gate reads them, and the index is
compared with exact search on as many hits. No parameter, for a candidate that was fitted at one
depth and judged at another would lose for that alone."""

M = TypeVar("M", bound=BaseModel)


class Section(BaseModel):
    """A frozen section of the parameters that rejects unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Demo(Section):
    """Sizes of the rendered catalogue."""

    products: int = Field(ge=8)
    unseen_fraction: float = Field(ge=0, lt=1)
    train_single: int = Field(ge=1)
    train_multi: int = Field(ge=0)
    gallery_per_product: int = Field(ge=1)
    queries: int = Field(ge=1)
    photo_side: int = Field(ge=64)
    workers: int = Field(ge=1)


class Download(Section):
    """How image URLs are fetched."""

    workers: int = Field(ge=1, le=64)
    timeout_s: float = Field(gt=0)
    retries: int = Field(ge=0)
    pause_s: float = Field(ge=0)
    max_pause_s: float = Field(ge=0)
    give_up_after: int = Field(ge=1)
    max_bytes: int = Field(ge=1)


class Catalogue(Section):
    """Where the products come from."""

    source: Literal["demo", "folder", "product1m"]
    path: Path
    images: Path | None
    demo: Demo
    download: Download


class Validate(Section):
    """What a row must satisfy."""

    min_side: int = Field(ge=1)
    max_caption: int = Field(ge=1)
    max_bad_fraction: float = Field(ge=0, le=1)
    near_duplicate_bits: int = Field(ge=0, le=64)


class ComposeQueries(Section):
    """Labelled queries made of the gallery's photos, where nobody labelled one."""

    count: int = Field(ge=0)
    max_products: int = Field(ge=1)


class Cutouts(Section):
    """How products are cut out of their own photos; how masks are found and which are refused
    stands in `tasks.synthesis.cutouts`."""

    methods: list[Literal["flood", "seeded", "rectangle"]] = Field(min_length=1)
    count: int = Field(ge=1)
    candidates: int = Field(ge=1)
    image_size: int = Field(ge=32)


class PseudoBundles(Section):
    """What pseudo-bundles show, as a shop's photos do; shares are of bundles or products, 0 to 1.

    How products are pasted and photographed stands in `tasks.synthesis`.
    """

    drawn_sprites: int = Field(ge=1)
    photos: int = Field(ge=1)
    collage: float = Field(ge=0, le=1)
    single: float = Field(ge=0, le=1)
    max_products: int = Field(ge=1)
    drawn: float = Field(ge=0, le=1)
    tiles: float = Field(ge=0, le=1)
    shelves: float = Field(ge=0, le=1)
    open_boxes: float = Field(ge=0, le=1)
    hands: float = Field(ge=0, le=1)
    repeats: float = Field(ge=0, le=1)
    rows: float = Field(ge=0, le=1)
    flat_lays: float = Field(ge=0, le=1)
    distractors: float = Field(ge=0, le=1)
    badges: float = Field(ge=0, le=1)


class DetectorSizes(Section):
    """Sizes of the detector; `models.detector.network.DetectorConfig` documents them."""

    head_width: int = Field(ge=1)
    depths: tuple[int, int, int]


class DetectorTraining(Section):
    """How the detector learns; the rest of the recipe stands in `tasks.detection.training`."""

    pool: int = Field(ge=1)
    rounds: int = Field(ge=1)
    steps: int = Field(ge=1)
    batch: int = Field(ge=1)
    learning_rate: float = Field(gt=0)
    checkpoint_steps: int = Field(ge=1)


class ProposalLimits(Section):
    """Which of the detector's boxes count; the arguments of `unbundle.vision.proposals`."""

    min_score: float = Field(gt=0, lt=1)
    nms_iou: float = Field(gt=0, lt=1)
    max_proposals: int = Field(ge=1)


class Detect(Section):
    """How products are found in photos."""

    image_size: int = Field(ge=32, multiple_of=32)
    cutouts: Cutouts
    pseudo_bundles: PseudoBundles
    model: DetectorSizes
    training: DetectorTraining
    proposals: ProposalLimits
    batch: int = Field(ge=1)
    pictures: int = Field(ge=0)


class Orchestrate(Section):
    """How flows run DVC, and who writes shards."""

    busy_wait_s: float = Field(ge=0)
    busy_pause_s: float = Field(gt=0)
    stop_grace_s: float = Field(ge=0)
    runner: Literal["thread", "dask"]
    workers: int = Field(ge=1)
    dask_address: str | None

    @field_validator("dask_address")
    @classmethod
    def _address_of_dask(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value and info.data.get("runner") == "thread":
            raise ValueError("of no use to runner thread; set runner: dask")
        return value

    @property
    def spreads(self) -> bool:
        """Whether flows have shards written by workers, rather than by the stage itself."""
        return self.runner == "dask" or self.workers > 1


class Evaluate(Section):
    """How queries are ranked and scored."""

    split: str
    ks: tuple[Annotated[int, Field(ge=1)], ...]
    depth: int = Field(ge=1)
    resamples: int = Field(ge=1)
    match_iou: float = Field(gt=0, le=1)
    latency_queries: int = Field(ge=1)
    pictures: int = Field(ge=0)

    @model_validator(mode="after")
    def _rank_deep_enough(self) -> Self:
        if self.depth < max(self.depths):
            raise ValueError(f"depth {self.depth} is less than {max(self.depths)}; raise it")
        return self

    @property
    def depths(self) -> tuple[int, ...]:
        """All depths of the metrics: `DEPTH` first, then those of `ks`."""
        return (DEPTH, *self.ks)


class Promote(Section):
    """What a candidate must show before clients see it, and what is kept of older ones."""

    approval: Literal["auto", "manual"]
    approval_wait_s: int = Field(ge=1)
    min_average_precision: float = Field(ge=0, le=1)
    min_coverage: float = Field(ge=0, le=1)
    beat_baselines: bool
    tolerance: float = Field(ge=0)
    slice_tolerance: float = Field(ge=0)
    min_slice: int = Field(ge=1)
    min_cosine: float = Field(ge=-1, le=1)
    min_int8_cosine: float = Field(ge=-1, le=1)
    max_int8_loss: float = Field(ge=0, le=1)
    min_index_recall: float = Field(ge=0, le=1)
    max_latency_ratio: float = Field(gt=0)
    keep: int = Field(ge=0)
    max_changed: float | None = Field(ge=0, le=1)
    min_replayed: int = Field(ge=1)


class Replay(Section):
    """How recorded queries are replayed."""

    records: Path
    queries: int = Field(ge=1)
    depth: int = Field(ge=1)
    match_iou: float = Field(gt=0, le=1)
    pictures: int = Field(ge=0)


class Watch(Section):
    """When served queries or the catalogue differ from those that the champion was judged on."""

    queries: int = Field(ge=1)
    min_queries: int = Field(ge=1)
    profile: int = Field(ge=1)
    max_shift: float = Field(gt=0, le=1)
    max_share: float = Field(gt=0, le=1)


class Features(Section):
    """The frozen backbone and what it sees."""

    backbone: str
    image_size: int = Field(ge=32)
    grid: int = Field(ge=1)
    batch: int = Field(ge=1)
    shard_rows: int = Field(ge=1)


class Views(Section):
    """Products of training photos as bundle photos show them; `tasks.synthesis.product_views`."""

    count: int = Field(ge=1)
    least: float = Field(gt=0, le=1)
    most: float = Field(gt=0, le=1)


class CaptureSizes(Section):
    """Sizes of CAPTURE; see `models.capture.network.CaptureConfig`."""

    title_tokens: int = Field(ge=4)
    regions: int = Field(ge=1)
    hidden_size: int = Field(ge=8)
    intermediate_size: int = Field(ge=8)
    attention_heads: int = Field(ge=1)
    text_layers: int = Field(ge=0)
    visual_layers: int = Field(ge=0)
    cross_layers: int = Field(ge=0)
    co_layers: int = Field(ge=0)
    projection: int = Field(ge=8)
    dropout: float = Field(ge=0, lt=1)


class Losses(Section):
    """Weights of the pretext tasks; 0 leaves one out."""

    mlm: float = Field(ge=0)
    mrm: float = Field(ge=0)
    contrastive: float = Field(ge=0)
    matching: float = Field(ge=0)
    joint: float = Field(ge=0)
    visual: float = Field(ge=0)
    title: float = Field(ge=0)
    align: float = Field(ge=0)
    read: float = Field(ge=0)


class Pretrain(Section):
    """CAPTURE, its schedule and its pretext tasks."""

    text_encoder: str | None
    vocabulary: Path | None
    vocab_size: int = Field(ge=100)
    model: CaptureSizes
    epochs: int = Field(ge=1)
    batch: int = Field(ge=2)
    learning_rate: float = Field(gt=0)
    temperature: float = Field(gt=0)
    mask_words: float = Field(ge=0, le=1)
    mask_regions: float = Field(ge=0, le=1)
    mix_titles: float = Field(ge=0, le=1)
    views: float = Field(ge=0, le=1)
    drop_modality: float = Field(ge=0, le=1)
    soft_targets: bool
    losses: Losses
    precision: Literal["fp32", "bf16", "fp16"]
    recompute: bool
    checkpoint_steps: int = Field(ge=1)


class PhotoWeights(Section):
    """A weight for each term of a query with a photo alone."""

    raw: float = Field(ge=0)
    colour: float = Field(ge=0)
    visual: float = Field(ge=0)
    joint: float = Field(ge=0)
    photo_to_title: float = Field(ge=0)


class TitleWeights(Section):
    """A weight for each term of a query with a title alone."""

    text: float = Field(ge=0)
    joint: float = Field(ge=0)
    title_to_photo: float = Field(ge=0)
    lexical: float = Field(ge=0)


class BothWeights(PhotoWeights, TitleWeights):
    """A weight for each term of a query with both."""

    read: float = Field(ge=0)
    lexical_read: float = Field(ge=0)


class Weights(Section):
    """Weights of `unbundle.ranking.embedding_parts.TERMS` by what a query has."""

    both: BothWeights
    photo: PhotoWeights
    title: TitleWeights


class Precisions(Section):
    """What the convolutional networks of a bundle compute with; CAPTURE is fp32."""

    detector: Literal["fp32", "int8"]
    backbone: Literal["fp32", "int8"]


class KeypointParams(Section):
    """Local features of products; what is never turned stands in `unbundle.vision.keypoints`."""

    image_size: int = Field(ge=32)
    count: int = Field(ge=0)
    dimension: int = Field(ge=1)
    photos: int = Field(ge=1)


class Export(Section):
    """What goes into the bundle beside the networks, and what these compute with."""

    parity_photos: int = Field(ge=10)
    precision: Precisions
    calibration_photos: int = Field(ge=1)
    weights: Weights
    lexical_dimension: int = Field(ge=8)
    grid: tuple[float, ...] = Field(min_length=2)
    spreads: tuple[float, ...] = Field(min_length=1)
    keypoints: KeypointParams
    verification: tuple[Annotated[float, Field(ge=0)], ...] = Field(min_length=1)
    false_accepts: float = Field(gt=0, lt=1)


class Graph(Section):
    """The HNSW index on a Milvus server; Milvus Lite searches exactly."""

    m: int = Field(ge=2)
    ef_construction: int = Field(ge=1)
    ef: int = Field(ge=1)


class Ingest(Section):
    """How the gallery enters Milvus."""

    uri: str | None
    batch: int = Field(ge=1)
    threads: int = Field(ge=0)
    hnsw: Graph


class Refresh(Section):
    """How the serving index follows its source."""

    shard: int = Field(ge=1)
    max_removed: float = Field(ge=0, le=1)


class Params(Section):
    """The whole of `params.yaml`."""

    scale: Literal["tiny", "demo", "full"]
    seed: int = Field(ge=0)
    catalogue: Catalogue
    # `validate` is a method of pydantic models.
    validation: Validate = Field(alias="validate")
    compose_queries: ComposeQueries
    detect: Detect
    features: Features
    views: Views
    pretrain: Pretrain
    export: Export
    ingest: Ingest
    evaluate: Evaluate
    refresh: Refresh
    promote: Promote
    replay: Replay
    watch: Watch
    orchestrate: Orchestrate


def load_params(path: Path = Path("params.yaml")) -> Params:
    """Parse a parameter file; values by scale are resolved by its `scale`.

    Raises:
        UserError: the file is missing or not YAML, a key is unknown or missing, a value is out of
            range; the message names the key's path.
    """
    raw = read_sections(path)
    if raw.get("scale") not in SCALES:
        raise UserError(f"{path}: scale: expected one of {', '.join(SCALES)}")
    return checked(Params, _resolve(raw, raw["scale"], ""), f"{path}: ")


def read_sections(path: Path) -> dict[str, Any]:
    """A YAML file of sections, unchecked.

    Raises:
        UserError: the file is missing or not YAML.
    """
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; run this in the project's folder") from None
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        line = f":{where.line + 1}" if where else ""
        raise UserError(f"{path}{line}: not YAML; repair it") from None
    if not isinstance(raw, dict):
        raise UserError(f"{path}: expected sections of keys, found {type(raw).__name__}")
    return raw


def checked(model: type[M], raw: Mapping[str, Any], place: str) -> M:
    """Raw values as a section.

    Raises:
        UserError: a key is unknown or missing, a value is out of range; the message begins with
            `place` and goes on with the key's path.
    """
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        raise UserError(f"{place}{_first_problem(error)}") from None


def _resolve(value: Any, scale: str, path: str) -> Any:
    if not isinstance(value, dict):
        return value
    if value and set(value) <= set(SCALES):
        if scale not in value:
            raise UserError(f"params.yaml: {path}: no value for scale {scale}; add one")
        return value[scale]
    return {key: _resolve(item, scale, f"{path}.{key}".lstrip(".")) for key, item in value.items()}


def _first_problem(error: ValidationError) -> str:
    # A misspelt key is missing, too: its unknown form says more.
    problem = min(error.errors(), key=lambda one: one["type"] != "extra_forbidden")
    key = ".".join(str(part) for part in problem["loc"])
    match problem["type"]:
        case "extra_forbidden":
            return f"{key}: unknown key; remove it or correct its spelling"
        case "missing":
            return f"{key}: missing; add it"
        case _:
            return f"{key}: {problem['msg']}, found {problem['input']!r}"
