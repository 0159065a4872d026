"""The numbers in figures and tables of a reproduction, and the comparison with published values."""

from __future__ import annotations

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from convoy.experiments.measure_words import measure
from convoy.experiments.reproduction.figures import (
    EffectVerdict,
    effect_numbers,
    effects_caption,
    measured_caption,
    measured_numbers,
    verdict,
)
from convoy.experiments.reproduction.figures_training import frame, lines, published_curves
from convoy.experiments.reproduction.page_tables import against_published, agreement_of, measures_of, result_tables
from convoy.experiments.reproductions.page import worst_fault
from convoy.prediction import Reason
from convoy.reporting import canvas
from convoy.reporting.content import Chart, Panel
from convoy.reporting.palette import Look
from convoy.stats import paired_t, t_interval, wilson

ACCURACY = measure("test_accuracy")


def model(label, *, published=None, as_published=None, corrected=None):
    runs = {"as_published": [], "corrected": []}
    measured = {"as_published": as_published, "corrected": corrected}
    return {"label": label, "published": published or {}, **measured, "difference": None, "runs": runs}


def fault(name, effects, *, measure="test_accuracy", moved=True, p: float | None = 0.01):
    effect = paired_t(effects, [0.0] * len(effects)).difference if len(effects) > 1 else t_interval(effects)
    return {"name": name, "measure": measure, "effect": effect.as_json(), "p": p, "p_holm": p, "moved": moved}


def epochs(part, accuracies, *, train=(0.5, 0.9)):
    return [
        {"train_loss": 1.0, "train_accuracy": t, f"{part}_loss": 1.0, f"{part}_accuracy": accuracy}
        for t, accuracy in zip(train, accuracies, strict=True)
    ]


def test_accuracies_are_shown_in_percent_and_their_differences_in_points():
    estimate = t_interval([0.97, 0.99]).as_json()
    assert (ACCURACY.title, ACCURACY.unit, ACCURACY.difference_unit) == ("Test accuracy", "%", "points")
    assert ACCURACY.parts(estimate) == ("98.00", "± 12.71")
    assert ACCURACY.unsigned_difference(-0.0043) == "0.43 points"


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("parameters", 44426, "+44,426"),
        ("flops_per_image", -14_500_000, "−14.5 M"),
        ("total_seconds", 708.38, "+708"),
        ("epochs", 25, "+25"),
        ("test_accuracy", -0.00001, "0.00"),
    ],
)
def test_differences_carry_a_sign_unless_they_round_to_zero(name, value, text):
    assert measure(name).parts(value, signed=True) == (text, "")


def words_of(shown, published, value, withheld=None):
    return against_published(shown, published, value, agreement_of(shown, published, value, withheld))


@pytest.mark.parametrize(
    ("published", "words"),
    [
        (None, "not published"),
        (0.985, "inside the prediction interval (98.00 to 99.00)"),
        (0.988, "inside the prediction interval (98.00 to 99.00)"),  # above the interval of the mean, 98.75
        (0.9935, "outside: 0.35 points above the prediction interval (98.00 to 99.00)"),
        (0.90, "outside: 8.00 points below the prediction interval (98.00 to 99.00)"),
    ],
)
def test_published_accuracy_is_compared_with_the_prediction_interval(published, words):
    measured = t_interval([0.984, 0.985, 0.986]).as_json()
    assert words_of(ACCURACY, published, measured) == words


@pytest.mark.parametrize("withheld", [Reason.QUICK_TRY, Reason.REDUCED])
def test_a_reduced_or_quick_try_shows_the_distance_without_a_verdict(withheld):
    words = words_of(ACCURACY, 0.9935, t_interval([0.4, 0.41, 0.42]).as_json(), withheld)
    assert words.startswith("58.35 points above")
    assert "no verdict" in words
    assert "outside" not in words


def test_one_run_without_an_interval_puts_nothing_outside():
    words = words_of(ACCURACY, 0.99, t_interval([0.98]).as_json())
    assert words.startswith("1.00 points above; no verdict")


def test_one_seed_is_compared_by_the_images_of_both_runs():
    assert words_of(ACCURACY, 0.983, wilson(9800, 10000).as_json()) == "within the image noise of two runs"
    assert words_of(ACCURACY, 0.985, wilson(9800, 10000).as_json()).startswith("0.50 points above, more than the image")


