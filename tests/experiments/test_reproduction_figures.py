"""The numbers in figures and tables of a reproduction, and the comparison with published values."""

from __future__ import annotations

from dataclasses import replace

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from tests.fake_runs import epoch_metrics, part_score

from convoy.agreement import Reason
from convoy.experiments.reproduction.curves import published_curves
from convoy.experiments.reproduction.figures import (
    ROLES,
    curves,
    draw_curves,
    effect_rows,
    effects_caption,
    measured_caption,
    measured_rows,
)
from convoy.experiments.reproduction.finding import (
    FaultResult,
    FaultVerdict,
    ModelMeasurements,
    ModelResult,
    Options,
    Reproduction,
)
from convoy.experiments.reproduction.page_tables import (
    Machines,
    against_published,
    agreement_of,
    measures_of,
    result_tables,
)
from convoy.experiments.reproductions.words import largest_effect
from convoy.experiments.words import measure_text
from convoy.reporting import canvas
from convoy.reporting.content import Chart, Panel
from convoy.reporting.palette import Look
from convoy.stats import paired_t, t_interval, wilson

ACCURACY = measure_text("test_accuracy")


def model(label, *, published=None, as_published=None, corrected=None):
    return ModelResult(
        label, published or {}, ModelMeasurements((), as_published or {}), ModelMeasurements((), corrected or {}), {}
    )


def fault(name, effects, *, measure="test_accuracy", verdict=FaultVerdict.CHANGED, same_bits=False):
    effect = paired_t(effects, [0.0] * len(effects)).difference if len(effects) > 1 else t_interval(effects)
    return FaultResult(name, "", measure, "seed", True, verdict, effect=effect, same_bits=same_bits)


def epochs(part, accuracies, *, train=(0.5, 0.9)):
    return [
        epoch_metrics(n, train=part_score(t), **{part: part_score(accuracy)})
        for n, (t, accuracy) in enumerate(zip(train, accuracies, strict=True), start=1)
    ]


def test_accuracies_are_shown_in_percent_and_their_differences_in_points():
    estimate = t_interval([0.97, 0.99])
    assert (ACCURACY.title, *ACCURACY.unit) == ("Test accuracy", 100, "%", "points")
    assert ACCURACY.parts(estimate) == ("98.00", "± 12.71")
    assert ACCURACY.text(estimate) == "98.00 ± 12.71 %"
    assert ACCURACY.text(wilson(9800, 10000)).endswith("% (97.71–98.26)")
    assert ACCURACY.difference(-0.0043) == "−0.43 points"


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
def test_differences_have_a_sign_unless_they_round_to_zero(name, value, text):
    assert measure_text(name).parts(value, signed=True) == (text, "")


def test_times_of_several_machines_are_not_compared_with_published_ones():
    seconds = measure_text("train_seconds")
    agreement = agreement_of(seconds, 100.0, None, None)
    assert "another machine" in against_published(seconds, 100.0, None, agreement, trained=True).text
    assert "another machine" not in against_published(seconds, 100.0, None, agreement).text


def words_of(metric, published, value, withheld=None):
    return against_published(metric, published, value, agreement_of(metric, published, value, withheld)).text


@pytest.mark.parametrize(
    ("published", "words"),
    [
        (0.985, ("inside",)),
        (0.988, ("inside",)),  # above the interval of the mean, 98.75
        (0.9935, ("outside", "+0.35 points")),
        (0.90, ("outside", "−8.00 points")),
    ],
)
def test_published_accuracy_is_compared_with_the_prediction_interval(published, words):
    measured = t_interval([0.984, 0.985, 0.986])
    text = words_of(ACCURACY, published, measured)
    assert all(word in text for word in (*words, "(98.00–99.00)"))
    assert words_of(ACCURACY, None, measured) == "not published"


@pytest.mark.parametrize("withheld", [Reason.QUICK_TRY, Reason.REDUCED])
def test_a_reduced_or_quick_try_shows_the_distance_without_a_verdict(withheld):
    words = words_of(ACCURACY, 0.9935, t_interval([0.4, 0.41, 0.42]), withheld)
    assert "+58.35 points" in words
    assert "no verdict" in words
    assert "outside" not in words


def test_one_run_without_an_interval_has_no_verdict():
    words = words_of(ACCURACY, 0.99, t_interval([0.98]))
    assert "+1.00 points" in words
    assert "no verdict" in words


