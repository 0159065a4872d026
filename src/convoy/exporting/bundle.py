"""A zip file to hand in or publish: weights, recipe, environment, scores, report, and the network as plain PyTorch.

network.py needs torch and numpy, and Pillow for image files and other sizes. The definition of a network of the
catalogue is copied into it; a user's network is imported from its own files.
"""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from functools import partial
from html import escape
from io import BytesIO
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

import numpy as np
import torch

from convoy.archive import folders_in, without_folders
from convoy.evaluation.load import geometry_of, network_of, trusted_code
from convoy.evaluation.loaded import reads_photographs
from convoy.exporting import parity, weights
from convoy.exporting.content import Contents, Settings
from convoy.exporting.flatten import FlatModule
from convoy.files import file_name, read_json
from convoy.models import MODELS, user
from convoy.registry import is_external, is_user_class
from convoy.reporting import pages, render
from convoy.runs import Run
from convoy.text import gettext as _

# files of the run folder, copied without local paths
_COPIED = ("recipe.toml", "environment.json", "data.json", "scores.json")
_USER_CODE = "source"  # folder of a user's network
_PILLOW = """
try:
    {statement}
except ImportError:  # arrays of the network's own size need no Pillow

    class _Missing:
        def __getattr__(self, name):
            raise ImportError("image files, and images of another size, need Pillow: pip install pillow")

    {names} = _Missing()
"""
_ALONE = """
import sys
from importlib.abc import MetaPathFinder

class ImportBlocker(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "convoy":
            raise ImportError(name + " is not part of the bundle")

sys.meta_path.insert(0, ImportBlocker())
folder, threads = sys.argv[1:]
sys.path.insert(0, folder)
import network, numpy, torch

torch.set_num_threads(int(threads))
images = numpy.load(folder + "/images.npy")
with torch.inference_mode():
    model = network.load()
    parts = [model(network.preprocess(images[start : start + 1000])) for start in range(0, len(images), 1000)]
numpy.save(folder + "/logits.npy", torch.cat(parts).numpy())
"""


def contents(run: Run, settings: Settings) -> Contents:
    """Raises ValueError for a network of another library, and if network.py does not run on its own."""
    if is_external(name := run.recipe.model.name):
        raise ValueError(_("--to bundle: {name} is defined in another library; use --to onnx or --to pt2", name=name))
    network = network_of(run, trust_code=settings.trust_code)
    files = {"network.py": network_py(run, settings).encode(), "weights.pth": weights.pth(run, settings).files[0]}
    if is_user_class(name):
        code = trusted_code(run, trust_code=settings.trust_code)[1]
        files |= {f"{_USER_CODE}/{path}": content for path, content in code.files.items()}
    copied = {name: run.file(name).read_text("utf-8") for name in _COPIED if (run.path / name).is_file()}
    files |= {name: without_folders(text).encode() for name, text in copied.items()}
    if run.finished:
        with TemporaryDirectory() as folder:
            page = render.write(pages.run_page(run, run.path), Path(folder)).read_text("utf-8")
            files["report.html"] = _without_paths(page, run).encode()
    files["README.md"] = _readme(run, files).encode()
    with TemporaryDirectory() as folder:
        for path, content in files.items():
            (target := Path(folder, path)).parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        same = parity.check(run, network, partial(_logits_alone, Path(folder)), batch=parity.IMAGES)
    return Contents([_zipped(run, files)], same)


def _without_paths(page: str, run: Run) -> str:
    """Replaces the absolute paths of the run's files in the page by their last parts."""
    texts = [str(read_json(path)) for path in sorted(run.path.glob("*.json"))]
    paths = folders_in(" ".join([run.recipe.to_toml(), *texts]))
    for path in sorted(paths, key=len, reverse=True):
        page = page.replace(escape(path), escape(paths[path]))
    return page


def _logits_alone(folder: Path, images: np.ndarray) -> np.ndarray:
    """Returns the logits of network.py, run in a process that cannot import this package."""
    np.save(folder / "images.npy", images.transpose(0, 2, 3, 1))
    command = [sys.executable, "-c", _ALONE, str(folder), str(torch.get_num_threads())]
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        error = (done.stderr.strip().splitlines() or [_("no message")])[-1]
        raise ValueError(_("--to bundle: the network does not run without Convoy: {error}", error=error))
    logits: np.ndarray = np.load(folder / "logits.npy")
    return logits


def _zipped(run: Run, files: dict[str, bytes]) -> bytes:
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, content in files.items():
            # Without a date: zip files have no dates before 1980, and the same run gives the same file.
            entry = zipfile.ZipInfo(f"{run.name}/{path}")
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, content, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


# ---- network.py ----


