"""Checks that train: a softmax before the loss, permuted labels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.diagnosing.planted_networks import Sound
from tests.diagnosing.test_network_checks import network_of

import convoy
from convoy.diagnosing.checks.measured import Predicted, Trainings, permuted_labels
from convoy.diagnosing.finding import Severity
from convoy.recipe import Recipe
from convoy.runs import Workspace

LABELS = np.arange(400) % 10
RARE = np.where(np.arange(400) < 360, 0, LABELS)


@pytest.mark.parametrize(
    ("labels", "predicted", "severity"),
    [
        (LABELS, np.random.RandomState(0).randint(10, size=400), Severity.HINT),
        (LABELS, (LABELS + 1) % 10, Severity.HINT),  # not independent, but without knowledge
        (RARE, np.zeros(400, int), Severity.HINT),  # 90 % are correct
        (LABELS % 2, np.where(np.arange(400) < 280, LABELS % 2, 1 - LABELS % 2), Severity.HINT),  # 70 %, two classes
        (LABELS, np.where(np.arange(400) < 200, LABELS, 3), Severity.ERROR),
        (LABELS % 2, LABELS % 2, Severity.ERROR),
    ],
    ids=["random", "exchanged", "most frequent", "two classes", "half", "all"],
)
def test_only_knowledge_of_labels_is_above_chance(
    labels: np.ndarray, predicted: np.ndarray, severity: Severity
) -> None:
    def trained() -> Predicted:
        return labels, predicted

    network = network_of(Sound, classes=int(labels.max()) + 1)
    [finding] = permuted_labels(Trainings(network, "validation", trained, trained, trained))
    assert finding.severity is severity
    assert finding.evidence["accuracy"] == pytest.approx(float((labels == predicted).mean()))


def test_measure_trains_without_the_softmax_and_on_permuted_labels(
    tiny: Callable[..., Recipe], net: Path, tmp_path: Path
) -> None:
    recipe, out = tiny(("train.epochs", 1), ("optim.lr", 0.001)), tmp_path / "out"
    plain = convoy.train(recipe, test=False, out=tmp_path / "plain", show=False)
    line = "return self.head(self.drop(self.body(x).flatten(1)))"
    net.write_text(net.read_text().replace(line, f"{line}.softmax(1)"))
    diagnosis = convoy.doctor(recipe, measure=True, only="measured", out=out)
    [softmax], [permuted] = diagnosis.of("effect_of_softmax"), diagnosis.of("permuted_labels")
    assert softmax.cost is not None
    assert softmax.cost.mean == pytest.approx(softmax.evidence["accuracy"] - softmax.evidence["accuracy_logits"])
    assert softmax.evidence["accuracy_logits"] == plain.scores["validation"].accuracy
    assert permuted.severity is Severity.HINT
    assert [len(Workspace(out).openings()), len([*Workspace(out).runs()])] == [0, 1]