def test_one_seed_is_compared_by_the_images_of_both_runs():
    assert "within" in words_of(ACCURACY, 0.983, wilson(9800, 10000))
    assert "+0.50 points, more than" in words_of(ACCURACY, 0.985, wilson(9800, 10000))


def test_published_seconds_are_only_compared_as_a_ratio():
    seconds = measure_text("total_seconds")
    assert "2.00 times as long" in words_of(seconds, 40.0, t_interval([19.0, 21.0]))
    assert "4.00 times as fast" in words_of(seconds, 5.0, t_interval([19.0, 21.0]))


def test_the_ratio_of_published_speed_is_inverted():
    speed = t_interval([2900.0, 3100.0])
    assert "2.00 times as fast" in words_of(measure_text("images_per_second"), 6000.0, speed)


def test_published_parameters_are_the_same_or_counted_otherwise():
    assert words_of(measure_text("parameters"), 44426, 44426.0) == "the same"
    assert words_of(measure_text("parameters"), 44430, 44426.0, Reason.QUICK_TRY) == "4 more than counted"


def test_only_what_is_outside_the_prediction_interval_is_bold():
    values = {
        "outside": t_interval([0.97, 0.9701, 0.9702]),
        "inside": t_interval([0.985, 0.99, 0.995]),
        "one run": wilson(9000, 10_000),
    }
    models = [
        model(label, published={"test_accuracy": 0.99}, as_published={"test_accuracy": v})
        for label, v in values.items()
    ]
    (table,) = result_tables(models, Machines("", ""), None)
    assert [row[-1].bold for row in table.rows] == [True, False, False]
    assert "prediction interval" in table.note
    (table,) = result_tables(models, Machines("", ""), Reason.QUICK_TRY)
    assert not any(row[-1].bold for row in table.rows)


def test_the_chart_has_the_prediction_interval_of_several_runs_as_published():
    several, one = t_interval([0.984, 0.985, 0.986]), wilson(9850, 10_000)
    models = [model(str(n), as_published={"test_accuracy": value}) for n, value in enumerate((several, one))]
    chart = measured_rows(models, "test_accuracy", Look(("0", "1")))
    assert chart is not None
    first, second = (row.values[0].prediction for row in chart.rows)
    assert first == pytest.approx((98.0, 99.0), abs=0.01)
    assert second is None
    assert "prediction interval" in measured_caption([chart])


def test_measures_are_those_that_were_published_as_one_number_and_the_test_accuracy():
    published = {"parameters": 5, "test_accuracy_by_epoch": [0.9, 0.91], "train_seconds": 3.0}
    found = measures_of([model("a", published=published, corrected={"test_accuracy": 0.9})])
    assert [each.name for each in found] == ["test_accuracy", "train_seconds", "parameters"]


def test_models_with_a_measure_have_a_row_in_its_unit():
    estimate = t_interval([0.97, 0.99])
    models = [
        model("lenet", published={"test_accuracy": 0.9744}, as_published={"test_accuracy": estimate}),
        model("untrained", published={"test_accuracy": 0.99}),
    ]
    chart = measured_rows(models, "test_accuracy", Look(("lenet", "untrained")))
    assert chart is not None
    (row,) = chart.rows
    assert row.name == "lenet"
    assert row.reference == pytest.approx(97.44)
    assert [(value.value, value.hollow) for value in row.values] == [(pytest.approx(98.0), True)]


def test_a_measure_without_models_has_no_chart():
    assert measured_rows([model("lenet", published={"test_accuracy": 0.97})], "test_accuracy", Look(())) is None


def test_faults_are_sorted_by_effect_with_accuracies_first():
    faults = [
        fault("loss_divided_twice", [-0.2, -0.19], measure="test_loss"),
        fault("selection", [0.001, 0.002]),
        fault("sampled_labels", [-0.012, -0.013]),
        fault("resplit", [0.004, 0.005], measure="validation_accuracy"),
    ]
    accuracies, losses = effect_rows(faults).items()
    assert accuracies[0] == "Accuracy"
    assert [row.name for row in accuracies[1].rows] == [
        "sampled labels (test)",
        "resplit (validation)",
        "selection (test)",
    ]
    assert accuracies[1].rows[0].values[0].value == pytest.approx(-1.25)
    assert losses[0] == measure_text("test_loss").title


