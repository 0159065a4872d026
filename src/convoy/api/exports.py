"""Functions that convert a run for other tools: export, push."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple, TypedDict, Unpack

from convoy.api.runs import TrustCode
from convoy.options import ARGUMENTS, Flag, Out, takes_options
from convoy.text import gettext as _

if TYPE_CHECKING:
    from convoy.exporting.content import Parity
    from convoy.runs import Run, Study

__all__ = ["ExportResult", "export", "push"]
ARGUMENTS.update(
    repository="Where to publish it, as owner/name.",
    names="File name. For logs, a second file name may follow, for the test accuracy at each new best epoch.",
)


_FORMATS = (
    "onnx, pt2 (torch.export): the network with its weights, for batches of any size, compared with the run. pth, "
    "safetensors: the weights. bundle: a zip file with weights, recipe, report, and the network as one file of plain "
    'PyTorch. logs: one line per epoch, "001 0.12345 0.98765 0.23456 0.97654" (epoch, training loss and accuracy, '
    "validation loss and accuracy). tensorboard, trackio, wandb, mlflow: curves, parameters and scores of a run, or of "
    "all runs of a study."
)


class ExportOptions(TypedDict, total=False):
    to: Annotated[
        str | None,
        Flag(f"{_FORMATS} Default: chosen by the suffix (.onnx, .pt2, .pth, .safetensors or .zip)."),
    ]
    preprocessing: Annotated[
        str | None,
        Flag(
            "For onnx and pt2. inside (default): the exported network takes uint8 images [N, C, H, H] and normalises "
            "them. outside: it takes normalised images."
        ),
    ]
    temperature: Annotated[
        bool,
        Flag(
            "For onnx and pt2. The exported network divides its logits by the temperature that was fitted "
            "on the validation set.",
            False,
        ),
    ]
    overwrite: Annotated[bool, Flag("Replace existing files.", False)]
    trust_code: TrustCode
    out: Out


class ExportResult(NamedTuple):
    files: list[Path]  # the written files; empty for a tracker
    parity: Parity | None  # comparison of the exported network with the run; None for weights, logs, trackers


@takes_options
def export(target: Run | Study | str | Path, *names: str | Path, **options: Unpack[ExportOptions]) -> ExportResult:
    """Export the network, the weights or the logs of a run for other tools, under the given file names.

    For experiment trackers (tensorboard, trackio, wandb, mlflow), exports a run or all runs of a study. The name is
    the folder for tensorboard (default: OUT/tensorboard), and the project or experiment for the others (default:
    convoy).

    An exported network must reproduce the logits of the run on up to 1,000 of its validation images (training images,
    if it has none): the largest difference may be 1e-5 of the largest logit, or slightly more if PyTorch's own rounding
    error is larger. Otherwise no file is written.

    Example: `convoy export lenet-s42 lenet.onnx`

    Returns
    -------
    ExportResult
        The files that were written, and for onnx, pt2 and bundle the comparison with the run.

    Examples
    --------
    >>> run = convoy.train("lenet", epochs=1, limit=500)
    >>> (path,), _ = convoy.export(run, "lenet.pth")  # torch.load(path, weights_only=True)
    """
    from convoy import exporting, tracking
    from convoy.api.arguments import find_run, locate, newest
    from convoy.runs import Study

    to, out, preprocessing = options["to"], options["out"], options["preprocessing"]
    if to in tracking.TRACKERS:
        if len(names) > 1 or preprocessing is not None or options["temperature"]:
            raise ValueError(
                _(
                    "--to {to}: expected at most one name, of a folder or project, and no --preprocessing and "
                    "--temperature",
                    to=to,
                )
            )
        place = str(names[0]) if names else tracking.default_place(to, out)
        tracking.export(newest(locate, target, out), to, place)
        return ExportResult([], None)
    paths = [Path(name) for name in names]
    parity = exporting.export(
        newest(find_run, str(target.path) if isinstance(target, Study) else target, out),
        paths,
        exporting.Settings(temperature=options["temperature"], trust_code=options["trust_code"]),
        to=to or exporting.format_of(paths),
        preprocessing=preprocessing,
        overwrite=options["overwrite"],
    )
    return ExportResult(paths, parity)


class PushOptions(TypedDict, total=False):
    private: Annotated[bool, Flag("Create a private repository. Has no effect on an existing one.", False)]
    license: Annotated[str | None, Flag("Identifier of the license in the model card, such as mit. Default: none.")]
    save: Annotated[str | Path | None, Flag("Write the files into this new folder instead of uploading them.")]
    out: Out


@takes_options
def push(run: Run | str | Path, repository: str, **options: Unpack[PushOptions]) -> str:
    """Publish a finished run on the Hugging Face Hub: weights, configuration, recipe, and a model card with its scores.

    Local paths, logits and images are not uploaded. `convoy.load("hf:owner/name")` and all commands that take a run
    accept the published run. Needs the extra `[hub]`, and a token with write access (`hf auth login`, or HF_TOKEN).

    Example: `convoy push lenet-s42 ada/lenet-mnist --private`

    Returns
    -------
    str
        The address of the model, or the folder.

    Examples
    --------
    >>> run = convoy.train("lenet", epochs=1, limit=500)
    >>> folder = convoy.push(run, "ada/lenet-mnist", save="lenet-mnist")
    """
    from convoy.api.arguments import find_run, newest
    from convoy.exporting import hub

    trained = newest(find_run, run, options["out"])
    if (folder := options["save"]) is None:
        return hub.push(trained, repository, private=options["private"], licence=options["license"])
    if Path(folder).exists():
        raise ValueError(_("--save {folder} already exists: expected the name of a new folder", folder=folder))
    hub.write(trained, Path(folder), repository, licence=options["license"])
    return str(folder)
