"""Networks with one planted mistake each, and a correct one, for float32 images [B, 1, 12, 12] of 3 classes."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import prune


class Sound(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.hidden = nn.Linear(8 * 36, 32)
        self.drop = nn.Dropout(0.2)
        self.head = nn.Linear(32, 3)

    def features(self, x: Tensor) -> Tensor:
        return F.max_pool2d(F.relu(self.norm(self.conv(x))), 2).flatten(1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.drop(F.relu(self.hidden(self.features(x)))))


class ComputedWeights(Sound):
    """Three layers whose weight is a plain tensor that a hook computes from parameters."""

    def __init__(self) -> None:
        super().__init__()
        nn.utils.weight_norm(self.conv)
        nn.utils.spectral_norm(self.hidden)
        prune.l1_unstructured(self.head, "weight", 0.3)


class Softmax(Sound):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).softmax(1)


class LogSoftmax(Sound):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).log_softmax(1)


class LastRelu(Sound):
    def forward(self, x: Tensor) -> Tensor:
        return F.relu(super().forward(x))


class LastSigmoid(Sound):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).sigmoid()


class LastTanh(Sound):
    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(super().forward(x))


class Detached(Sound):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).detach() + self.head.bias


class DetachedFeatures(Sound):
    def features(self, x: Tensor) -> Tensor:
        return super().features(x).detach()


class UnusedLayer(Sound):
    def __init__(self) -> None:
        super().__init__()
        self.extra = nn.Conv2d(1, 4, 3)


class FrozenByMistake(Sound):
    def __init__(self) -> None:
        super().__init__()
        self.conv.requires_grad_(False)


class LayersInAList(Sound):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = [nn.Linear(32, 32), nn.Linear(32, 32)]

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.hidden(self.features(x)))
        for block in self.blocks:
            x = F.relu(block(x))
        return self.head(x)


class LayersInADict(LayersInAList):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = {"a": nn.Linear(32, 32)}  # type: ignore[assignment]

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.relu(self.blocks["a"](self.hidden(self.features(x)))))  # type: ignore[call-overload]


class LayersInPairs(LayersInADict):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = {"a": [("first", nn.Linear(32, 32))]}  # type: ignore[assignment]

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.relu(self.blocks["a"][0][1](self.hidden(self.features(x)))))  # type: ignore[call-overload]


class LayersNextToAScale(LayersInAList):
    """The name of the list is the beginning of the name of a parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks_g = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * self.blocks_g


class SharedNorm(Sound):
    def features(self, x: Tensor) -> Tensor:
        return super().features(self.norm(x.expand(-1, 8, -1, -1))[:, :1])


class SharedLayer(Sound):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(self.conv(x)[:, :1])


class TiedTensor(Sound):
    def __init__(self) -> None:
        super().__init__()
        self.second = nn.Linear(32, 32)
        self.third = nn.Linear(32, 32)
        self.third.weight = self.second.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.third(F.relu(self.second(self.hidden(self.features(x))))))


class DeadUnits(Sound):
    def __init__(self) -> None:
        super().__init__()
        nn.init.constant_(self.hidden.bias, -100.0)


class DeadChannels(Sound):
    def __init__(self) -> None:
        super().__init__()
        nn.init.constant_(self.norm.bias, -20.0)


class SaturatedSigmoid(Sound):
    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.sigmoid(200 * self.hidden(self.features(x))))


class SaturatedTanh(Sound):
    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(200 * self.hidden(self.features(x))))


class WideWeights(Sound):
    """Before the sigmoid, the standard deviation is about 8: it saturates at 6."""

    def __init__(self) -> None:
        super().__init__()
        nn.init.normal_(self.hidden.weight, std=0.6)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.sigmoid(self.hidden(self.features(x))))


