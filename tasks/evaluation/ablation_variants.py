"""The ablation's variants: `ablation/variants.yaml` as checked values, and what each changes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from tasks.base.params import Params, Pretrain, Section, checked, read_sections
from unbundle.ranking.embedding_parts import TERMS, Modality

MATRIX = Path("ablation/variants.yaml")
"""In the project's folder."""


class TableRow(Section):
    """How a trained network's heads become a ranking; a row of the ablation's table."""

    terms: tuple[Literal[*TERMS], ...] = tuple(TERMS)  # type: ignore[valid-type]  # of a constant
    mode: Modality = "both"
    boxes: Literal["detector", "whole", "true"] = "detector"
    fitted: bool = True
    verified: bool = False
    """Whether the nearest photos are re-ranked by geometric verification."""

    @model_validator(mode="after")
    def _verifiable(self) -> Self:
        if self.verified and not (
            self.fitted and self.boxes == "detector" and self.mode != "title"
        ):
            raise ValueError("verified: expected a photo, the detector's boxes and fitted weights")
        return self


class Variant(Section):
    """A network of the ablation: what differs from `pretrain`, and its rows."""

    architecture: Literal["unbundle", "release"] = "unbundle"
    """The pipeline's network, or the published code's (`models.capture.published_network`)."""
    pretrain: dict[str, Any] = Field(default_factory=dict)
    seen_only: bool = False
    """Whether training keeps out the products of `Ablation.unseen`."""
    rows: dict[str, TableRow]

    @property
    def retrained(self) -> bool:
        """Whether its training differs from the pipeline's."""
        return self.architecture != "unbundle" or bool(self.pretrain) or self.seen_only


class Ablation(Section):
    """What the model is compared with, and what it is made of."""

    unseen: float = Field(ge=0, lt=1)
    """Share of the gallery's products that a `seen_only` variant never trains on."""
    variants: dict[str, Variant]

    @classmethod
    def read(cls, path: Path = MATRIX) -> "Ablation":
        """Parse the matrix.

        Raises:
            UserError: as `tasks.base.params.load_params`.
        """
        return checked(cls, read_sections(path), f"{path}: ")


def override(params: Params, pretrain: Mapping[str, Any]) -> Params:
    """The same parameters with other values in `pretrain`, nested as the section is.

    Raises:
        UserError: an unknown key or a value out of range.
    """
    merged = _merged(params.pretrain.model_dump(), pretrain)
    section = checked(Pretrain, merged, f"{MATRIX}: pretrain.")
    return params.model_copy(update={"pretrain": section})


def _merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    nested = {
        key: _merged(base[key], value)
        for key, value in changes.items()
        if isinstance(value, Mapping) and isinstance(base.get(key), Mapping)
    }
    return {**base, **changes, **nested}
