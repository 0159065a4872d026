"""The questions of REFORMS, in our words."""

from __future__ import annotations

from convoy.reporting.checklist import evidence
from convoy.reporting.checklist.answers import Row
from convoy.text import gettext as _


def rows() -> tuple[Row, ...]:
    return (*_goals_and_reproduction(), *_data(), *_modelling(), *_conclusions())


def _goals_and_reproduction() -> tuple[Row, ...]:
    goals, again = _("Study goals"), _("Computational reproducibility")
    return (
        Row("1a", goals, _("Which population or distribution is the claim about?")),
        Row("1b", goals, _("Why this population?")),
        Row("1c", goals, _("Why machine learning?")),
        Row(
            "2a",
            again,
            _("Which data set was used, and where can others get exactly this version?"),
            evidence.data_source,
        ),
        Row("2b", again, _("Which code and version were used, and where can others get them?"), evidence.code),
        Row("2c", again, _("Which hardware and software was it run on?"), evidence.machine),
        Row("2d", again, _("Is there a README with instructions?")),
        Row("2e", again, _("Is there a script that produces all results?"), evidence.script),
    )


def _data() -> tuple[Row, ...]:
    data, steps = _("Data quality"), _("Data preprocessing")
    return (
        Row("3a", data, _("Where, when and by whom were the data collected and labelled?")),
        Row("3b", data, _("Which larger set were the data sampled from?")),
        Row("3c", data, _("Why are the data suitable for the task?")),
        Row("3d", data, _("What is predicted, and how is it distributed?"), evidence.outcome),
        Row("3e", data, _("How large is each part?"), evidence.sample_size),
        Row("3f", data, _("How much is missing, and how was it handled?"), evidence.missing),
        Row("3g", data, _("Do the data represent the population of the claim?")),
        Row("4a", steps, _("Was a part of the data left out, and why?"), evidence.excluded),
        Row("4b", steps, _("How were impossible or damaged samples handled?"), evidence.missing),
        Row("4c", steps, _("How were the data transformed?"), evidence.transformations),
    )


def _modelling() -> tuple[Row, ...]:
    models, leakage = _("Modelling"), _("Data leakage")
    return (
        Row("5a", models, _("Which models were trained?"), evidence.models),
        Row("5b", models, _("Why these models?")),
        Row("5c", models, _("How were the models evaluated?"), evidence.evaluation),
        Row("5d", models, _("How was the reported model selected?"), evidence.selection),
        Row("5e", models, _("How were the hyperparameters chosen?"), evidence.hyperparameters),
        Row("5f", models, _("Which baselines were compared?"), evidence.baselines),
        Row("6a", leakage, _("Were training and test data separate in all steps?"), evidence.separation),
        Row("6b", leakage, _("Are test images duplicates of training images, or related?"), evidence.dependencies),
        Row("6c", leakage, _("Does an input reveal the answer although it is not available when the model is used?")),
    )


def _conclusions() -> tuple[Row, ...]:
    metrics, validity = _("Metrics and uncertainty"), _("Generalisation and limitations")
    return (
        Row("7a", metrics, _("Which metrics, and why?"), evidence.metrics),
        Row("7b", metrics, _("How uncertain are the results, and how was that computed?"), evidence.uncertainty),
        Row("7c", metrics, _("Which statistical tests, and are their assumptions met?"), evidence.tests),
        Row("8a", validity, _("What shows that the findings hold for other data?"), evidence.external_validity),
        Row("8b", validity, _("In which situations do the authors not expect the findings to hold?")),
    )
