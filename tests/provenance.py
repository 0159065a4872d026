"""Properties of the networks as published: recipe, property, value and source.

tests/contract/test_provenance.py builds the network of each recipe and compares. A source is a repository, a commit, a
file and, after the colon, its lines, as far as known. The spread is the standard deviation over 256 images (32 for the
largest networks) of the logits of an untrained network. Its value is the mean over five seeds of the plain PyTorch
version (tests/plain_networks.py), which has torch's default initial weights; `python -m tests.contract.test_provenance`
measures it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

Property = Literal["parameters", "multiply_adds", "pools", "dropouts", "ends_in_softmax", "spread"]


class Pool(NamedTuple):
    """A pooling layer. The kernel of a global average pooling is the size of the feature map."""

    kind: Literal["max", "average"]
    kernel: int
    stride: int
    padding: int = 0


class Drop(NamedTuple):
    rate: float
    before: str  # the next layer with weights


@dataclass(frozen=True)
class Fact:
    recipe: str
    property: Property
    value: object
    source: str


# ---- the table ----

E0 = "the author's improve_ex2.py"  # no commit is known; lines are those of the file
E0_PLAIN = "the author's ex2.py"
E1_CNN = "Monthlyaway/YanweiFu-Course-Projects@e4abc87 pj2/cnn.py"
E1_VGG = "Monthlyaway/YanweiFu-Course-Projects@cbef51a pj2/vgg.py"
E2 = "the report's script"
E3 = "GentleCold/cnn_mnist@964c108 model/"
E4 = "the listing in the report"
COUNTED = "counted from the layers of "
DEFAULT = "torch's default initial weights, measured on the plain version of "

HALVE = Pool("max", 2, 2)
OVERLAP = Pool("max", 3, 2)
PADDED = Pool("max", 3, 2, 1)
SAME = Pool("max", 3, 1, 1)  # the pooling within an Inception module


def rows(
    recipe: str,
    source: str,
    *,
    counts: tuple[int, int],
    pools: tuple[tuple[Pool, ...], str],
    dropouts: tuple[tuple[Drop, ...], str] = ((), ""),
    softmax: str = "",
    spread: float,
) -> tuple[Fact, ...]:
    """`counts`: parameters, multiply-adds per image. `pools` and `dropouts`: value, lines of the source."""
    (parameters, multiply_adds), (pooled, pool_lines), (dropped, drop_lines) = counts, pools, dropouts

    def at(lines: str) -> str:
        return f"{source}:{lines}" if lines else source

    return (
        Fact(recipe, "parameters", parameters, COUNTED + source),
        Fact(recipe, "multiply_adds", multiply_adds, COUNTED + source),
        Fact(recipe, "pools", pooled, at(pool_lines)),
        Fact(recipe, "dropouts", dropped, at(drop_lines)),
        Fact(recipe, "ends_in_softmax", bool(softmax), softmax or source),
        Fact(recipe, "spread", spread, DEFAULT + source),
    )


FACTS: tuple[Fact, ...] = (
    *rows(
        "course-mnist/wide-kernel-cnn-published",
        E0_PLAIN,
        counts=(3_275_402, 14_486_016),
        pools=((HALVE, HALVE), ""),
        dropouts=((Drop(0.3, "Linear 1024 -> 10"),), ""),
        softmax="the report's text",
        spread=0.0177,
    ),
    *rows(
        "course-mnist/res-attention-cnn-published",
        E0,
        counts=(440_170, 23_884_672),
        pools=((HALVE, HALVE, HALVE, Pool("average", 3, 3)), "69, 71, 75, 78"),
        dropouts=((Drop(0.3, "Linear 1024 -> 10"),), "86"),
        softmax=f"{E0}:87",
        spread=0.0100,
    ),
    *rows(
        "cifar-course/basic-cnn-published",
        E1_CNN,
        counts=(1_147_466, 11_375_616),
        pools=((HALVE,) * 3, "20, 27-29"),
        spread=0.0081,
    ),
    *rows(
        "cifar-course/improved-cnn-published",
        E1_CNN,
        counts=(12_906_250, 538_650_624),
        pools=((HALVE,) * 3, "50, 56, 62"),
        dropouts=((Drop(0.5, "Linear 1024 -> 10"),), "66, 80"),
        spread=0.342,
    ),
    *rows(
        "cifar-course/residual-cnn-published",
        E1_CNN,
        counts=(2_816_074, 421_240_832),
        pools=((Pool("average", 2, 2),), "141"),  # adaptive, from 8x8 to 4x4
        spread=0.326,
    ),
    *rows(
        "cifar-course/vgg-a-published",
        E1_VGG,
        counts=(9_750_922, 153_293_824),
        pools=((HALVE,) * 5, "23, 27, 33, 39, 45"),
        spread=1.19e-5,
    ),
    *rows(
        "cifar-course/vgg-a-bn-published",
        E1_VGG,
        counts=(9_756_426, 153_293_824),
        pools=((HALVE,) * 5, "71, 76, 84, 92, 100"),
        spread=0.0514,
    ),
    *rows(
        "resnet-mnist/published",
        E2,
        counts=(11_020_650, 1_201_243_648),
        pools=((Pool("average", 7, 7),), ""),
        dropouts=(tuple(Drop(0.1, f"Conv2d {width} -> {width}") for width in (128, 256, 512)), ""),
        spread=0.0884,
    ),
    *rows(
        "classics-mnist/lenet-published",
        f"{E3}lenet.py",
        counts=(44_426, 281_640),
        pools=((HALVE, HALVE), "12, 14"),
        spread=5.81e-5,
    ),
    *rows(
        "classics-mnist/alexnet-published",
        f"{E3}alexnet.py",
        counts=(43_446_122, 318_426_112),
        pools=((HALVE,) * 3, "58, 62, 72"),
        dropouts=(
            (Drop(0.5, "Linear 6272 -> 4096"), Drop(0.5, "Linear 4096 -> 4096")),
            "76, 79, its rate main.py:15-16",
        ),
        spread=1.80e-4,
    ),
    *rows(
        "classics-mnist/resnet18-shared-published",
        f"{E3}resnet.py",
        counts=(11_001_546, 135_763_968),
        pools=((PADDED, Pool("average", 2, 2)), "53, 67"),
        dropouts=((Drop(0.5, "Linear 512 -> 10"),), "71, its rate main.py:15-16"),
        spread=0.224,
    ),
    *rows(
        "classics-mnist/mobilenet-v1-published",
        f"{E3}mobilenet.py",
        counts=(3_216_650, 42_030_208),
        pools=((Pool("average", 2, 2),), "51"),
        dropouts=((Drop(0.5, "Linear 1024 -> 10"),), "52, its rate main.py:15-16"),
        spread=0.180,
    ),
    *rows(
        "classics-mnist/googlenet-published",
        f"{E3}googlenet.py",
        counts=(5_977_530, 106_796_544),
        pools=(
            (PADDED, PADDED, *(SAME,) * 2, PADDED, *(SAME,) * 5, PADDED, *(SAME,) * 2, Pool("average", 2, 2)),
            "26, 48, 55, 60, 66, 69",
        ),
        dropouts=((Drop(0.2, "Linear 1024 -> 10"),), "70, its rate the report"),
        spread=9.46e-8,
    ),
    *rows(
        "classics-mnist/alexnet-large-published",
        f"{E3}alexnet.py",
        counts=(58_299_082, 1_060_924_256),
        pools=((OVERLAP,) * 3, "14, 18, 28"),
        dropouts=(
            (Drop(0.5, "Linear 9216 -> 4096"), Drop(0.5, "Linear 4096 -> 4096")),
            "32, 35, its rate main.py:15-16",
        ),
        spread=2.71e-4,
    ),
    *rows(
        "tensor-mnist/published",
        E4,
        counts=(698_942, 1_709_512),
        pools=((HALVE, HALVE), ""),
        softmax=E4,
        spread=0.0488,
    ),
)