def test_an_effect_of_zero_has_an_interval_unless_the_bits_are_equal():
    same, other = fault("same", [0.0, 0.0], same_bits=True), fault("other", [0.01, -0.01])
    (chart,) = effect_rows([same, other]).values()
    first, second = (row.values[0] for row in chart.rows)
    assert (first.value, first.interval) == (0, None)
    assert second.interval is not None
    assert second.interval[0] < 0 < second.interval[1]


def test_faults_without_a_verdict_have_numbers():
    withheld = fault("sampled_labels", [-0.012, -0.013], verdict=FaultVerdict.WITHHELD)
    (chart,) = effect_rows([withheld]).values()
    assert chart.rows[0].values[0].value == pytest.approx(-1.25)
    assert "No verdict" in effects_caption({withheld.verdict})
    assert "changed" not in effects_caption({withheld.verdict})


def finding_of(*faults, withheld=None):
    options = Options("both", None, False, None, None, False, (), withheld, "")
    return Reproduction("small", "Small", "", "", {}, (), options, None, "", faults=faults)


def test_largest_effect_is_on_an_accuracy():
    faults = [
        fault("sampled_labels", [-0.012, -0.013]),
        fault("loss_divided_twice", [-20.0, -19.0], measure="test_loss"),
        fault("large_but_unsure", [0.3, -0.1], verdict=FaultVerdict.INCONCLUSIVE),
    ]
    assert finding_of(*faults).largest_effect is faults[0]
    assert largest_effect(finding_of(*faults)).startswith("sampled labels: −1.25 ± 0.64 points ")
    assert largest_effect(finding_of()) == "none measured"
    assert "quick try" in largest_effect(finding_of(*faults, withheld=Reason.QUICK_TRY))


def test_a_test_set_that_selects_is_held_out():
    metrics = {
        "as_published": {"a": [epochs("test", (0.4, 0.8))]},
        "corrected": {"a": [epochs("validation", (0.4, 0.7))]},
    }
    drawn = curves(metrics, "accuracy", []).lines
    assert [(line.protocol, line.curve.part, line.role) for line in drawn] == [
        ("as_published", "train", "training"),
        ("as_published", "test", "held out"),
        ("corrected", "train", "training"),
        ("corrected", "validation", "held out"),
    ]


def test_openings_of_the_test_set_are_shown_at_their_epochs():
    table = epochs("validation", (0.4, 0.8, 0.7), train=(0, 0, 0))
    table[1] = replace(table[1], test=part_score(0.75))
    drawn = curves({"corrected": {"a": [table]}}, "accuracy", []).lines
    (line,) = [line for line in drawn if line.curve.part == "test"]
    assert (line.role, line.epochs, line.curve.mean) == ("test", (2,), (75.0,))


def test_published_epochs_are_read_part_by_part():
    published = {"test_accuracy": 0.99, "test_accuracy_by_epoch": [0.9755, 0.9745]}
    reported = [(curve, {1: (0.97, 0.98)}) for curve in published_curves("net", published)]
    (drawn,) = curves({}, "accuracy", reported).reported
    assert (drawn.curve.part, drawn.curve.values) == ("test", pytest.approx((97.55, 97.45)))
    assert drawn.band == {1: pytest.approx((97.0, 98.0))}
    assert curves({}, "loss", reported).reported == ()


def test_axis_limits_ignore_losses_that_are_not_finite():
    run = epochs("validation", (0.5, 0.9))
    run[0] = replace(run[0], validation=part_score(0.5, None))
    axes = Figure().add_subplot()

    draw_curves(axes, curves({"corrected": {"net": [run]}}, "loss", []), Look(("net",)), ROLES)

    low, high = axes.get_ylim()
    assert low < 1.0 < high


def test_a_long_line_of_words_below_a_chart_is_wrapped_within_it():
    panel = Panel("", lambda axes: axes.plot([0, 1]), height=2.0)
    chart = Chart("c", "t", (panel, panel), "", line_legend="held out: validation, or the test set where a fault; " * 4)
    figure = canvas._all_panels(chart, Look(("a",)))

    renderer = FigureCanvasAgg(figure).get_renderer()
    boxes = [text.get_window_extent(renderer) for text in figure.texts]

    assert len(boxes) > 1
    assert all(box.x1 < figure.bbox.x1 for box in boxes)
