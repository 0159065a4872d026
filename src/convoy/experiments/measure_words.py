"""Titles and units of the measures in a finding."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from convoy.reporting.quantities import compact, plain
from convoy.stats import Estimate

# Same wording as convoy.experiments.measures; a test compares them, because claims and tables must agree.
TITLES = {
    "fold_accuracy": "Accuracy on the fold",
    "best_test_accuracy": "Best test accuracy of all epochs",
    "mean_accuracy": "Validation accuracy averaged over the epochs",
    "largest_drop": "Largest drop of the test accuracy between two epochs",
    "fluctuation": "Fluctuation of the validation accuracy",
    "epochs": "Epochs trained",
    "epochs_to": "Epochs to a validation accuracy",
    "train_seconds": "Training time",
    "total_seconds": "Total time",
    "images_per_second": "Training images per second",
    "flops_per_image": "FLOPs per image",
    "macs_per_image": "Multiply-adds per image",
    "peak_memory_bytes": "Peak memory",
    "generalisation_gap": "Loss on held-out images minus loss on training images",
    "recall_lead": "Lowest recall of some classes minus the mean of the others",
    "confusion_lead": "Images confused between two classes minus those of the worst other pair",
    "gain_while_rising": "Extra fall of the loss per step while the rate rises",
}
IN_POINTS = ("largest_drop", "fluctuation", "recall_lead", "confusion_lead")  # themselves differences of percentages


class Measure(NamedTuple):
    name: str  # key in findings, "test_accuracy"
    unit: str  # of a value
    difference_unit: str
    scale: float = 1.0

    @property
    def title(self) -> str:
        return TITLES.get(self.name, self.name.replace("_", " ").capitalize())

    @property
    def phrase(self) -> str:
        """The title within a sentence: lower case unless it begins with an acronym."""
        return self.title if self.title[1].isupper() else self.title[0].lower() + self.title[1:]

    @property
    def exact(self) -> bool:
        """Counted, not measured: has no interval."""
        return self.name in ("parameters", "flops_per_image", "macs_per_image")

    @property
    def machine_dependent(self) -> bool:
        """Differs between machines: only ratios can be compared."""
        return self.unit == "s" or self.name in ("images_per_second", "ms_per_image")

    def number(self, value: float) -> str:
        if self.name == "parameters":
            return f"{value:,.0f}"
        if self.difference_unit == "epochs":
            return f"{value:,.1f}".removesuffix(".0")
        if self.exact:
            return f"{'-' if value < 0 else ''}{compact(abs(value))}"
        return f"{self.scale * value:,.2f}" if self.difference_unit == "points" else plain(self.scale * value)

    def parts(self, value: float | Mapping[str, Any] | None, *, signed: bool = False) -> tuple[str, str]:
        """A number, and its interval if it is an estimate; ("", "") if not measured."""
        if value is None:
            return "", ""
        mean = value["mean"] if isinstance(value, Mapping) else value
        number, interval = self.number(mean), ""
        if isinstance(value, Mapping) and not self.exact:
            decimals = len(number.partition(".")[2])
            number, interval = Estimate.from_json(value).parts(scale=self.scale, digits=decimals)
        if signed:
            zero = not number.strip("-0.,")
            number = number.lstrip("-") if zero else f"{'+' if mean > 0 else '−'}{number.lstrip('-')}"
        return number, interval

    def unsigned_difference(self, value: float) -> str:
        """A difference with its unit, without sign: "0.43 points"."""
        return f"{self.number(abs(value))} {self.difference_unit}".rstrip()


def measure(name: str) -> Measure:
    if "accuracy" in name or name.endswith("recall"):
        return Measure(name, "%", "points", 100.0)
    if name in IN_POINTS:
        return Measure(name, "points", "points", 100.0)
    if name in ("epochs", "epochs_to"):
        return Measure(name, "", "epochs")
    if name.endswith("_seconds"):
        return Measure(name, "s", "s")
    if name.endswith("_bytes"):
        return Measure(name, "MiB", "MiB", 2.0**-20)
    return Measure(name, "", "")
