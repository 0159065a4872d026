"""Planted mistakes in networks are found by their checks; a correct network has no finding."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from tests.diagnosing import planted_networks as planted
from torch import nn

from convoy.diagnosing.checks import trainability
from convoy.diagnosing.finding import Finding, Severity
from convoy.diagnosing.network import Network
from convoy.diagnosing.table import CHECKS, Topic, examine
from convoy.evaluation import losses
from convoy.recipe import Recipe
from convoy.training.step.learner import Learner

ERROR, WARNING, HINT = Severity
TOPICS = (Topic.NETWORK, Topic.FORWARD, Topic.OUTPUTS, Topic.TRAINABILITY)
NETWORK_CHECKS = [check for check in CHECKS if check.topic in TOPICS]
PLANTED: list[tuple[type[nn.Module], str, Severity]] = [
    (planted.Softmax, "softmax_before_loss", ERROR),
    (planted.LogSoftmax, "softmax_before_loss", HINT),
    (planted.LastRelu, "activation_before_loss", ERROR),
    (planted.LastSigmoid, "activation_before_loss", WARNING),
    (planted.LastTanh, "activation_before_loss", WARNING),
    (planted.LastGelu, "activation_before_loss", WARNING),
    (planted.UnitLogits, "activation_before_loss", WARNING),
    (planted.NormalisedLogits, "activation_before_loss", WARNING),
    (planted.NormInEvaluation, "norm_momentum", WARNING),
    (planted.TwoViews, "shared_weights", HINT),
    (planted.Detached, "no_gradient", ERROR),
    (planted.DetachedFeatures, "unused_parameters", WARNING),
    (planted.UnusedLayer, "unused_parameters", WARNING),
    (planted.FrozenByMistake, "frozen_parameters", HINT),
    (planted.LayersInAList, "unregistered_layers", ERROR),
    (planted.LayersInADict, "unregistered_layers", ERROR),
    (planted.LayersInPairs, "unregistered_layers", ERROR),
    (planted.LayersNextToAScale, "unregistered_layers", ERROR),
    (planted.SharedNorm, "shared_weights", WARNING),
    (planted.SharedLayer, "shared_weights", HINT),
    (planted.TiedTensor, "shared_weights", HINT),
    (planted.DeadUnits, "dead_units", WARNING),
    (planted.DeadChannels, "dead_units", WARNING),
    (planted.SaturatedSigmoid, "saturated_units", WARNING),
    (planted.SaturatedTanh, "saturated_units", WARNING),
    (planted.WideWeights, "saturated_units", WARNING),
    (planted.WideWeightsAndScale, "saturated_units", WARNING),
    (planted.SaturatedHardtanh, "saturated_units", WARNING),
    (planted.SaturatedRelu6, "saturated_units", WARNING),
    (planted.RootOfDropped, "non_finite_values", ERROR),
    (planted.RootOfDistance, "non_finite_values", ERROR),
    (planted.MeanOfPowers, "non_finite_values", ERROR),
    (planted.TinyWeights, "vanishing_signal", HINT),
    (planted.LargeHead, "initial_loss", WARNING),
    (planted.NormalisesAgain, "normalised_again", WARNING),
    (planted.NormalisesInPlace, "normalised_again", WARNING),
    (planted.RandomDropout, "random_in_evaluation", ERROR),
    (planted.LogOfZero, "non_finite_values", ERROR),
    (planted.DividesByZero, "non_finite_values", ERROR),
    (planted.SoftmaxOverBatch, "output_depends_on_batch", ERROR),
    (planted.BatchStatistics, "output_depends_on_batch", ERROR),
    (planted.MixesImages, "output_depends_on_batch", ERROR),
    (planted.CentresBatch, "output_depends_on_batch", ERROR),
    (planted.ScalesTheBatchInPlace, "output_depends_on_batch", ERROR),
    (planted.LastDropout, "activation_before_loss", WARNING),
    (planted.LastClamp, "activation_before_loss", WARNING),
    (planted.ForgottenBranch, "unused_parameters", WARNING),
    (planted.PlainTensor, "unregistered_layers", ERROR),
    (planted.ConstantTensor, "unregistered_layers", HINT),
    (planted.LayerOfAStep, "random_in_evaluation", ERROR),
    (planted.MirrorsAtRandom, "random_in_evaluation", ERROR),
    (planted.CountsCalls, "random_in_evaluation", ERROR),
    (planted.DividesBy255, "normalised_again", WARNING),
    (planted.DeviationOfBatch, "non_finite_values", ERROR),
    (planted.InitialisesInForward, "changes_itself", WARNING),
    (planted.StaysInEvaluation, "changes_itself", WARNING),
    (planted.UpdatesStatisticsInEvaluation, "changes_itself", WARNING),
    (planted.ScalesTheBatchInPlace, "changes_itself", HINT),
    (planted.ReluBeforeShortcut, "reads_changed_tensor", WARNING),
    (planted.ScalesShortcut, "reads_changed_tensor", WARNING),
    (planted.NormOverTime, "norm_dimension", WARNING),
    (planted.NormOfPermuted, "norm_dimension", WARNING),
    (planted.NormOfPixels, "norm_dimension", HINT),
    (planted.ScalesInTraining, "differs_in_evaluation", HINT),
    (planted.Linear, "no_activation", WARNING),
    (planted.NoActivationInHead, "no_activation", HINT),
    (planted.EqualUnits, "equal_units", WARNING),
    (planted.SeesACorner, "unseen_pixels", WARNING),
    (planted.MomentumOfZero, "norm_momentum", WARNING),
    (planted.MomentumOfTensorFlow, "norm_momentum", HINT),
    (planted.MomentumOfOne, "norm_momentum", WARNING),
    (planted.LargeEpsilon, "norm_epsilon", WARNING),
    (planted.DividesLogits, "constant_factor", WARNING),
    (planted.DividesFeatures, "constant_factor", WARNING),
    (planted.DetachedPart, "detached_features", HINT),
    (planted.RoundsFeatures, "untrained_layers", WARNING),
    (planted.AveragesRelu, "activation_before_loss", HINT),
    (planted.SmallTanh, "activation_before_loss", WARNING),
    (planted.OneFeature, "narrow_features", WARNING),
    (planted.OneChannel, "narrow_features", HINT),
    (planted.AveragesChannels, "narrow_features", WARNING),
    (planted.LargestChannel, "narrow_features", WARNING),
    (planted.PatchesByReshape, "patches_by_reshape", WARNING),
    (planted.ShiftedSoftmax, "activation_before_loss", WARNING),
    (planted.SoftmaxBetweenLayers, "hidden_softmax", HINT),
    (planted.AttentionOverQueries, "hidden_softmax", WARNING),
    (planted.PatchesWithoutPositions, "ignores_order", WARNING),
    (planted.DropoutInsteadOfActivation, "no_activation", HINT),
    (planted.KeepProbability, "strong_dropout", WARNING),
    (planted.DropsImages, "strong_dropout", WARNING),
    (planted.IgnoresImages, "cannot_overfit", ERROR),
    (planted.OnlyMeanGrey, "cannot_overfit", ERROR),
]


def network_of(network_class: type[nn.Module], recipe: Recipe | None = None, classes: int = 3) -> Network:
    """The network on noise with a bright bar at one of three positions."""
    x, y = torch.randn(16, 1, 12, 12, generator=torch.Generator().manual_seed(0)), torch.arange(16) % 3
    for image, label in zip(x, y, strict=True):
        image[:, :, 4 * label + 1 : 4 * label + 3] += 2
    x -= x.mean((2, 3), keepdim=True)

    def build() -> nn.Module:
        torch.manual_seed(0)
        return network_class()

    return Network(build(), recipe or Recipe(), x, y, classes, build=build)


def found(network: Network, check: str) -> list[Finding]:
    return list(examine(network, [row for row in NETWORK_CHECKS if row.name == check]))


@pytest.mark.parametrize(
    ("network_class", "check", "severity"),
    PLANTED,
    ids=[f"{network_class.__name__}-{check}" for network_class, check, _ in PLANTED],
)
def test_planted_mistake_is_found(
    network_class: type[nn.Module], check: str, severity: Severity, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainability, "STEPS", 30)
    [finding] = found(network_of(network_class), check)
    assert finding.severity is severity
    assert finding.evidence


@pytest.mark.parametrize(
    "network_class",
    [
        planted.Sound,
        planted.ComputedWeights,
        planted.PatchesWithPositions,
        planted.StochasticDepth,
        planted.ZeroHead,
        planted.Recurrent,
        planted.Residual,
        planted.LargeTanh,
        planted.WideClamp,
        planted.GateOfOneUnit,
        planted.SubtractsMeanOfChannels,
        planted.MixesTokens,
        planted.PatchesByPermute,
        planted.Rows,
        planted.SaturatedGate,
        planted.RootOfRelu,
    ],
)
def test_sound_network_has_no_finding(network_class: type[nn.Module]) -> None:
    assert list(examine(network_of(network_class), NETWORK_CHECKS)) == []


@pytest.mark.parametrize(
    "scaled",
    [
        lambda x: F.layer_norm(x / 1000, x.shape[1:]),
        lambda x: x + 0.001 * F.relu(x),
        lambda x: x / 1000 / (x / 1000).pow(2).mean(1, keepdim=True).sqrt(),
        lambda x: (x / 1000) * (x / 1000).square().mean(1, keepdim=True).rsqrt(),
        lambda x: (x[:, :, None].expand(-1, -1, 1000).sum(2)) / 1000,
        lambda x: x * torch.sigmoid(x / 1000),
    ],
)
def test_factors_that_norms_sums_and_shortcuts_cancel_do_not_count(
    scaled: Callable[[torch.Tensor], torch.Tensor],
) -> None:
    class Scaled(planted.Sound):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(scaled(self.hidden(self.features(x))))

    assert network_of(Scaled).first_step.factor == pytest.approx(1)


def test_lowest_loss_of_bounded_logits_is_that_of_the_most_confident_prediction() -> None:
    [finding] = found(network_of(planted.SmallTanh), "activation_before_loss")
    logits = torch.tensor([[0.1, -0.1, -0.1]])
    assert finding.evidence["lowest_loss"] == pytest.approx(float(F.cross_entropy(logits, torch.tensor([0]))))


def test_one_number_is_enough_for_two_classes() -> None:
    class TwoClasses(planted.OneFeature):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(1, 2)

    network = network_of(TwoClasses, classes=2)
    assert found(replace(network, labels=network.labels % 2), "narrow_features") == []


@pytest.mark.parametrize(("init", "severities"), [(None, [WARNING]), ("weights.safetensors", [])])
def test_frozen_layers_must_have_trained_weights(init: str | None, severities: list[Severity]) -> None:
    network = network_of(planted.FrozenByMistake, Recipe().override({"model.freeze": ["conv"], "model.init": init}))
    findings = found(replace(network, starts_from_weights=init is not None), "frozen_parameters")
    assert [finding.severity for finding in findings] == severities


def test_detached_images_have_no_finding() -> None:
    assert found(network_of(planted.DetachedImages), "detached_features") == []


def test_finding_names_the_line_of_the_user() -> None:
    [finding] = found(network_of(planted.LastRelu), "activation_before_loss")
    line = planted.LastRelu.forward.__code__.co_firstlineno + 1
    assert f"planted_networks.py:{line}" in finding.problem


def test_checks_that_fail_with_the_same_error_are_one_hint() -> None:
    class Fails(planted.Sound):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("always")

    failed = [row for row in NETWORK_CHECKS if row.topic is Topic.FORWARD]
    assert len(list(examine(network_of(Fails), failed))) == 1


def test_not_finite_values_name_the_layer_and_the_operation() -> None:
    class Inner(planted.Sound):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Sequential(nn.Linear(32, 32), _Log())

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.inner(self.hidden(self.features(x))))

    [finding] = found(network_of(Inner), "non_finite_values")
    assert (finding.evidence["layer"], finding.evidence["operation"]) == ("inner.1", "log")


@pytest.mark.parametrize(
    ("network_class", "operation"), [(planted.RootOfDropped, "sqrt"), (planted.MeanOfPowers, "pow")]
)
def test_gradients_that_are_not_finite_name_the_operation_and_the_file(
    network_class: type[nn.Module], operation: str
) -> None:
    [finding] = found(network_of(network_class), "non_finite_values")
    assert finding.evidence["operation"] == operation
    assert "planted_networks.py:" in finding.problem


class _Log(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.log(x)


@pytest.mark.parametrize(("batch", "accumulate", "severities"), [(1, 1, [WARNING]), (32, 8, [HINT]), (32, 1, [])])
def test_batch_norm_of_few_images_is_found(batch: int, accumulate: int, severities: list[Severity]) -> None:
    recipe = Recipe().override({"train.batch_size": batch, "train.accumulate": accumulate})
    findings = found(network_of(planted.Sound, recipe), "small_norm_batches")
    assert [finding.severity for finding in findings] == severities


def test_each_check_of_networks_has_a_planted_mistake() -> None:
    names = {check for _, check, _ in PLANTED} | {"small_norm_batches", "learning_rate"}
    assert names == {check.name for check in NETWORK_CHECKS}


def test_network_that_fails_in_a_check_is_a_hint() -> None:
    class FailsAlone(planted.Sound):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if len(x) == 7:
                raise RuntimeError("seven")
            return super().forward(x)

    [finding] = found(network_of(FailsAlone), "output_depends_on_batch")
    assert finding.severity is HINT
    assert "seven" in finding.problem


@pytest.mark.parametrize(("lr", "count"), [(0.01, 0), (1e-8, 1), (500.0, 1)])
def test_learning_rate_that_diverges_or_does_nothing_is_found(lr: float, count: int) -> None:
    recipe = Recipe().override({"optim": {"name": "sgd", "lr": lr}})
    network = network_of(planted.Sound, recipe)
    loss = losses.build(recipe.train.loss)
    trained = replace(network, learner=lambda: Learner(network.build(), recipe.optim, loss))
    assert len(found(trained, "learning_rate")) == count


@pytest.mark.parametrize(
    ("last", "highest", "count"), [(1.09, 50.0, 1), (1.09, 3.4, 1), (1.09, 2.3, 0), (0.9, 50.0, 0)]
)
def test_learning_rate_after_which_the_images_are_ignored_is_found(
    last: float, highest: float, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loss rises and returns to that of equal outputs for all images, ln(3), which is below the first loss."""
    own, lower = trainability._Losses(2.3, last, highest), trainability._Losses(2.3, 0.2, 2.3)
    monkeypatch.setattr(trainability, "_falls", lambda _network, factor: own if factor == 1 else lower)
    recipe = Recipe()
    network = network_of(planted.Sound, recipe)
    loss = losses.build(recipe.train.loss)
    trained = replace(network, learner=lambda: Learner(network.build(), recipe.optim, loss))
    assert len(found(trained, "learning_rate")) == count


def test_global_maximum_does_not_ignore_the_order() -> None:
    assert found(network_of(planted.MaximumOfAll), "ignores_order") == []