def test_published_seconds_are_only_compared_as_a_ratio():
    seconds = measure("total_seconds")
    assert words_of(seconds, 40.0, t_interval([19.0, 21.0]).as_json()) == "2.00 times as long"
    assert words_of(seconds, 5.0, t_interval([19.0, 21.0]).as_json()) == "4.00 times as fast"


def test_published_speed_is_compared_the_other_way_round():
    speed = t_interval([2900.0, 3100.0]).as_json()
    assert words_of(measure("images_per_second"), 6000.0, speed) == "2.00 times as fast"


def test_published_parameters_are_the_same_or_counted_otherwise():
    assert words_of(measure("parameters"), 44426, 44426) == "the same"
    assert words_of(measure("parameters"), 44430, 44426, Reason.QUICK_TRY) == "4 more than counted"


def test_only_what_is_outside_the_prediction_interval_is_bold():
    shown = {
        "outside": t_interval([0.97, 0.9701, 0.9702]).as_json(),
        "inside": t_interval([0.985, 0.99, 0.995]).as_json(),
        "one run": wilson(9000, 10_000).as_json(),
    }
    models = [
        model(label, published={"test_accuracy": 0.99}, as_published={"test_accuracy": v}) for label, v in shown.items()
    ]
    (table,) = result_tables(models, "", "", None)
    assert [row[-1].bold for row in table.rows] == [True, False, False]
    assert "prediction interval" in table.note
    (table,) = result_tables(models, "", "", Reason.QUICK_TRY)
    assert not any(row[-1].bold for row in table.rows)


def test_the_chart_has_the_prediction_interval_of_several_runs_as_published():
    several, one = t_interval([0.984, 0.985, 0.986]).as_json(), wilson(9850, 10_000).as_json()
    models = [model(str(n), as_published={"test_accuracy": value}) for n, value in enumerate((several, one))]
    numbers = measured_numbers(models, "test_accuracy")
    assert numbers is not None
    first, second = (row.prediction for row in numbers.rows)
    assert first is not None
    assert (first.low, first.high) == pytest.approx((98.0, 99.0), abs=0.01)
    assert second is None
    assert "prediction interval" in measured_caption([numbers])


def test_measures_are_those_that_were_published_as_one_number_and_the_test_accuracy():
    published = {"parameters": 5, "test_accuracy_by_epoch": [0.9, 0.91], "train_seconds": 3.0}
    found = measures_of([model("a", published=published, corrected={"test_accuracy": None})])
    assert [each.name for each in found] == ["test_accuracy", "train_seconds", "parameters"]


def test_models_with_a_measure_have_a_row_in_its_unit():
    estimate = t_interval([0.97, 0.99]).as_json()
    models = [
        model("lenet", published={"test_accuracy": 0.9744}, as_published={"test_accuracy": estimate}),
        model("untrained", published={"test_accuracy": 0.99}),
    ]
    numbers = measured_numbers(models, "test_accuracy")
    assert numbers is not None
    (row,) = numbers.rows
    assert row.label == "lenet"
    assert row.published == pytest.approx(97.44)
    assert row.as_published is not None
    assert row.as_published.mean == pytest.approx(98.0)
    assert row.corrected is None


def test_no_model_with_a_measure_makes_no_chart():
    assert measured_numbers([model("lenet", published={"test_accuracy": 0.97})], "test_accuracy") is None


def test_faults_are_sorted_by_effect_with_accuracies_first():
    faults = [
        fault("loss_divided_twice", [-0.2, -0.19], measure="train_loss"),
        fault("selection_on_test", [0.001, 0.002]),
        fault("sampled_labels", [-0.012, -0.013]),
        fault("resplit_every_epoch", [0.004, 0.005], measure="validation_accuracy"),
    ]
    accuracies, losses = effect_numbers(faults)
    assert [effect.name for effect in accuracies.effects] == [
        "sampled labels (test)",
        "resplit every epoch (validation)",
        "selection on test (test)",
    ]
    assert accuracies.measure.phrase == "accuracy"
    assert accuracies.effects[0].span.mean == pytest.approx(-1.25)
    assert losses.measure.name == "train_loss"


