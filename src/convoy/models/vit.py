"""ViT, the vision transformer, in the size "tiny", for small images.

Paper: Dosovitskiy et al., "An Image Is Worth 16x16 Words", 2020. https://arxiv.org/abs/2010.11929
The size: Touvron et al., "Training Data-Efficient Image Transformers", 2020. https://arxiv.org/abs/2012.12877
Differs from the paper: patches of 4x4 pixels instead of 16x16, so 28x28 pixels give 49 tokens; images whose size is
not a multiple of the patch size are zero-padded at the right and bottom; `drop_rate` is 0 by default and does not apply
to the attention weights. `readout = "mean"` classifies the mean of the patch tokens, without a class token.
Initialisation as in timm: normal weights with standard deviation 0.02 in linear layers and positions, biases zero.
"""

import torch
from torch import nn
from torch.nn.functional import pad

from convoy.models._blocks import StochasticDepth, activation, checked_count, checked_rate, choice
from convoy.models.entry import Geometry
from convoy.models.network import Network
from convoy.text import gettext as _

EXPANSION = 4
EPSILON = 1e-6  # epsilon of all norms


class Attention(nn.Module):
    """Self-attention as plain matrix products, which every export format supports. The [T, T] weights are small."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        parts = self.qkv(x).unflatten(2, (3, self.heads, -1))  # (N, T, 3, heads, D)
        query, key, value = parts.permute(2, 0, 3, 1, 4).unbind(0)  # (N, heads, T, D)
        weights = (query * query.shape[-1] ** -0.5 @ key.transpose(2, 3)).softmax(dim=-1)  # (N, heads, T, T)
        return self.out((weights @ value).transpose(1, 2).flatten(2))  # (N, T, width)


class Block(nn.Module):
    def __init__(self, width: int, heads: int, act: str, drop_rate: float, drop_path: float) -> None:
        super().__init__()
        hidden = EXPANSION * width
        self.attention = nn.Sequential(nn.LayerNorm(width, EPSILON), Attention(width, heads), nn.Dropout(drop_rate))
        self.mlp = nn.Sequential(
            nn.LayerNorm(width, EPSILON),
            nn.Linear(width, hidden), activation(act), nn.Dropout(drop_rate),
            nn.Linear(hidden, width), nn.Dropout(drop_rate),
        )  # fmt: skip
        self.drop_path = StochasticDepth(drop_path)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.drop_path(self.attention(x))
        return x + self.drop_path(self.mlp(x))


class VisionTransformer(Network):
    def __init__(
        self,
        geometry: Geometry,
        *,
        patch: int = 4,
        width: int = 192,
        depth: int = 12,
        heads: int = 3,
        readout: str = "class",
        activation: str = "gelu",
        drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
    ) -> None:
        super().__init__()
        for option, value in (("patch", patch), ("width", width), ("depth", depth), ("heads", heads)):
            checked_count(option, value)
        if width % heads:
            raise ValueError(
                _(
                    "width = {width} in model.options of vit_tiny: expected a multiple of heads = {heads}",
                    width=width,
                    heads=heads,
                )
            )
        rate = checked_rate("drop_rate", drop_rate)
        rate_increase = checked_rate("drop_path_rate", drop_path_rate) / max(1, depth - 1)  # from block to block
        has_class = choice("readout", readout, {"class": True, "mean": False})
        self.padding = -geometry.image_size % patch
        tokens = ((geometry.image_size + self.padding) // patch) ** 2
        self.class_token = nn.Parameter(torch.randn(1, 1, width) * 1e-6) if has_class else None
        self.positions = nn.Parameter(torch.randn(1, tokens + has_class, width) * 0.02)
        self.patches = nn.Conv2d(geometry.in_chans, width, patch, patch)
        self.drop = nn.Dropout(rate)
        self.blocks = nn.Sequential(*[Block(width, heads, activation, rate, rate_increase * i) for i in range(depth)])
        self.norm = nn.LayerNorm(width, EPSILON)
        self.head = nn.Linear(width, geometry.num_classes)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.patches(pad(x, (0, self.padding, 0, self.padding)))  # (N, width, H/patch, W/patch)
        x = x.flatten(2).transpose(1, 2)  # (N, T, width)
        if self.class_token is not None:
            class_tokens = self.class_token.expand(x.shape[0], -1, -1)  # len(x) would fix N in an export
            x = torch.cat([class_tokens, x], dim=1)
        x = self.blocks(self.drop(x + self.positions))
        return self.head(self.norm(x.mean(dim=1) if self.class_token is None else x[:, 0]))  # (N, classes)