class WideWeightsAndScale(WideWeights):
    """The temperature of the logits is a tensor without dimensions."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * self.scale.exp()


class SaturatedHardtanh(Sound):
    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.hardtanh(200 * self.hidden(self.features(x))))


class SaturatedRelu6(Sound):
    def __init__(self) -> None:
        super().__init__()
        nn.init.constant_(self.hidden.bias, 20.0)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.relu6(self.hidden(self.features(x))))


class SaturatedGate(WideWeights):
    """As in CBAM: a gate may be nearly open or closed, because the features are not computed from it alone."""

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.hidden(self.features(x))
        return self.head(hidden / hidden.std(1, keepdim=True) * torch.sigmoid(hidden))


class RootOfDropped(Sound):
    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.drop(F.relu(self.hidden(self.features(x)))).sqrt())


class RootOfDistance(Sound):
    def forward(self, x: Tensor) -> Tensor:
        hidden = F.relu(self.hidden(self.features(x)))
        return self.head((hidden - hidden.amax(1, keepdim=True)).square().sqrt())


class MeanOfPowers(DeadChannels):
    """Generalised mean without a smallest value: the outputs are finite, but not the gradient of the exponent."""

    def __init__(self) -> None:
        super().__init__()
        self.exponent = nn.Parameter(torch.tensor(3.0))
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        powers = F.relu(self.norm(self.conv(x))) ** self.exponent
        return self.head(powers.mean((2, 3)) ** (1 / self.exponent))


class RootOfRelu(Sound):
    """The ReLU sets the infinite gradient at 0 to 0."""

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.relu(self.hidden(self.features(x))).sqrt())


class LargeHead(Sound):
    def __init__(self) -> None:
        super().__init__()
        nn.init.normal_(self.head.weight, std=30.0)


class TinyWeights(nn.Sequential):
    def __init__(self) -> None:
        layers = [nn.Linear(144, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 3)]
        super().__init__(nn.Flatten(), *layers)
        for layer in layers[::2]:
            nn.init.normal_(layer.weight, std=0.001)


class NormalisesAgain(Sound):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward((x - 0.1307) / 0.3081)


class NormalisesInPlace(Sound):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.clone().sub_(0.5).div_(0.5))


class RandomDropout(Sound):
    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.dropout(F.relu(self.hidden(self.features(x)))))


class LogOfZero(Sound):
    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.log(F.relu(self.hidden(self.features(x)))))


class DividesByZero(Sound):
    def features(self, x: Tensor) -> Tensor:
        x = super().features(x)
        return x / (x.sum(1, keepdim=True) * 0)


class SoftmaxOverBatch(Sound):
    def forward(self, x: Tensor) -> Tensor:
        return 10 * super().forward(x).softmax(0)


class BatchStatistics(Sound):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(8, track_running_stats=False)


class MixesImages(Sound):
    def features(self, x: Tensor) -> Tensor:
        x = super().features(x)
        return x.t().reshape(len(x), -1)


class CentresBatch(Sound):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x - x.mean(0))


class IgnoresImages(Sound):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x * 0)


class OnlyMeanGrey(Sound):
    """Learns from the mean of the image only, which is the same for all classes."""

    def features(self, x: Tensor) -> Tensor:
        return super().features(x.mean((2, 3), keepdim=True).expand_as(x))


class LastDropout(Sound):
    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(super().forward(x), training=self.training)


class LastClamp(Sound):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).clamp(0, 1)


class ForgottenBranch(Sound):
    """Computes the hidden layer, and does not use it."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(8 * 36, 3)

    def forward(self, x: Tensor) -> Tensor:
        features = self.features(x)
        F.relu(self.hidden(features))
        return self.head(features)


class PlainTensor(Sound):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(3)) * 0.5  # no longer a parameter

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * self.scale.detach()


class ConstantTensor(Sound):
    def __init__(self) -> None:
        super().__init__()
        self.shift = torch.zeros(3)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + self.shift


class LayerOfAStep(Sound):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(nn.Conv2d(1, 1, 1)(x))


