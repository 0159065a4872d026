"""The page in a real browser: outputs, drawing, explanations, no external resources."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw
from tests.conftest import Call
from tests.exploring import networks
from tests.exploring.browser import PAD, Browser

import convoy
from convoy.data.photo import find_ink
from convoy.exploring.content import Images
from convoy.exploring.page import write_page
from convoy.runs import Run

Stroke = list[tuple[float, float]]  # points on the pad, in fractions of its sides
ZERO: Stroke = [(0.5 + 0.2 * math.sin(angle / 8), 0.5 - 0.3 * math.cos(angle / 8)) for angle in range(0, 53, 4)]
ONE: Stroke = [(0.53, 0.2), (0.5, 0.4), (0.49, 0.6), (0.47, 0.8)]


def draw(browser: Browser, stroke: Stroke) -> None:
    browser.click("#clear")
    left, top, width, height = browser.evaluate(PAD)
    browser.drag([(left + width * x, top + height * y) for x, y in stroke])
    browser.wait("convoy.store.source.kind === 'drawing'")


def test_outputs_agree_with_pytorch_and_the_page_loads_nothing(browser: Browser, page: Path) -> None:
    browser.requests.clear()
    browser.open(page)

    assert browser.evaluate("convoy.largestDifference(20)") < 1e-4
    assert {address.partition(":")[0] for address in browser.requests} <= {"file", "about", "data", "blob"}


@pytest.mark.parametrize(("stroke", "digit"), [(ZERO, "0"), (ONE, "1")])
def test_a_drawn_digit_is_recognised(
    browser: Browser, page: Path, stroke: list[tuple[float, float]], digit: str
) -> None:
    browser.open(page)
    draw(browser, stroke)

    assert browser.text("#answer") == digit
    assert browser.count("#steps figure:not([hidden])") == 3

    picture, pixels = (
        np.array(browser.evaluate(f"[...convoy.store.{of}]")) for of in ("source.picture.grey", "pixels")
    )
    shown = np.array(browser.evaluate("[...document.getElementById('pad').getContext('2d').getImageData(0, 0, 256, 256)"
                                      ".data.filter((_, i) => i % 4 === 3)]"))  # fmt: skip
    expected, _ink = find_ink(Image.fromarray(picture.reshape(256, 256).astype(np.uint8)))
    assert np.abs(pixels.reshape(28, 28) - expected).max() <= 3  # of 255 levels: as by `convoy predict`
    assert np.abs(shown - (255 - picture)).max() <= 1  # nothing of the stroke is missing


def test_the_arrow_keys_draw(browser: Browser, page: Path) -> None:
    browser.open(page)
    browser.click("#clear")
    browser.evaluate("document.getElementById('pad').focus()")
    for key in [*["ArrowUp"] * 6, " ", *["ArrowDown"] * 12]:
        browser.press(key)
    browser.wait("convoy.store.source.kind === 'drawing'")

    assert browser.text("#answer") == "1"


def picture_of(image: Image.Image) -> str:
    """The argument of readPicture."""
    grey = np.asarray(image.convert("L")).ravel().tolist()
    return json.dumps({"planes": [grey] * 3, "width": image.width, "height": image.height})


def test_a_picture_is_converted_as_by_predict(browser: Browser, page: Path) -> None:
    image = Image.new("L", (300, 220), 250)
    ImageDraw.Draw(image).line([(90, 40), (200, 50), (120, 190)], fill=20, width=18)
    expected, ink = find_ink(image.convert("RGB"))

    browser.open(page)
    browser.evaluate(f"convoy.readPicture({picture_of(image)})")
    pixels = np.array(browser.evaluate("[...convoy.store.pixels]")).reshape(28, 28)

    assert ink.characters == 1
    assert np.abs(pixels - expected).max() <= 3  # of 255 levels


def test_a_photo_is_converted_as_by_predict_and_the_camera_is_off_afterwards(
    browser: Browser, page: Path, photo: Image.Image
) -> None:
    browser.allow_camera("granted")
    browser.open(page)
    browser.click("#camera-on")
    browser.wait("!document.getElementById('viewfinder').hidden")
    browser.evaluate("void (window.track = document.getElementById('video').srcObject.getTracks()[0])")
    browser.click("#shoot")
    browser.wait("convoy.store.source.kind === 'file'")
    pixels = np.array(browser.evaluate("[...convoy.store.pixels]")).reshape(28, 28)

    assert browser.evaluate("window.track.readyState") == "ended"
    assert browser.evaluate("document.getElementById('viewfinder').hidden")
    assert browser.count("#steps figure:not([hidden])") == 3
    assert np.abs(pixels - find_ink(photo.convert("RGB"))[0]).max() <= 3  # of 255 levels


def test_a_camera_that_is_not_allowed_has_a_message(browser: Browser, page: Path) -> None:
    browser.allow_camera("denied")
    browser.open(page)
    browser.click("#camera-on")
    browser.wait("document.getElementById('pad-message').dataset.say")

    assert browser.attribute("#pad-message", "data-say") == "camera_denied"
    assert browser.evaluate("document.getElementById('viewfinder').hidden")


def test_a_picture_is_read_from_a_file(browser: Browser, page: Path, photo: Image.Image, tmp_path: Path) -> None:
    """For both inputs: files, and the camera of a phone."""
    path = tmp_path / "photo.jpg"
    photo.convert("RGB").save(path)
    browser.open(page)
    for name in ("file", "camera"):
        browser.click("#filmstrip button")
        browser.wait("convoy.store.source.kind === 'scored'")
        document = browser.send("DOM.getDocument")["root"]["nodeId"]
        node = browser.send("DOM.querySelector", nodeId=document, selector=f"#{name}")["nodeId"]
        browser.send("DOM.setFileInputFiles", nodeId=node, files=[str(path)])
        browser.wait("convoy.store.source.kind === 'file'")

        ink = browser.evaluate("convoy.store.source.picture.ink")
        assert ink["characters"] == 1
    assert browser.attribute("#camera", "capture") == "environment"


def test_a_picture_of_16_bits_per_channel_is_refused(browser: Browser, page: Path, tmp_path: Path) -> None:
    Image.fromarray(np.full((28, 28), 4095, np.uint16)).save(path := tmp_path / "scan.png")
    browser.open(page)
    before = browser.evaluate("convoy.store.source.kind")
    document = browser.send("DOM.getDocument")["root"]["nodeId"]
    node = browser.send("DOM.querySelector", nodeId=document, selector="#file")["nodeId"]
    browser.send("DOM.setFileInputFiles", nodeId=node, files=[str(path)])
    browser.wait("document.getElementById('pad-message').dataset.say === 'sixteen_bits'")
    assert browser.evaluate("convoy.store.source.kind") == before


def test_the_products_of_a_pixel_add_up_to_it(browser: Browser, page: Path) -> None:
    """The first convolution at a pixel: the shown products and the bias give the value of the map."""
    browser.open(page, "#layer=0&map=2&at=12,13")
    browser.wait("document.querySelectorAll('#explanation .grid').length === 3")
    shown = browser.evaluate("[...document.querySelectorAll('#explanation .grid')].map(grid => "
                             "[...grid.querySelectorAll('td')].map(cell => cell.textContent))")  # fmt: skip
    inputs, kernel, products = (np.array([number(text) for text in grid]) for grid in shown)
    bias, total = (number(text) for text in re.findall(r"^bias (\S+) .* = (\S+)$", browser.text(".formula"))[0])
    value = browser.evaluate("convoy.store.values[1].data[(2 * 24 + 12) * 24 + 13]")

    assert len(inputs) == 25
    assert products == pytest.approx(inputs * kernel, abs=0.03)
    assert products.sum() + bias == pytest.approx(value, abs=0.1)
    assert total == pytest.approx(value, abs=0.006)


def number(text: str) -> float:
    return float(text.replace("−", "-"))


def test_a_cell_of_the_confusion_matrix_puts_its_image_on_the_pad(
    browser: Browser, page: Path, digits_run: Run
) -> None:
    browser.open(page)
    browser.click("#matrix button")
    browser.click("#cell-images button.image")
    label, predicted = (number(text) for text in re.findall(r"× (\d) .* (\d)$", browser.text("#cell-images h3"))[0])

    confusion = np.array(digits_run.scores["test"].confusion)
    assert confusion[int(label), int(predicted)] > 0
    assert browser.text("#answer") == f"{predicted:.0f}"
    chosen = browser.evaluate("convoy.store.source.index")
    assert browser.evaluate("convoy.store.page.scored.labels")[chosen] == label


def test_the_slider_of_epochs_shows_initial_and_last_weights(browser: Browser, page: Path) -> None:
    browser.open(page)
    by_epoch = browser.evaluate("""(() => {
        const { store, logitsFor } = convoy;
        const run = store.page.runs[0];
        return run.epochs.map((_, epoch) => [...logitsFor(store.pixels, run, epoch)]);
    })()""")
    best = browser.evaluate("[...convoy.store.values.at(-1).data]")

    assert len(by_epoch) == 4
    assert np.ptp(by_epoch[0]) < np.ptp(by_epoch[3])
    assert any(np.allclose(best, logits, atol=1e-3) for logits in by_epoch[2:])


@pytest.mark.parametrize(("width", "dark"), [(320, False), (390, True), (1280, False), (2560, True)])
def test_nothing_is_wider_than_the_window(browser: Browser, page: Path, width: int, dark: bool) -> None:
    browser.resize(width, dark=dark)
    browser.open(page)

    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    browser.resize(1280)


def test_every_control_has_a_name(browser: Browser, page: Path) -> None:
    browser.open(page)
    nameless = browser.evaluate("""[...document.querySelectorAll("button, input, select, [tabindex='0'], [role=img]")]
        .filter((each) => !(each.getAttribute("aria-label") || each.textContent.trim() || each.labels?.length))
        .map((each) => each.outerHTML.slice(0, 120))""")

    assert nameless == []


def test_a_page_of_lenet_has_at_most_600_kb_and_no_urls(
    digits_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("convoy.exploring.run._epochs", lambda *of: ())

    text = convoy.explore(digits_run, save=tmp_path / "page.html").read_text(encoding="utf-8")

    assert len(text) < 600_000
    assert "http" not in text.replace("http-equiv", "").replace("http://www.w3.org/2000/svg", "")


@pytest.mark.usefixtures("words_alone")
def test_the_command_prints_the_page_and_the_report_links_to_it(call: Call, digits_run: Run) -> None:
    code, out, err = call("explore", digits_run.path, "--json")
    assert code == 0, err
    result = json.loads(out)

    assert Path(result["page"]) == digits_run.path / "explore.html"
    assert result["bytes"] == Path(result["page"]).stat().st_size
    assert 'href="explore.html"' in convoy.report(digits_run).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def networks_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two networks on 20 images, with initial weights and running statistics of noise."""
    pixels = np.random.default_rng(0).integers(0, 256, (20, *networks.SHAPE), dtype=np.uint8)
    scored = Images(pixels, np.arange(20) % 10)
    runs = tuple(networks.content_of(network, name, scored) for name, network in networks.build().items())
    assert max(np.ptp(run.logits) for run in runs) > 0.5
    return write_page(networks.page_content(runs, scored), tmp_path_factory.mktemp("networks") / "page.html")


