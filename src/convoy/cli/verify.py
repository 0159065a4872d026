"""convoy verify: checks a run folder against its recipe, data and weights."""

from __future__ import annotations

import sys
from dataclasses import asdict

from convoy import api
from convoy.cli.app import Call, command, print_json, print_table, say
from convoy.text import gettext as _


@command(api.verify)
def verify(call: Call, as_json: bool) -> None:
    from convoy.verifying.result import check_name, detail, state_name

    verification = call()
    if as_json:
        print_json(asdict(verification) | {"differs": verification.differs})
    else:
        several = len({each.run for each in verification.checks}) > 1
        rows = [
            ({_("run"): each.run} if several else {})
            | {_("check"): check_name(each.check), _("state"): state_name(each.state), _("detail"): detail(each)}
            for each in verification.checks
        ]
        print_table(rows, [*rows[0]])
        say(verification.sentence)
    if verification.differs:
        sys.exit(1)
