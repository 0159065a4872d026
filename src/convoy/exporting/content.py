"""The arguments and results of exporters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

LIMIT = 1e-5  # maximum of Parity.difference


@dataclass(frozen=True)
class Settings:
    files: int = 1  # number of file names
    preprocessing: str = "inside"  # the exported network takes uint8 images; "outside": normalised images
    temperature: bool = False  # the exported network divides its logits by the temperature of the validation set
    keep_norms: bool = False  # batch norms stay operations of the ONNX model, and are not fused into convolutions
    trust_code: bool = False


@dataclass(frozen=True)
class Parity:
    """A comparison of the exported network with the network of the run."""

    images: int
    part: str  # part that contains these images: "validation" or "train"
    difference: float  # largest absolute difference of a logit / largest absolute logit, over all images and classes
    agreeing: int  # images with the same predicted class
    rounding: float | None = None  # the same difference between float32 and float64 in PyTorch; None: not needed


@dataclass(frozen=True)
class Contents:
    files: Sequence[bytes]
    parity: Parity | None = None  # only for formats that contain the network