class MirrorsAtRandom(Sound):
    """Half of the evaluations are equal."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.flip(3) if torch.rand(1).item() < 0.5 else x)


class CountsCalls(Sound):
    calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return super().forward(x) * self.calls


class DividesBy255(Sound):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x / 255)


class DeviationOfBatch(Sound):
    """The deviation of a single image is NaN."""

    def forward(self, x: Tensor) -> Tensor:
        outputs = super().forward(x)
        return outputs / outputs.std(0)


class InitialisesInForward(Sound):
    def forward(self, x: Tensor) -> Tensor:
        nn.init.ones_(self.head.bias)
        return super().forward(x)


class StaysInEvaluation(Sound):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(self.eval() and x)


class UpdatesStatisticsInEvaluation(Sound):
    def features(self, x: Tensor) -> Tensor:
        x = F.batch_norm(self.conv(x), self.norm.running_mean, self.norm.running_var, self.norm.weight, training=True)
        return F.max_pool2d(F.relu(x + self.norm.bias[:, None, None]), 2).flatten(1)


class ScalesTheBatchInPlace(Sound):
    def forward(self, x: Tensor) -> Tensor:
        x -= x.min()
        return super().forward(x)


class ScalesInTraining(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(nn.Flatten(), nn.Linear(144, 32), nn.ReLU(), nn.Linear(32, 3))

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * (10 if self.training else 1)


class Linear(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(nn.Conv2d(1, 4, 3), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(100, 32), nn.Linear(32, 3))


class NoActivationInHead(Sound):
    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.hidden(self.features(x)))


class EqualUnits(Sound):
    def __init__(self) -> None:
        super().__init__()
        nn.init.constant_(self.conv.weight, 0.1)
        nn.init.zeros_(self.conv.bias)
        nn.init.constant_(self.hidden.weight, 0.01)


class SeesACorner(Sound):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.pad(x[:, :, :6, :6], (0, 6, 0, 6)))


class MomentumOfZero(Sound):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(8, momentum=0)


class MomentumOfTensorFlow(Sound):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(8, momentum=0.99)


class RoundsFeatures(Sound):
    def features(self, x: Tensor) -> Tensor:
        return super().features(x).round()


class StochasticDepth(Sound):
    """Sound: in training, it skips its second layer at random."""

    def forward(self, x: Tensor) -> Tensor:
        hidden = F.relu(self.hidden(self.features(x)))
        return self.head(hidden + self.block(hidden) if self._is_used() else hidden)

    def __init__(self) -> None:
        super().__init__()
        self.block = nn.Sequential(nn.Linear(32, 32), nn.ReLU())

    def _is_used(self) -> bool:
        return not self.training or torch.rand(1).item() > 1  # never in training: the unlucky case


class ZeroHead(Sound):
    """Sound: the gradients of all other layers are 0 in the first step."""

    def __init__(self) -> None:
        super().__init__()
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)


class Recurrent(Sound):
    """Sound: `nn.LSTM` has its weights in a list, too."""

    def __init__(self) -> None:
        super().__init__()
        del self.conv, self.norm
        self.rows = nn.LSTM(12, 32, batch_first=True)

    def features(self, x: Tensor) -> Tensor:
        return self.rows(x[:, 0])[0].transpose(1, 2)[..., -9:].flatten(1)  # 32 x 9 = 8 x 36

    def forward(self, x: Tensor) -> Tensor:
        self.last = self.hidden(self.features(x))  # a stored result, not a forgotten weight
        return self.head(F.relu(self.last))


class NormOverTime(Recurrent):
    """32 features are dimension 2 of the outputs of the LSTM, [B, 12, 32]."""

    def __init__(self) -> None:
        super().__init__()
        self.norm_of_rows = nn.BatchNorm1d(12)

    def features(self, x: Tensor) -> Tensor:
        return self.norm_of_rows(self.rows(x[:, 0])[0]).transpose(1, 2)[..., -9:].flatten(1)


class NormOfPermuted(Sound):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(12)  # the height

    def features(self, x: Tensor) -> Tensor:
        x = self.norm(F.relu(self.conv(x)).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return F.max_pool2d(x, 2).flatten(1)


class NormOfPixels(Sound):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(8 * 36)

    def features(self, x: Tensor) -> Tensor:
        return self.norm(F.max_pool2d(F.relu(self.conv(x)), 2).flatten(1))


class Residual(Sound):
    """Sound: its ReLU changes only results of the batch norm, and `+=` only that of the second convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.second = nn.Conv2d(8, 8, 3, padding=1)
        self.second_norm = nn.BatchNorm2d(8)
        self.relu = nn.ReLU(inplace=True)

    def features(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        y = self.second(self.relu(self.norm(x)))
        y += x
        return F.max_pool2d(self.relu(self.second_norm(y)), 2).flatten(1)


class ReluBeforeShortcut(Residual):
    def features(self, x: Tensor) -> Tensor:
        x = self.norm(self.conv(x))
        return F.max_pool2d(F.relu(self.second_norm(x + self.second(self.relu(x)))), 2).flatten(1)


class ScalesShortcut(Residual):
    def features(self, x: Tensor) -> Tensor:
        x = shortcut = self.conv(x)
        x *= 0.5
        y = self.second(self.relu(self.norm(x)))
        return F.max_pool2d(self.relu(self.second_norm(y + shortcut)), 2).flatten(1)


class LastGelu(Sound):
    def forward(self, x: Tensor) -> Tensor:
        return F.gelu(super().forward(x))


class UnitLogits(Sound):
    def forward(self, x: Tensor) -> Tensor:
        return F.normalize(super().forward(x), dim=1)


class NormInEvaluation(Sound):
    def train(self, mode: bool = True) -> NormInEvaluation:
        super().train(mode)
        self.norm.eval()
        return self


class TwoViews(Sound):
    """Sound: the batch norm is used twice, as are all layers before it, for images with the same statistics."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + super().forward(x.flip(3))


class DividesLogits(Sound):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) / 1000


class DividesFeatures(Sound):
    """The factor is before the last layer, and is the product of two."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("scale", torch.tensor(0.05))
        nn.init.zeros_(self.head.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.relu(self.hidden(self.features(x))) * self.scale * 0.02)


class DetachedPart(Sound):
    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.hidden(self.features(x)))
        return self.head(torch.cat([x[:, :16], x[:, 16:].detach()], 1))