def test_outputs_of_colour_images_agree_with_pytorch(browser: Browser, networks_page: Path) -> None:
    browser.open(networks_page)

    assert browser.evaluate("convoy.largestDifference(20)") < 1e-5


def test_a_large_network_runs_in_a_worker_and_the_newest_picture_wins(browser: Browser, networks_page: Path) -> None:
    browser.requests.clear()
    browser.open(networks_page)  # its first network is cifar_resnet20
    clicked = browser.evaluate("""(() => {
        const { store } = convoy;
        document.getElementById("which").value = "all";
        document.getElementById("which").dispatchEvent(new Event("change"));
        const buttons = [...document.querySelectorAll("#filmstrip button")].slice(3, 8);
        buttons.forEach((button) => button.click());
        return [store.source.index, Number(buttons.at(-1).dataset.index)];
    })()""")
    browser.wait(f"convoy.store.source.index === {clicked[1]}")
    difference = browser.evaluate("""(() => {
        const { store, logitsHere } = convoy;
        const logits = logitsHere(store.pixels, store.page.runs[0]);
        return Math.max(...logits.map((value, k) => Math.abs(value - store.values.at(-1).data[k])));
    })()""")

    assert clicked[0] != clicked[1]  # the clicks do not wait for a pass
    assert difference == 0
    assert any(address.startswith("blob:") for address in browser.requests)


def test_a_class_name_that_is_not_valid_unicode_is_escaped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("convoy.exploring.page.html", lambda content: f"class {content}")
    page = write_page("\udcff", tmp_path / "explore.html")  # type: ignore[arg-type]
    assert page.read_text() == r"class \udcff"