def network_py(run: Run, settings: Settings) -> str:
    data, name = run.data, run.recipe.model.name
    roots = [(f"{__package__}.predictor", each) for each in ("load", "preprocess", "predict", "main")]
    if is_user_class(name):
        title, imported, build = _user_network(run, settings)
    else:
        entry = MODELS[name]
        title, imported = sys.modules[entry.factory.__module__].__doc__ or "", ""
        roots.insert(0, (entry.factory.__module__, entry.factory.__name__))
        roots.insert(0, ("convoy.models.entry", "Geometry"))
        options = "".join(
            f"        {key}={value!r},\n" for key, value in (entry.options | run.recipe.model.options).items()
        )
        build = f"    return {entry.factory.__name__}(\n        {geometry_of(run.data)!r},\n{options}    )"
    to_pixels = ("convoy.data.pixels", "as_pixels")
    if reads_photographs(data):
        to_pixels = ("convoy.data.photo", "character_pixels")
    flat = FlatModule(
        [*roots, to_pixels], without=("CLASSES", "IN_CHANS", "IMAGE_SIZE", "MEAN", "STD", "build", "to_pixels")
    )
    return "\n".join(
        [
            f'"""{run.label}, trained on {file_name(data.name)}: the network and its predictions, without Convoy.',
            "",
            "    python network.py image.png",
            "",
            f'{title.strip()}\n"""',
            "",
            "from __future__ import annotations",
            "",
            _with_optional_pillow(flat.imports),
            "",
            f"CLASSES = {tuple(data.classes)!r}",
            f"IN_CHANS, IMAGE_SIZE = {data.in_chans}, {data.image_size}",
            f"MEAN, STD = {tuple(data.mean)!r}, {tuple(data.std)!r}  # of pixels in 0..1, by channel",
            imported,
            "",
            flat.body,
            "",
            f"to_pixels = {to_pixels[1]}",
            "",
            "",
            "def build() -> nn.Module:",
            '    """The network with initial weights."""',
            build,
            "",
            "",
            'if __name__ == "__main__":',
            "    main()",
            "",
        ]
    )


def _user_network(run: Run, settings: Settings) -> tuple[str, str, str]:
    """Returns a sentence about the network, its import, and the body of the function that builds it."""
    spec, code = trusted_code(run, trust_code=settings.trust_code)
    file, _colon, name = PurePosixPath(Path(spec).name).as_posix().rpartition(":")
    factory = user.load_factory(spec, code)
    arguments = user.arguments(spec, factory, geometry_of(run.data), run.recipe.model.options)
    imported = (
        f'\nsys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).with_name("{_USER_CODE}"))]\n'
        f"from {_USER_CODE}.{file.removesuffix('.py')} import {name}  # noqa: E402"
    )
    values = "".join(f"        {key}={value!r},\n" for key, value in arguments.items())
    return f"The network is in {_USER_CODE}/{file}.", imported, f"    return {name}(\n{values}    )"


def _with_optional_pillow(imports: str) -> str:
    lines = imports.splitlines()
    pillow = next(line for line in lines if line.startswith("from PIL "))
    names = pillow.partition(" import ")[2].replace(", ", " = ")
    return (
        "\n".join(line for line in lines if line != pillow)
        + "\n"
        + _PILLOW.format(statement=pillow, names=names).rstrip()
    )


# ---- README.md ----


def _readme(run: Run, files: dict[str, bytes]) -> str:
    described = {
        "network.py": _("the network and `predict`; needs torch and numpy, and Pillow for image files"),
        "weights.pth": _("the weights, read with `torch.load(..., weights_only=True)`"),
        "recipe.toml": _("the complete description of the training"),
        "environment.json": _("versions, processor, command and date of the training"),
        "data.json": _("classes, counts, hashes and normalisation of the data"),
        "scores.json": _("accuracy and other scores by part of the data"),
        "report.html": _("the report: curves, errors, setup"),
    }
    listed = "".join(f"| {name} | {text} |\n" for name, text in described.items() if name in files)
    return _(
        """# {model}, trained on {data}

```console
$ python network.py image.png
```

```python
import network

network.predict("image.png")  # [(class, probability)]
network.predict(images)       # uint8 arrays [H, W], [H, W, C], [N, H, W] or [N, H, W, C]; also Pillow images, or a list
model = network.load()        # the torch.nn.Module
model(network.preprocess(images))  # logits
```

Images are resized to {size} x {size} pixels (shorter side, then the centre) and normalised. Arrays of that size with
C = {channels} need no Pillow.{characters}

| file | content |
|---|---|
{files}
Made by Convoy. With Convoy installed, `convoy train recipe.toml` repeats the training.
""",
        model=run.label,
        data=run.data.name,
        size=run.data.image_size,
        channels=run.data.in_chans,
        characters=_characters(run),
        files=listed,
    )


def _characters(run: Run) -> str:
    if not reads_photographs(run.data):
        return ""
    return " " + _(
        "Photographs of one handwritten character are converted: inverted if the ink is dark, scaled and centred as in "
        "MNIST."
    )
