"""Opens pages of `convoy explore` in Chromium, Firefox and WebKit, uses their controls, and photographs digits.

    apt-get install firefox-esr webkit2gtk-driver xvfb
    python -m benchmarks.explore_browsers PAGE [PAGE ...] [--images 100] [--photos 2] [--pictures FOLDER]

The pages are opened from file://, in English. One line for each browser and page: the largest difference of a logit
from PyTorch's, what a drawn 0 is recognised as, and what differed from the expectation. Then, in Chromium, photographs
of PHOTOS test images per digit of MNIST, as dark ink on paper in uneven light, from a camera that plays a file.
"""

from __future__ import annotations

import argparse
import math
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from benchmarks.browsers import Firefox, WebDriver, WebKit
from PIL import Image, ImageFilter
from tests.exploring.browser import PAD, Browser, camera_options
from tests.fake_runs import mnist

from convoy.data.photo import find_ink

ZERO = [(0.5 + 0.2 * math.sin(angle / 8), 0.5 - 0.3 * math.cos(angle / 8)) for angle in range(0, 53, 2)]
CAMERA = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
SLIDE = """(async () => {
    const slider = document.getElementById("epoch");
    const before = document.getElementById("history-runs").innerHTML;
    slider.value = slider.value === "0" ? slider.max : 0;
    for (const name of ["input", "change"]) slider.dispatchEvent(new Event(name, { bubbles: true }));
    await new Promise((resolve) => setTimeout(resolve, 500)); // what is outside the window follows later
    return before !== document.getElementById("history-runs").innerHTML;
})()"""


def photograph(browser: Browser | WebDriver) -> bool:
    """Takes a photograph with the camera; returns whether the camera is off afterwards."""
    browser.click("#camera-on")
    browser.wait("!document.getElementById('viewfinder').hidden && document.getElementById('video').videoWidth")
    browser.evaluate("void (window.track = document.getElementById('video').srcObject.getTracks()[0])")
    browser.click("#shoot")
    # The built-in picture of WebKit's camera has nothing that looks like ink.
    browser.wait(
        "convoy.store.source.kind === 'file' || document.getElementById('pad-message').dataset.say === 'no_ink'"
    )
    return bool(browser.evaluate("window.track.readyState === 'ended' && !document.getElementById('video').srcObject"))


def use(browser: Browser | WebDriver, page: Path, images: int) -> str:
    """Uses the controls of a page and returns the line about it."""
    browser.open(page, "#lang=en")
    difference = browser.evaluate(f"convoy.largestDifference({images})")
    left, top, width, height = browser.evaluate(PAD)
    browser.click("#clear")
    browser.drag([(left + width * x, top + height * y) for x, y in ZERO])
    browser.wait("convoy.store.source.kind === 'drawing'")
    answer = f"{browser.text('#answer')} ({browser.text('#answer-share')})"
    browser.click("#matrix button")
    browser.click("#cell-images button.image")
    browser.wait("convoy.store.source.kind === 'scored'")
    title = browser.text("h1")
    browser.click("#languages button[lang='zh-CN']")
    checks = {
        "switch of language": browser.text("h1") != title,
        "slider of epochs": browser.evaluate("!document.getElementById('epoch')") or browser.evaluate(SLIDE),
        "secure context": browser.evaluate("isSecureContext"),
        "camera": photograph(browser),
    }
    failed = ", ".join(name for name, is_right in checks.items() if not is_right)
    return f"{difference:.1e} on {images} images, drawn 0: {answer}, failed: {failed or 'none'}"


def layout(browser: Browser | WebDriver, page: Path, width: int) -> str:
    """Returns the width of the window and of what is in it."""
    if isinstance(browser, Browser):
        browser.resize(width)
        browser.open(page)
    else:
        browser.open_in_frame(page, width, 900)
    return f"{browser.evaluate('document.documentElement.scrollWidth')} of {width}"


def on_paper(digit: np.ndarray, random: np.random.Generator, width: int = 640, height: int = 480) -> np.ndarray:
    """A digit of MNIST as dark ink on paper in uneven light, with noise: (480, 640) of uint8."""
    turned = Image.fromarray(digit).resize((260, 260), Image.Resampling.BICUBIC)
    turned = turned.rotate(random.uniform(-6, 6), Image.Resampling.BILINEAR)
    ink = Image.new("L", (width, height))
    ink.paste(turned, (int(random.integers(60, 300)), int(random.integers(20, 190))))
    y, x = np.mgrid[:height, :width] / np.array([height, width])[:, None, None]
    light = 205 - 70 * (x - random.uniform()) ** 2 - 50 * (y - random.uniform()) ** 2
    grey = light * (1 - 0.8 * np.asarray(ink) / 255) + random.normal(0, 4, (height, width))
    return np.asarray(Image.fromarray(grey.clip(0, 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(1)))


def photographs(page: Path, per_digit: int) -> str:
    pixels, labels = mnist("t10k")
    indices = [int(index) for digit in range(10) for index in np.flatnonzero(labels == digit)[:per_digit]]
    random, right, is_off, levels = np.random.default_rng(0), 0, 0, 0.0
    for index in indices:
        picture = on_paper(pixels[index, 0], random)
        with TemporaryDirectory() as folder:
            options = (*CAMERA[1:], *camera_options(picture, Path(folder)))
            with Browser(Path(folder, "profile"), *options) as browser:
                browser.open(page)
                is_off += photograph(browser)
                shown = np.array(browser.evaluate("[...convoy.store.pixels]")).reshape(28, 28)
                levels = max(levels, np.abs(shown - find_ink(Image.fromarray(picture).convert("RGB"))[0]).max())
                right += browser.text("#answer") == str(labels[index])
    count = len(indices)
    return (
        f"photographs: {right} of {count} recognised, camera off after {is_off}, pixels at most {levels:.0f} of 255 "
        "levels from those of `convoy predict`"
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("pages", nargs="+", type=Path)
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--photos", type=int, default=0, help="test images per digit")
    parser.add_argument("--pictures", type=Path, help="a folder for pictures of the pages, Firefox and WebKit")
    arguments = parser.parse_args()
    with TemporaryDirectory() as folder:
        for kind in (Browser, Firefox, WebKit):
            if not all(shutil.which(name) for name in getattr(kind, "executables", ())):
                print(f"{kind.__name__}: not installed")
                continue
            options = CAMERA if kind is Browser else ()
            with kind(Path(folder, kind.__name__), *options) as browser:
                print(browser.evaluate("navigator.userAgent"))
                for page in arguments.pages:
                    print(f"{page.stem:10s}{use(browser, page, arguments.images)}", end="", flush=True)
                    for width in (390, 1280):
                        print(f", {layout(browser, page, width)}", end="")
                        if arguments.pictures and isinstance(browser, WebDriver):
                            browser.screenshot(arguments.pictures / f"{kind.__name__}-{page.stem}-{width}.png")
                    print(" px", flush=True)
                if isinstance(browser, WebDriver):
                    print(f"errors of scripts: {browser.errors() or 'none'}")
        if arguments.photos:
            print(photographs(arguments.pages[0], arguments.photos))


if __name__ == "__main__":
    main()
