"""The driver's side of a Dask worker: sends files to it and copies the run folder back."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from distributed import Client

from convoy.data import cache, sources
from convoy.data.imageset import DataSet
from convoy.files import write_bytes
from convoy.models import user
from convoy.recipe import Recipe
from convoy.registry import is_user_class
from convoy.run_files import sealed, sha256_of
from convoy.runs import Run
from convoy.studies import cluster_host as host
from convoy.studies.child import Data
from convoy.text import gettext as _

PIECE_BYTES = 16 << 20
MAX_DATA_BYTES = 2 << 30  # larger data are not sent
OWN_FILES = (".lock", "recipe.toml")  # files that stay on each host; a worker's recipe has the paths of its host


class WorkerLostError(Exception):
    """A worker does not answer."""


class Remote:
    """All methods raise WorkerLostError if the worker does not answer."""

    def __init__(self, client: Client, address: str, driver: str) -> None:
        self._client, self.address = client, address
        self.host: host.Host = self.call(host.describe)
        self.scratch: str = self.call(host.scratch, driver)
        self._copied: dict[str, host.Stat] = {}  # the run's files that were copied

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Calls a function of cluster_host in the worker, immediately, even if the worker has a task."""
        try:
            return self._client.run(function, *arguments, workers=[self.address], on_error="raise")[self.address]
        except (KeyError, OSError) as error:  # TimeoutError is an OSError
            raise WorkerLostError(_("{address} does not answer", address=self.address)) from error

    def folder_of(self, run: Run) -> str:
        return f"{self.scratch}/runs/{run.name}"

    # ---- to the worker ----

    def send_run(self, run: Run) -> None:
        """Replaces the worker's copy of the run folder. For a new run, the worker creates the folder."""
        self.call(host.remove, self.folder_of(run))
        self._copied = {}
        if not (run.path / "data.json").is_file():
            return
        for path in run.path.rglob("*"):
            if path.is_file() and path.name != ".lock":
                self.send(path, f"{self.folder_of(run)}/{path.relative_to(run.path).as_posix()}")

    def send_recipe(self, recipe: Recipe) -> Recipe:
        """Sends code and initial weights. Returns the recipe with their paths on the host."""
        model, paths = recipe.model, {}
        if is_user_class(model.name):
            files = user.source_files(model.name)
            digest = hashlib.sha256(b"\0".join(path.read_bytes() for path in files)).hexdigest()[:16]
            folder = f"{self.scratch}/code/{digest}"
            for path in files:
                self.send(path, f"{folder}/{path.relative_to(files[0].parent).as_posix()}")
            paths["name"] = f"{folder}/{files[0].name}:{recipe.label}"
        if model.init is not None:
            path = Path(model.init)
            weights = paths["init"] = f"{self.scratch}/init/{sha256_of(path)[:16]}{path.suffix}"
            self.send(path, weights)
        return recipe.model_copy(update={"model": model.model_copy(update=paths)})

    def send_data(self, recipe: Recipe) -> Data | None:
        """Sends data that are missing on the host. Returns their cache entry, or None for packaged data."""
        name = recipe.data.name
        if name in sources.DATA_SETS and sources.availability(name) == "packaged":
            return None
        dataset = sources.load(name, size=recipe.data.size)
        if (key := dataset.cache_key) is None:
            raise ValueError(
                _(
                    "data {name!r} cannot be sent to a cluster: {folder} is not writable",
                    name=name,
                    folder=cache.cache_folder(),
                )
            )
        if not self.call(host.has_data, key):
            self._send_entry(dataset, key)
        return Data(key=key, name=dataset.name, paths=dataset.paths)

    def _send_entry(self, dataset: DataSet, key: str) -> None:
        files = [path for path in cache.entry_of(key).iterdir() if path.is_file()]
        size_bytes = sum(path.stat().st_size for path in files)
        if size_bytes > MAX_DATA_BYTES:
            raise ValueError(
                _(
                    "{name} has {value:.1f} GiB, more than the {limit} GiB that are sent to a host: copy "
                    "{folder} to the same folder of the cache on {host}",
                    name=dataset.name,
                    value=size_bytes / 2**30,
                    limit=MAX_DATA_BYTES >> 30,
                    folder=cache.entry_of(key),
                    host=self.host.name,
                )
            )
        incoming = self.call(host.incoming_data, key)
        for path in files:
            self.send(path, f"{incoming}/{path.name}")
        if not self.call(host.accept_data, key, [path.name for path in files]):
            raise ValueError(
                _("{name}: the data could not be stored on {host}", name=dataset.name, host=self.host.name)
            )

    def send(self, path: Path, target: str) -> None:
        size_bytes = path.stat().st_size
        with path.open("rb") as file:
            for start in range(0, max(size_bytes, 1), PIECE_BYTES):
                self.call(host.write, target, start, file.read(PIECE_BYTES))

    # ---- from the worker ----

    def copy_run(self, run: Run) -> None:
        """Copies the changed files of the run, manifests of checkpoints last, and deletes files that no longer exist.

        Raises ValueError if they cannot be written here.
        """
        try:
            self._copy_run(run)
        except OSError as error:
            raise ValueError(
                _("{path}: cannot write the files of the run: {reason}", path=run.path, reason=error.strerror or error)
            ) from None

    def _copy_run(self, run: Run) -> None:
        folder = self.folder_of(run)
        files: dict[str, host.Stat]
        contents: dict[str, bytes]
        files, contents = self.call(host.changes, folder, self._copied, PIECE_BYTES)
        if "status.json" not in files:  # the run has not started
            return
        for name in sorted(files.keys() - OWN_FILES, key=lambda name: (name.endswith("manifest.json"), name)):
            if self._copied.get(name) == files[name]:
                continue
            if (content := contents.get(name) or self.read(f"{folder}/{name}")) is None:
                continue
            if name == "status.json":
                status = json.loads(content)
                status["files"] = {**status.get("files", {}), "recipe.toml": sha256_of(run.path / "recipe.toml")}
                content = (json.dumps(sealed(status), indent=1) + "\n").encode()
            (run.path / name).parent.mkdir(parents=True, exist_ok=True)
            write_bytes(run.path / name, content)
            self._copied[name] = files[name]
        for path in sorted(run.path.rglob("*"), reverse=True):  # files before their folders
            if path.is_dir() and not any(path.iterdir()):
                path.rmdir()
            elif path.is_file() and path.relative_to(run.path).as_posix() not in (*files, *OWN_FILES):
                path.unlink()

    def read(self, path: str) -> bytes | None:
        """Returns the content of a file; None if it does not exist."""
        pieces: list[bytes] = []
        while True:
            piece = self.call(host.read, path, len(pieces) * PIECE_BYTES, PIECE_BYTES)
            if piece is None:
                return None
            pieces.append(piece)
            if len(piece) < PIECE_BYTES:
                return b"".join(pieces)
