"""The storage of a search's trials: Optuna's, in a file of the search's folder or in a database."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock
import optuna
from optuna.exceptions import StorageInternalError
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from convoy.files import replacing
from convoy.text import gettext as _


def open_study(folder: Path, pruner: optuna.pruners.BasePruner, url: str | None) -> optuna.Study:
    """Opens the Optuna study of the trials. Raises ValueError if the storage cannot be opened."""
    attempts_left = 2
    while True:
        try:
            if url is None and not _file(folder).exists():
                _create_tables(_file(folder))
            return optuna.create_study(
                storage=url or f"sqlite:///{_file(folder).resolve()}",
                study_name=folder.name,
                direction="maximize",
                pruner=pruner,
                load_if_exists=True,
            )
        except StorageInternalError:
            raise  # see errors_naming_storage
        except (SQLAlchemyError, ImportError, RuntimeError) as error:
            if isinstance(error, OperationalError) and attempts_left:
                attempts_left -= 1
                time.sleep(1)  # if several processes create the tables at the same time, all but one fail
                continue
            if url is not None:
                hint = _("expected a URL as in postgresql://host/name or sqlite:///path")
            elif isinstance(error, OperationalError):  # a full or read-only disk
                hint = _("repeat the command to try again")
            else:
                hint = _("the file is damaged; you can delete it, finished runs are reused")
            raise ValueError(_message(folder, url, error, hint)) from None


def _create_tables(path: Path) -> None:
    """Creates the file once all its tables and indices exist: otherwise, a killed process could leave an incomplete
    file.
    """
    for abandoned in path.parent.glob(f".{path.name}.*"):
        abandoned.unlink()
    with replacing(path) as file:
        url = f"sqlite:///{file.name}"
        optuna.storages.RDBStorage(url, skip_compatibility_check=True).engine.dispose()  # the tables are new


@contextmanager
def errors_naming_storage(folder: Path, url: str | None) -> Iterator[None]:
    """Raises ValueError with the storage and the reason if a trial cannot be read or written, as on a full disk."""
    try:
        yield
    except (StorageInternalError, SQLAlchemyError) as error:
        cause = error.__cause__ or error  # Optuna's own message does not say why
        raise ValueError(_message(folder, url, cause, _("repeat the command to continue"))) from error


def _message(folder: Path, url: str | None, error: BaseException, hint: str) -> str:
    place = str(_file(folder)) if url is None else f"--storage {re.sub('//[^@/]*@', '//...@', url)}"  # no password
    reason = str(error).partition("\n")[0] or type(error).__name__
    return f"{place}: {reason}; {hint}"


def _file(folder: Path) -> Path:
    return folder / "optuna.db"


def locked(folder: Path) -> filelock.BaseFileLock:
    """Locks a search folder, because only one process may resume its unfinished trials."""
    lock = filelock.FileLock(folder / ".lock", timeout=0)
    try:
        lock.acquire()
        return lock
    except filelock.Timeout:
        raise ValueError(
            _(
                "{folder} is in use by another process; to share its search, use another --out and the same --storage",
                folder=folder,
            )
        ) from None
