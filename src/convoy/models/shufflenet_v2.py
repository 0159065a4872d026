"""ShuffleNetV2: half of the channels bypass each block, then both halves are interleaved.

Paper: Ma, Zhang, Zheng, Sun, "ShuffleNet V2: Practical Guidelines for Efficient CNN Architecture Design", 2018.
https://arxiv.org/abs/1807.11164
Differs from the paper: neither the first convolution nor the pooling after it halves the maps unless
`stem = "paper"`. Initial weights are torch's default.
"""

from __future__ import annotations

import torch
from torch import nn

from convoy.models._blocks import choice, conv_norm_act, init_for_norm
from convoy.models.entry import register

SOURCE = "https://arxiv.org/abs/1807.11164"
STEM = 24
BLOCKS = (4, 8, 4)  # of the three stages; the first block of each halves the maps
WIDTHS = {  # of the three stages and of the last convolution
    0.5: (48, 96, 192, 1024),
    1.0: (116, 232, 464, 1024),
    1.5: (176, 352, 704, 1024),
    2.0: (244, 488, 976, 2048),
}
PARAMETERS = {0.5: 1_366_792, 1.0: 2_278_604, 1.5: 3_503_624, 2.0: 7_393_996}


def shuffled(x: torch.Tensor) -> torch.Tensor:
    """Interleaves the first and the second half of the channels."""
    count, channels, height, width = x.shape
    halves = x.view(count, 2, channels // 2, height, width)
    return halves.transpose(1, 2).reshape(count, channels, height, width)


class ShuffleBlock(nn.Module):
    """`in_chans` != `out_chans`: halves the maps, and both branches see all channels."""

    def __init__(self, in_chans: int, out_chans: int, norm_word: str, act: str) -> None:
        super().__init__()
        half = out_chans // 2
        self.splits = in_chans == out_chans
        stride = 1 if self.splits else 2
        self.passing = nn.Identity() if self.splits else nn.Sequential(
            conv_norm_act(in_chans, in_chans, 3, stride, groups=in_chans, norm_word=norm_word, act=None),
            conv_norm_act(in_chans, half, 1, norm_word=norm_word, act=act),
        )  # fmt: skip
        self.branch = nn.Sequential(
            conv_norm_act(half if self.splits else in_chans, half, 1, norm_word=norm_word, act=act),
            conv_norm_act(half, half, 3, stride, groups=half, norm_word=norm_word, act=None),
            conv_norm_act(half, half, 1, norm_word=norm_word, act=act),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        left, right = x.chunk(2, dim=1) if self.splits else (x, x)
        return shuffled(torch.cat([self.passing(left), self.branch(right)], dim=1))


class ShuffleNetV2(nn.Module):
    flaws: tuple[str, ...] = ()

    def __init__(
        self,
        in_chans: int = 1,
        num_classes: int = 10,
        image_size: int = 28,  # the global average pool makes the weights independent of it
        *,
        width_mult: float = 1.0,
        norm: str = "batch",
        activation: str = "relu",
        stem: str = "small",
    ) -> None:
        super().__init__()
        if width_mult not in WIDTHS:
            allowed = ", ".join(map(str, WIDTHS))
            raise ValueError(f"width_mult = {width_mult} in model.options: expected one of {allowed}")
        *widths, last = WIDTHS[width_mult]
        stride, pool = choice("stem", stem, {"small": (1, nn.Identity()), "paper": (2, nn.MaxPool2d(3, 2, padding=1))})
        self.features = nn.Sequential(conv_norm_act(in_chans, STEM, 3, stride, norm_word=norm, act=activation), pool)
        before = STEM
        for width, blocks in zip(widths, BLOCKS, strict=True):
            self.features.append(ShuffleBlock(before, width, norm, activation))
            self.features.extend(ShuffleBlock(width, width, norm, activation) for _ in range(blocks - 1))
            before = width
        self.features.append(conv_norm_act(before, last, 1, norm_word=norm, act=activation))
        self.head = nn.Linear(last, num_classes)
        init_for_norm(self, norm)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.features(x)  # (N, 1024 or 2048, H/8, W/8)
        return self.head(x.mean(dim=(2, 3)))  # (N, classes)


for _width_mult, _parameters in PARAMETERS.items():
    register(
        f"shufflenet_v2_x{_width_mult}".replace(".", "_"),
        summary=f"halves of the channels pass, are filtered and interleaved; width x{_width_mult}",
        source=SOURCE,
        parameters=_parameters,
        counted_at=(3, 1000, 224),
        smallest_image=8,
        presets={"width_mult": _width_mult},
    )(ShuffleNetV2)
