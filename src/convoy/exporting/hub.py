"""A run as a model on the Hugging Face Hub: a repository with the archived run, its weights and a model card.

README.md           the model card: scores with intervals, data, recipe, how to use it
model.safetensors   the weights, with the metadata of `--to safetensors`
config.json         the same metadata
code/               a user's network
the other files     as in an archived run (convoy.archive): without local paths, logits and images
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from convoy.archive import archive_run, atomic_folder
from convoy.data.cache import cache_folder
from convoy.exporting import weights
from convoy.exporting.content import Settings
from convoy.files import file_name, write_bytes, write_json
from convoy.models.run_code import RunCode
from convoy.registry import HUB, is_user_class
from convoy.reporting import pages, render
from convoy.reporting.content import Code, Page, Section, Table
from convoy.run_files import sha256_of
from convoy.runs import Run
from convoy.text import gettext as _

WEIGHTS, RUN_WEIGHTS = "model.safetensors", "best.safetensors"  # in the repository, in a run folder
FILES = ("*.json", "*.jsonl", "*.toml", "*.npz", WEIGHTS, "code/*.py")  # downloaded files
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def push(run: Run, repository: str, *, private: bool | None, licence: str | None) -> str:
    """Creates the repository if it does not exist, and uploads the files as one commit. Returns its address."""
    with TemporaryDirectory() as folder:
        write(run, Path(folder), repository, licence=licence)
        with _request(repository) as api:
            address = api.create_repo(repository, private=private, exist_ok=True)
            api.upload_folder(
                repo_id=repository,
                folder_path=folder,
                commit_message=f"{run.name}, trained with Convoy",
                delete_patterns=["code/*", "*.npz"],  # files of an earlier run
            )
    return str(address)


def write(run: Run, folder: Path, repository: str, *, licence: str | None) -> None:
    """Writes the files of the repository into a folder. Raises ValueError for a run that is not finished."""
    hub = _library(repository)
    content = weights.safetensors(run, Settings()).files[0]
    with TemporaryDirectory() as archive:
        archived = archive_run(run, archive)
        page = _card(pages.run_page(archived, archived.path), run, repository)
        shutil.copytree(archived.path, folder, dirs_exist_ok=True)
    write_bytes(folder / WEIGHTS, content)
    pushed = Run(folder)
    pushed.write_status(files={**pushed.status.files, RUN_WEIGHTS: sha256_of(folder / WEIGHTS)})
    metadata = weights.metadata(run).items()
    texts = ("run", "model", "data")
    config = {name: value if name in texts else json.loads(value) for name, value in metadata}
    write_json(folder / "config.json", {"library_name": "convoy", **config})
    if is_user_class(run.recipe.model.name):
        for path, source in RunCode.read(run.path / "code").files.items():
            write_bytes(folder / "code" / path, source)
    card = f"---\n{_metadata(run, hub, licence)}\n---\n\n{render.markdown(page)}"
    write_bytes(folder / "README.md", card.encode())


def download(name: str) -> Path:
    """Returns the cached folder of "hf:owner/name": a run, or only model.safetensors of another library.

    Raises ValueError for a missing package, repository or weights, and if the Hub cannot be reached.
    """
    repository = name.removeprefix(HUB)
    with _request(repository) as api:
        snapshot = Path(api.snapshot_download(repository, allow_patterns=list(FILES)))
    if not (snapshot / WEIGHTS).is_file():
        raise ValueError(
            _("{name}: expected a model with {weights}, as `convoy push` writes it", name=name, weights=WEIGHTS)
        )
    # A separate workspace with real files, because the snapshot has links to names without a suffix.
    target = cache_folder() / "hub" / "runs" / f"{file_name(repository)}-{snapshot.name[:12]}"
    if not target.is_dir():
        with atomic_folder(target) as temporary:
            shutil.copytree(snapshot, temporary, dirs_exist_ok=True)
            if (temporary / "recipe.toml").is_file():
                (temporary / WEIGHTS).rename(temporary / RUN_WEIGHTS)
    return target


def find(name: str) -> Run:
    """Returns the run of "hf:owner/name"."""
    folder = download(name)
    if not (folder / "recipe.toml").is_file():
        raise ValueError(
            _("{name}: expected a run that `convoy push` wrote, found only weights; --init can use them", name=name)
        )
    return Run(folder)


def _library(repository: str) -> Any:
    if find_spec("huggingface_hub") is None:
        raise ValueError(
            _("{hub}{repository} needs huggingface_hub: pip install 'convoy-ml[hub]'", hub=HUB, repository=repository)
        )
    if not _REPOSITORY.fullmatch(repository):
        raise ValueError(_("expected owner/name, as in ada/lenet-mnist, got {repository!r}", repository=repository))
    import huggingface_hub.errors
    import huggingface_hub.utils

    return huggingface_hub


@contextmanager
def _request(repository: str) -> Iterator[Any]:
    """Yields the API of the Hub, without progress bars. Converts its errors to a one-line ValueError."""
    hub = _library(repository)
    errors, utils = hub.errors, hub.utils
    has_bars = not utils.are_progress_bars_disabled()
    utils.disable_progress_bars()
    login = _("log in with `hf auth login`, or set HF_TOKEN")
    try:
        yield hub.HfApi()
    except errors.RepositoryNotFoundError:
        raise ValueError(
            _(
                "{hub}{repository}: no such model, or a private one: {login}",
                hub=HUB,
                repository=repository,
                login=login,
            )
        ) from None
    except errors.HfHubHTTPError as error:
        status = error.response.status_code
        reason = {
            401: _("not logged in: {login}", login=login),
            403: _("the token has no write access: {login}", login=login),
        }.get(status)
        raise ValueError(f"{HUB}{repository}: {reason or _first_line(error)}") from None
    except Exception as error:  # connections fail in many ways
        raise ValueError(
            _(
                "{hub}{repository}: the Hub cannot be reached: {reason}",
                hub=HUB,
                repository=repository,
                reason=_first_line(error),
            )
        ) from None
    finally:
        if has_bars:
            utils.enable_progress_bars()


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


# ---- the model card ----


def _metadata(run: Run, hub: Any, licence: str | None) -> str:
    """Returns the YAML header of the model card."""
    results = [
        hub.EvalResult(
            task_type="image-classification",
            dataset_type=run.data.name,
            dataset_name=run.data.name,
            dataset_split=part,
            metric_type="accuracy",
            metric_value=score.accuracy,
        )
        for part, score in run.scores.items()
    ]
    data = hub.ModelCardData(
        license=licence,
        library_name="convoy",
        pipeline_tag="image-classification",
        tags=["convoy", file_name(run.label)],
        metrics=["accuracy"],
        model_name=run.name,
        eval_results=results or None,
    )
    return str(data.to_yaml())


def _card(page: Page, run: Run, repository: str) -> Page:
    """Returns the page of the run without figures, with a section on how to use the network."""
    name, trust = f"{HUB}{repository}", ", trust_code=True" * is_user_class(run.recipe.model.name)
    python = f"""import convoy

model = convoy.load("{name}"{trust})
logits = model(model.preprocess("image.png"))
print(model.classes[logits[0].argmax()])"""
    flag = " --trust-code" * bool(trust)
    console = f"convoy predict {name} image.png{flag}\nconvoy train {file_name(run.label)} --init {name}"
    use = Section(_("Use"), (Code("pip install 'convoy-ml[hub]'"), Code(python), Code(console)))
    tables = [tuple(block for block in each.blocks if isinstance(block, Table | Code)) for each in page.sections]
    sections = [replace(each, blocks=blocks) for each, blocks in zip(page.sections, tables, strict=True)]
    return replace(page, sections=(use, *(section for section in sections if section.blocks)))
