"""The page computes PyTorch's logits, for all networks of the catalogue below its limit.

`make logits` checks them all on 500 images, which takes too long for this suite.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from tests.exploring import zoo
from tests.exploring.browser import Browser

from convoy.evaluation.cost import flops_per_image
from convoy.exploring.page import write_page

FLOPS = 1e9  # of each network on all of its images: a third of a second in the browser


def test_logits_agree_with_pytorch_on_real_images(browser: Browser, tmp_path: Path) -> None:
    """On 6 (densenet_bc_100_12) to 500 (lenet and three others) test images of MNIST."""
    differences: dict[str, float] = {}
    for name, network in zoo.networks():
        images = min(500, int(FLOPS / flops_per_image(network, zoo.SHAPE)))
        content = zoo.content_of(name, network, zoo.test_images(images))
        browser.open(write_page(content, tmp_path / "page.html"))
        difference = browser.evaluate(f"convoy.largestDifference({images}, convoy.logitsHere)")
        differences[name] = difference / min(1, np.abs(content.runs[0].logits).max())

    assert len(differences) == 16
    assert max(differences.values()) < 1e-4, differences