class DetachedImages(Sound):
    """Sound: the images have no gradient that is needed."""

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.norm(self.conv(x))) + x.detach()
        return self.head(F.relu(self.hidden(F.max_pool2d(x, 2).flatten(1))))


class LargeEpsilon(Sound):
    def __init__(self) -> None:
        super().__init__()
        self.norm.eps = 1.0


class MomentumOfOne(Sound):
    def __init__(self) -> None:
        super().__init__()
        self.norm.momentum = 1.0


class NormalisedLogits(Sound):
    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(super().forward(x), (3,))


class AveragesRelu(nn.Sequential):
    def __init__(self) -> None:
        layers = [nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 3, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        super().__init__(*layers)


class SmallTanh(Sound):
    def forward(self, x: Tensor) -> Tensor:
        return 0.1 * torch.tanh(super().forward(x))


class LargeTanh(Sound):
    """Sound: the lowest possible loss is 4e-9."""

    def forward(self, x: Tensor) -> Tensor:
        return 10 * torch.tanh(super().forward(x))


class WideClamp(Sound):
    """Sound: the bounds prevent overflow only."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).clamp(-50, 50)


class OneFeature(Sound):
    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Linear(8 * 36, 1)
        self.head = nn.Linear(1, 3)


class OneChannel(Sound):
    def __init__(self) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(8, 1, 1)
        self.hidden = nn.Linear(36, 32)

    def features(self, x: Tensor) -> Tensor:
        return F.relu(self.reduce(F.max_pool2d(F.relu(self.norm(self.conv(x))), 2))).flatten(1)


class AveragesChannels(Sound):
    """The mean of [B, C, H, W] over 1 and 2, as if the channels were last."""

    dimensions = (1, 2)

    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.LazyLinear(32)
        self.hidden(self.features(torch.zeros(2, 1, 12, 12)))

    def features(self, x: Tensor) -> Tensor:
        return F.relu(self.norm(self.conv(x))).mean(self.dimensions).flatten(1)


class LargestChannel(AveragesChannels):
    def features(self, x: Tensor) -> Tensor:
        return F.relu(self.norm(self.conv(x))).max(1).values.flatten(1)


class SubtractsMeanOfChannels(Sound):
    """Sound: the average over the channels is only one of the inputs."""

    def features(self, x: Tensor) -> Tensor:
        x = F.relu(self.norm(self.conv(x)))
        return F.max_pool2d(x - x.mean(1, keepdim=True), 2).flatten(1)


class MixesTokens(nn.Module):
    """Sound: a layer over the tokens is added to the features, and the average is over the tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.tokens, self.head = nn.Conv2d(1, 16, 4, stride=4), nn.Linear(9, 9), nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.patches(x).flatten(2).transpose(1, 2))
        return self.head((self.tokens(x.transpose(1, 2)).transpose(1, 2) + x).mean(1))


