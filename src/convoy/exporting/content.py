"""What an exporter takes and returns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

LIMIT = 1e-5  # of the difference of a Parity


@dataclass(frozen=True)
class Settings:
    files: int = 1  # how many were named
    preprocessing: str = "inside"  # whether the network takes uint8 images; "outside": normalised images
    trust_code: bool = False


@dataclass(frozen=True)
class Parity:
    """How the exported network compares with the network of the run."""

    images: int
    part: str  # of the data, from which these images are: "validation" or "train"
    difference: (
        float  # largest absolute difference between two logits / largest absolute logit, over all images and classes
    )
    agreeing: int  # images with the same predicted class
    rounding: float | None = None  # that difference of PyTorch in float32 from float64; None: `difference` <= LIMIT


@dataclass(frozen=True)
class Contents:
    files: Sequence[bytes]
    parity: Parity | None = None  # of formats that contain the network
