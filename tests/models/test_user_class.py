"""A user's own file: supported forms, and the error of each failure."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

import convoy
from convoy.checkpoint import load_weights
from convoy.events import Control
from convoy.models import create, default_options
from convoy.models.user import load_factory, only_factory, source_files
from convoy.recipe import Recipe
from convoy.runs import Run
from convoy.training.run.plan import plan_one
from convoy.training.run.run_one import run_one

NET = """\
from torch import nn

class MyNet(nn.Module):
    def __init__(self, num_classes, image_size, width=8):
        super().__init__()
        self.head = nn.Linear(image_size * image_size, num_classes)
        self.width = width

    def forward(self, x):
        return self.head(x.flatten(1))
"""

FACTORY = """\
from torch import nn

def make_net(num_classes, image_size, width=8):
    return nn.Sequential(nn.Flatten(), nn.Linear(image_size * image_size, num_classes), nn.Hardtanh(-width, width))
"""

NO_INIT = """\
from torch import nn

class MyNet(nn.Module):
    def forward(self, x):
        return x.flatten(1)[:, :5]
"""
ON_IMAGES = r"MyNet\.forward on images of \[2, 1, 8, 8\]: "

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(text: str = NET, name: str = "net.py") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    return write


def build(path: Path, name: str = "MyNet", **options: int) -> torch.nn.Module:
    return create(f"{path}:{name}", in_chans=1, num_classes=5, image_size=8, options=options)


# ---- what works ----


def test_class_gets_the_arguments_in_its_signature(write: Write) -> None:
    module = build(write(), width=16)
    assert module.head.weight.shape == (5, 64)
    assert module.width == 16
    assert module.flaws == ()
    assert module.training


def test_class_with_kwargs_gets_everything(write: Write) -> None:
    path = write(
        NET.replace("num_classes, image_size, width=8", "num_classes, image_size, **rest").replace("= width", "= rest")
    )
    assert build(path, depth=3).width == {"in_chans": 1, "depth": 3}


def test_lazy_layers_are_initialised(write: Write) -> None:
    module = build(write(NET.replace("nn.Linear(image_size * image_size, num_classes)", "nn.LazyLinear(num_classes)")))
    assert module.head.weight.shape == (5, 64)


def test_the_output_check_does_not_change_the_generator(write: Write) -> None:
    path = write(NET.replace("return self.head(", "return nn.functional.dropout(self.head(").replace("(1))", "(1)))"))
    torch.manual_seed(1)
    build(path)
    after_create = torch.rand(1)
    torch.manual_seed(1)
    load_factory(f"{path}:MyNet")(5, 8)
    assert torch.equal(after_create, torch.rand(1))


def test_symbolically_linked_module_is_local(write: Write) -> None:
    elsewhere = write("WIDTH = 3\n", "elsewhere/sizes.py")
    path = write("from sizes import WIDTH\n" + NET.replace("= width", "= WIDTH"), "here/net.v2.py")
    (path.parent / "sizes.py").symlink_to(elsewhere)
    assert build(path).width == 3
    assert source_files(f"{path}:MyNet") == [path, path.parent / "sizes.py"]
    assert "sizes" not in sys.modules


def test_options_are_read_from_the_signature(write: Write) -> None:
    assert default_options(f"{write()}:MyNet") == {"width": 8}


def test_dataclass_and_relative_import_work(write: Write) -> None:
    write("WIDTH = 3\n", "parts/sizes.py")
    text = "from __future__ import annotations\nfrom dataclasses import dataclass\nfrom .parts.sizes import WIDTH\n"
    path = write(text + "@dataclass\nclass Spec:\n    width: int = WIDTH\n" + NET.replace("= width", "= Spec().width"))
    assert build(path).width == 3


@pytest.mark.parametrize("layers", ["layers", ".layers"])
def test_edited_file_and_edited_local_module_take_effect(write: Write, layers: str) -> None:
    write("WIDTH = 3\n", "layers.py")
    path = write(f"from {layers} import WIDTH\n" + NET.replace("= width", "= WIDTH"))
    assert build(path).width == 3
    write("WIDTH = 4\n", "layers.py")
    assert build(path).width == 4
    write("WIDTH = 5\n" + NET.replace("= width", "= WIDTH"))
    assert build(path).width == 5


def test_a_new_local_module_is_found_also_if_the_folder_has_the_same_time(write: Write) -> None:
    write("", "sizes.py")
    path = write("import sizes\n" + NET)
    build(path)
    times = path.parent.stat().st_atime_ns, path.parent.stat().st_mtime_ns
    write("WIDTH = 3\n", "layers.py")
    write("import sizes\nfrom layers import WIDTH\n" + NET.replace("= width", "= WIDTH"))
    os.utime(path.parent, ns=times)
    assert build(path).width == 3


def test_modules_of_the_same_name_in_two_folders_are_separate(write: Write) -> None:
    paths = []
    for folder, width in (("a", 3), ("b", 4)):
        write(f"WIDTH = {width}\n", f"{folder}/layers.py")
        paths.append(write("from layers import WIDTH\n" + NET.replace("= width", "= WIDTH"), f"{folder}/net.py"))
    assert [build(path).width for path in paths] == [3, 4]
    assert [build(path).width for path in paths] == [3, 4]


def test_loading_restores_path_and_modules(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    write("WIDTH = 3\n", "layers.py")
    path = write("from layers import WIDTH\n" + NET)
    mine = type(sys)("layers")
    monkeypatch.setitem(sys.modules, "layers", mine)
    mine.__file__ = str(path.parent.parent / "elsewhere" / "layers.py")
    before = list(sys.path)
    build(path)
    assert sys.path == before
    assert sys.modules["layers"] is mine
    assert not (path.parent / "__pycache__").exists()


def test_source_files_are_the_file_and_its_local_imports(write: Write) -> None:
    write("", "blocks/__init__.py")
    write("from . import norms\nfrom ..activations import Swish\n", "blocks/residual.py")
    write("", "blocks/norms.py")
    write("import net\n", "activations.py")
    write("", "unrelated.py")
    write("import extra\n", "extra/inner.py")
    path = write("import os, torch\nimport blocks.residual\nfrom extra import inner\n" + NET)
    names = [file.relative_to(path.parent).as_posix() for file in source_files(f"{path}:MyNet")]
    assert names == [
        "net.py",
        "activations.py",
        "blocks/__init__.py",
        "blocks/norms.py",
        "blocks/residual.py",
        "extra/inner.py",
    ]


def test_file_with_one_network_needs_no_name(write: Write) -> None:
    private = "class _Block(nn.Module): pass\n"
    helpers = "from torch.nn import Linear\ndef helper(): pass\nOther = MyNet\n"
    assert only_factory(str(path := write())) == f"{path}:MyNet"
    assert only_factory(str(path := write(NET + private + helpers.replace("Other = MyNet\n", "")))) == f"{path}:MyNet"
    assert only_factory(str(path := write(FACTORY + private))) == f"{path}:make_net"
    assert only_factory(str(path := write(FACTORY + "def _helper(): pass\ndef main(): pass\n"))) == f"{path}:make_net"


def test_function_that_returns_a_network_can_replace_a_class(write: Write) -> None:
    path = write(NET + FACTORY)
    assert default_options(f"{path}:make_net") == {"width": 8}
    torch.manual_seed(1)
    first = build(path)
    torch.manual_seed(1)
    second = build(path, "make_net", width=16)
    assert torch.equal(first.head.weight, second[1].weight)
    assert second[2].max_val == 16


@pytest.mark.usefixtures("words_alone")
def test_run_of_a_function_equals_the_run_of_the_class_and_resumes(tiny: Callable[..., Recipe], net: Path) -> None:
    net.write_text(net.read_text() + "\ndef make(in_chans, num_classes, image_size):\n    return nn.Sequential(")
    net.write_text(net.read_text() + "Tiny(in_chans, num_classes, image_size))\n")
    out = net.parent
    *_, end = run_one(tiny(), out)
    by_class = Run(end.run)
    recipe = tiny(("model.name", f"{net}:make"))
    *_, end = run_one(recipe, out, control=lambda: Control.PAUSE)
    paused = Run(end.run)
    assert not paused.finished
    *_, end = run_one(recipe, out)
    run = Run(end.run)
    assert run.path == paused.path != by_class.path
    assert run.scores == by_class.scores
    weights = load_weights(run.path / "best.safetensors")
    for name, tensor in load_weights(by_class.path / "best.safetensors").items():
        assert torch.equal(weights[f"0.{name}"], tensor)
    assert convoy.test(run, show=False).score.accuracy == run.scores["test"].accuracy

    Image.new("L", (12, 12)).save(out / "black.png")
    assert convoy.predict(run, out / "black.png")[0].predicted in run.data.classes
    assert Path(convoy.report(run)).is_file()

    net.write_text(net.read_text() + "# edited\n")
    *_, end = run_one(recipe, out)
    assert Run(end.run).path != run.path


# ---- errors, one line with file and line ----


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="net.py' of model"):
        build(tmp_path / "net.py")


def test_class_name_missing(write: Write) -> None:
    with pytest.raises(ValueError, match="net.py:MyNet"):
        build(write(), "")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (NET + "class Broken(\n", ":11: SyntaxError: "),
        ("x = 1\0\n", ""),
        ("import torhc\n" + NET, ":1: ModuleNotFoundError: .*'torhc'"),
        ("import sys\nsys.exit('bye')\n", ":2: SystemExit: bye"),
        ("class Own(BaseException): pass\nraise Own('no')\n", ":2: Own: no"),
        ("class MyNet: pass\n", ": .* MyNet .* subclass of torch.nn.Module"),
        (NO_INIT, ":3: MyNet has no parameters to train"),
        (NET.replace("self.width = width", "raise OSError('two\\nlines')"), r":7: MyNet\.__init__: OSError: two$"),
        (NET.replace("width=8", "width"), r":4: MyNet\.__init__: TypeError: "),
        (NET.replace("flatten(1)", "flatten(0)"), rf":10: {ON_IMAGES}RuntimeError: "),
        (NET.replace("def forward", "def froward"), f":3: {ON_IMAGES}NotImplementedError"),
        (
            NET + "from convoy.models import user\nuser.load_factory(__file__ + ':MyNet')\n",
            ":12: ValueError: .*__main__",
        ),
    ],
)
def test_error_in_the_file_is_one_line_with_its_location(write: Write, text: str, message: str) -> None:
    path = write(text)
    with pytest.raises(ValueError, match=f"^{path}{message}") as caught:
        build(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", ": .* none$"),
        ("def main(): 1 / 0\n", ": .* none$"),
        ("net = 1\n", ": .* none$"),
        (NET + NET.replace("MyNet", "Other"), r": .*MyNet, Other; .*:Other$"),
        (FACTORY + FACTORY.replace("make_net", "make"), r": .*make_net, make; .*:make$"),
        ("class Broken(\n", ":1: SyntaxError: "),
    ],
)
def test_file_without_exactly_one_network_lists_them(write: Write, text: str, message: str) -> None:
    path = write(text)
    with pytest.raises(ValueError, match=f"^{path}{message}"):
        only_factory(str(path))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return [1]", ":3: .* got list$"),
        ("pass", ":3: .* got NoneType$"),
        ("1 / 0", ":4: make_net: ZeroDivisionError"),
        ("return nn.Sequential(nn.Flatten(), nn.Linear(64, 3))", r":3: Sequential\.forward: expected \[2, 5\]"),
        ("return nn.Sequential(nn.Flatten(), nn.Linear(7, 5))", r":3: Sequential\.forward on .*: RuntimeError"),
    ],
)
def test_function_that_returns_no_usable_network(write: Write, body: str, message: str) -> None:
    path = write(FACTORY.partition("    return")[0] + f"    {body}\n")
    with pytest.raises(ValueError, match=f"^{path}{message}") as caught:
        build(path, "make_net")
    assert "\n" not in str(caught.value)


def test_function_with_unknown_required_parameters(write: Write) -> None:
    path = write(FACTORY.replace("width=8", "width"))
    with pytest.raises(ValueError, match=f"^{path}:3: make_net: TypeError: .*'width'"):
        build(path, "make_net")


def test_error_in_a_local_module_names_that_module(write: Write) -> None:
    layers = write("\n1 / 0\n", "layers.py")
    with pytest.raises(ValueError, match=f"^{layers}:2: ZeroDivisionError"):
        build(write("import layers\n" + NET))


def test_error_for_a_missing_class_names_a_close_one(write: Write) -> None:
    path = write()
    with pytest.raises(ValueError, match=f"^unknown class or function 'MyNett' in {path}; did you mean 'MyNet'"):
        build(path, "MyNett")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"widht": 3}, r"unknown option 'widht' in model\.options of .*net\.py:MyNet; did you mean 'width'\?$"),
        ({"image_size": 3}, r"image_size in model\.options of .*net\.py:MyNet: .* the data"),
    ],
)
def test_invalid_option(write: Write, options: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(write(), **options)


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        ("self.head(x.flatten(1))[0]", r"expected \[2, 5\] .* got \[5\]"),
        ("self.head(x.flatten(1))[:, :3]", r"expected \[2, 5\] .* got \[2, 3\]"),
        ("self.head(x.flatten(1)).long()", r"expected floating point, got torch\.int64"),
        ("(x, x)", "expected a tensor of logits, got tuple"),
    ],
)
def test_error_for_an_invalid_output_names_forward(write: Write, returned: str, message: str) -> None:
    path = write(NET.replace("self.head(x.flatten(1))", returned))
    with pytest.raises(ValueError, match=rf"^{path}:9: MyNet\.forward: {message}$"):
        build(path)


# ---- networks that cannot be trained ----


@pytest.mark.parametrize(
    ("layer", "word"),
    [
        ("self.other = torch.ao.nn.quantized.dynamic.Linear(4, 4)", "quantized"),
        ("self.register_buffer('other', torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8))", "quantized"),
        ("self.table = nn.Embedding(256, num_classes, sparse=True)", "sparse"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_quantized_state_and_sparse_gradients_are_an_error_before_training(
    tiny: Callable[..., Recipe], write: Write, layer: str, word: str
) -> None:
    text = "import torch\n" + NET.replace("self.width = width", f"self.width = width\n        {layer}")
    if word == "sparse":
        text = text.replace("return self.head(", "return self.table((x[:, 0, 0, 0] > 0).long()) + self.head(")
    with pytest.raises(ValueError, match=word):
        plan_one(tiny(("model.name", f"{write(text)}:MyNet")))


def test_a_network_for_grey_images_only_gets_a_hint_on_colour_images(tmp_path: Path) -> None:
    source = (
        "from torch import nn\n\n\nclass Net(nn.Module):\n    def __init__(self, num_classes):\n"
        "        super().__init__()\n        self.layers = nn.Sequential(LAYERS)\n\n"
        "    def forward(self, x):\n        return self.layers(x)\n"
    )
    for layers, hint in (
        ("nn.Conv2d(1, 4, 3), nn.Flatten(), nn.LazyLinear(num_classes)", "take in_chans (here 3)"),
        ("nn.Flatten(), nn.Linear(64, num_classes)", "take in_chans (here 3) and image_size (here 8)"),
    ):
        (tmp_path / "net.py").write_text(source.replace("LAYERS", layers))
        with pytest.raises(ValueError, match=re.escape(hint)):
            create(f"{tmp_path / 'net.py'}:Net", in_chans=3, num_classes=2, image_size=8)
        create(f"{tmp_path / 'net.py'}:Net", in_chans=1, num_classes=2, image_size=8)
