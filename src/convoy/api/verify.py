"""The function `verify`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from convoy.options import takes_options
from convoy.verifying.options import VerifyOptions

if TYPE_CHECKING:
    from convoy.runs import Run, Study
    from convoy.verifying.result import CheckResult, Verification

__all__ = ["verify"]


@takes_options
def verify(target: Run | Study | str | Path, **options: Unpack[VerifyOptions]) -> Verification:
    """Check the files of a run, or of all runs of a study, against its recipe, data and weights.

    Checks the SHA-256 of each file, and compares scores with predictions, curves with scores and steps, and status.json
    with the recipe. Then recomputes data hashes, fingerprint, predictions and scores from data and weights. Test images
    are predicted only if the run was scored on them; this does not count as opening the test set, because the
    predictions are only compared with stored ones. --stretch retrains the first epochs. With the same CPU model, thread
    count and version of torch, they must be bit-identical, otherwise within 1e-4 of the largest value. The command
    exits with 1 if something differs, and writes nothing.

    Example: `convoy verify lenet-s42 --stretch 1`

    Returns
    -------
    Verification
        For each check of each run: agrees, differs (with the file and both values), or cannot be checked (and why).

    Examples
    --------
    >>> run = convoy.train("lenet", epochs=1, limit=500)
    >>> verification = convoy.verify(run, stretch=1)
    >>> states = {each.check: each.state for each in verification.checks}
    """
    from convoy.api.arguments import locate, newest
    from convoy.runs import Run
    from convoy.verifying.result import Verification

    started = time.perf_counter()
    subject = newest(locate, target, options["out"])
    runs = [subject] if isinstance(subject, Run) else list({m.run.name: m.run for m in subject.members}.values())
    checks = [each for run in runs for each in _of_run(run, options["stretch"], trust_code=options["trust_code"])]
    if not isinstance(subject, Run):
        from convoy.verifying.study import verify_finding

        checks.append(verify_finding(subject))
    return Verification(subject.name, tuple(checks), time.perf_counter() - started)


def _of_run(run: Run, stretch: int | None, *, trust_code: bool) -> Iterator[CheckResult]:
    from convoy.verifying.run import verify_run
    from convoy.verifying.stretch import verify_training

    yield from verify_run(run, trust_code=trust_code)
    if stretch is not None:
        yield verify_training(run, stretch, trust_code=trust_code)
