"""The questions of the NeurIPS paper checklist, in our words."""

from __future__ import annotations

from convoy.reporting.checklist import evidence
from convoy.reporting.checklist.answers import Row
from convoy.text import gettext as _


def rows() -> tuple[Row, ...]:
    results, ethics = _("Results and experiments"), _("Ethics and assets")
    return (
        Row("1", results, _("Do the abstract and the introduction claim what the paper shows, and no more?")),
        Row("2", results, _("Are the limitations discussed?"), evidence.limitations),
        Row("3", results, _("Does each theoretical result have its assumptions and a complete proof?")),
        Row("4", results, _("Can others reproduce the main results from what is disclosed?"), evidence.reproduction),
        Row("5", results, _("Are data and code available, with instructions?"), evidence.data_and_code),
        Row("6", results, _("Are splits, hyperparameters and optimizer given?"), evidence.settings),
        Row("7", results, _("Do results have error bars, and is it stated what they cover?"), evidence.uncertainty),
        Row("8", results, _("Are hardware, memory and time given for each experiment?"), evidence.machine),
        Row("9", ethics, _("Does the work follow the code of ethics?")),
        Row("10", ethics, _("Are positive and negative effects on society discussed?")),
        Row("11", ethics, _("Are there safeguards for data or models with a risk of misuse?")),
        Row("12", ethics, _("Are authors and licences of the assets used named?"), evidence.assets),
        Row("13", ethics, _("Are new assets documented?"), evidence.new_assets),
        Row("14", ethics, _("For work with people: are the instructions and the payment stated?")),
        Row("15", ethics, _("For work with people: were risks disclosed, and was approval obtained?")),
        Row("16", ethics, _("Is the use of language models described, if it is part of the method?")),
    )