@pytest.mark.parametrize(
    ("effects", "moved", "p", "expected"),
    [
        ([0.01, 0.011], True, 0.01, EffectVerdict.CHANGED),
        ([0.01, -0.011], False, 0.9, EffectVerdict.INCONCLUSIVE),
        ([0.0, 0.0], False, None, EffectVerdict.UNCHANGED),
        ([0.01], False, None, EffectVerdict.NO_INTERVAL),
    ],
)
def test_verdict_of_a_fault_follows_its_test(effects, moved, p, expected):
    assert verdict(fault("any", effects, moved=moved, p=p)) is expected


def test_faults_of_a_quick_try_have_numbers_and_no_verdict():
    faults = [fault("sampled_labels", [-0.012, -0.013]), fault("log_softmax", [0.0, 0.0], moved=False, p=None)]
    numbers = effect_numbers(faults, withheld=True)
    assert {effect.verdict for effect in numbers[0].effects} == {EffectVerdict.NO_VERDICT}
    assert numbers[0].effects[0].span.mean == pytest.approx(-1.25)
    assert "No verdict" in effects_caption(numbers)
    assert "changed" not in effects_caption(numbers)
    assert "quick try" in worst_fault({"faults": faults, "quick": True})


def test_worst_fault_has_the_largest_effect_on_an_accuracy():
    faults = [
        fault("sampled_labels", [-0.012, -0.013]),
        fault("loss_divided_twice", [-20.0, -19.0], measure="train_loss"),
        fault("large_but_unsure", [0.3, -0.1], moved=False),
    ]
    assert worst_fault({"faults": faults}) == "sampled labels: −1.25 ± 0.64 points"
    assert worst_fault({"faults": []}) == "none measured"


def test_a_test_set_that_selects_is_held_out():
    metrics = {
        "as_published": {"a": [epochs("test", (0.4, 0.8))]},
        "corrected": {"a": [epochs("validation", (0.4, 0.7))]},
    }
    drawn = lines(metrics, "accuracy")
    assert [(line.protocol, line.curve.part, line.role) for line in drawn] == [
        ("as_published", "train", "training"),
        ("as_published", "test", "held out"),
        ("corrected", "train", "training"),
        ("corrected", "validation", "held out"),
    ]


def test_openings_of_the_test_set_are_shown_at_their_epochs():
    table = [{"epoch": n, **line} for n, line in enumerate(epochs("validation", (0.4, 0.8, 0.7), train=(0, 0, 0)), 1)]
    table[1] |= {"test_loss": 1.0, "test_accuracy": 0.75}
    drawn = lines({"corrected": {"a": [table]}}, "accuracy")
    (line,) = [line for line in drawn if line.curve.part == "test"]
    assert (line.role, line.epochs, line.curve.mean) == ("test", (2,), (75.0,))


def test_published_epochs_are_read_part_by_part():
    curves = published_curves({"test_accuracy": 0.99, "test_accuracy_by_epoch": [0.9755, 0.9745]})
    assert [(curve.part, curve.accuracy) for curve in curves] == [("test", pytest.approx((97.55, 97.45)))]


def test_a_loss_that_was_not_finite_leaves_the_axes_to_the_others():
    run = epochs("validation", (0.5, 0.9))
    run[0]["validation_loss"] = None
    axes = Figure().add_subplot()

    frame(axes, lines({"corrected": {"net": [run]}}, "loss"), "loss")

    low, high = axes.get_ylim()
    assert low < 1.0 < high


def test_a_long_line_of_words_below_a_chart_is_wrapped_within_it():
    panel = Panel("", lambda axes: axes.plot([0, 1]), height=2.0)
    chart = Chart(
        "c", "t", (panel, panel), "", line_legend="held out: validation, or the test part where a fault; " * 4
    )
    figure = canvas._all_panels(chart, Look(("a",)))

    renderer = FigureCanvasAgg(figure).get_renderer()
    boxes = [text.get_window_extent(renderer) for text in figure.texts]

    assert len(boxes) > 1
    assert all(box.x1 < figure.bbox.x1 for box in boxes)