class PatchesByReshape(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.mix, self.head = nn.Linear(16, 16), nn.Linear(144, 32), nn.Linear(32, 3)

    def cut(self, x: Tensor) -> Tensor:
        return x.reshape(len(x), 9, 16)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.relu(self.mix(F.relu(self.embed(self.cut(x))).flatten(1))))


class PatchesByPermute(PatchesByReshape):
    def cut(self, x: Tensor) -> Tensor:
        return x.reshape(len(x), 1, 3, 4, 3, 4).permute(0, 2, 4, 1, 3, 5).reshape(len(x), 9, 16)


class Rows(PatchesByReshape):
    """Sound: each piece is a row."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.mix = nn.Linear(12, 16), nn.Linear(192, 32)

    def cut(self, x: Tensor) -> Tensor:
        return x.reshape(len(x), 12, 12)


class ShiftedSoftmax(Sound):
    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x).softmax(1) - 1


class GateOfOneUnit(Sound):
    """Sound: a layer with one output scales the channels, but the images do not only go through it."""

    def __init__(self) -> None:
        super().__init__()
        self.squeeze, self.excite = nn.Linear(8, 1), nn.Linear(1, 8)

    def features(self, x: Tensor) -> Tensor:
        first, second = F.relu(self.norm(self.conv(x))).split(4, 1)
        x = torch.cat([first, second], 1)
        gate = torch.sigmoid(self.excite(torch.tanh(self.squeeze(x.mean((2, 3))))))
        return F.max_pool2d(x * gate[:, :, None, None], 2).flatten(1)


class SoftmaxBetweenLayers(Sound):
    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.drop(F.softmax(self.hidden(self.features(x)), 1)))


class KeepProbability(Sound):
    def __init__(self) -> None:
        super().__init__()
        self.drop = nn.Dropout(0.95)


class DropsImages(Sound):
    def __init__(self) -> None:
        super().__init__()
        self.augment = nn.Dropout2d(0.5)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(self.augment(x))


class PatchesWithPositions(nn.Module):
    """Sound: attention between 16 patches. The position embedding and the factor of the branch start with zeros."""

    softmax_dimension = -1

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, 16, 3, 3)
        self.positions = nn.Parameter(torch.zeros(1, 16, 16))
        self.queries, self.keys, self.values = (nn.Linear(16, 16) for _ in range(3))
        self.scale = nn.Parameter(torch.zeros(1))
        self.hidden, self.head = nn.Linear(16, 32), nn.Linear(32, 3)

    def embedded(self, x: Tensor) -> Tensor:
        return F.relu(self.patches(x).flatten(2).transpose(1, 2) + self.positions)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embedded(x)
        weights = F.softmax(self.queries(x) @ self.keys(x).transpose(1, 2) / 4, self.softmax_dimension)
        x = x + self.scale * (weights @ self.values(x))
        return self.head(F.relu(self.hidden(x.mean(1))))


class PatchesWithoutPositions(PatchesWithPositions):
    def embedded(self, x: Tensor) -> Tensor:
        return F.relu(self.patches(x).flatten(2).transpose(1, 2))


class AttentionOverQueries(PatchesWithPositions):
    softmax_dimension = 1


class DropoutInsteadOfActivation(Sound):
    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.dropout(self.hidden(self.features(x)), 0.3, self.training))


class MaximumOfAll(nn.Module):
    """Sound: if large blocks of an image are permuted, its maximum is often the same."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(1, 4, 3, padding=1), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.relu(self.conv(x)).amax((2, 3)))
