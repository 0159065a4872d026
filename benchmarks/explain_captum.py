"""Compares Grad-CAM and integrated gradients of `convoy explain` with those of captum, for several models.

    python -m benchmarks.explain_captum [MODEL ...]     needs captum and its torch: see benchmarks/README.md

Both explain the same network for the same images and classes: initial weights, batch-norm statistics of 64 random
images, in float64. captum's Grad-CAM uses the same layer, its integrated gradients the same number of Gauss-Legendre
points from the same baseline. Prints a line per model: the layer; the largest absolute difference of the Grad-CAM maps
and of the attributions, each with the largest value; the largest completeness error of each side.
"""

from __future__ import annotations

import argparse

import captum
import torch
from captum.attr import IntegratedGradients, LayerGradCam

from convoy import models
from convoy.explaining.attribution import grad_cam, integrated_gradients
from convoy.explaining.layers import cam_layer, layers_of
from convoy.models import MODELS

DEFAULT = (
    "lenet", "two_conv_cnn", "fast_mnist_cnn", "basic_cnn", "cifar_resnet20", "mobilenet_v2", "squeezenet1_1",
    "convnext_atto", "vgg11_bn", "vit_tiny",
)  # fmt: skip
IMAGES, STEPS, CLASSES, LARGEST = 4, 16, 10, 32


def compare(name: str) -> str:
    torch.manual_seed(0)
    in_chans, _, size = MODELS[name].counted_at
    size = min(size, LARGEST)
    network = models.create(name, in_chans=in_chans, num_classes=CLASSES, image_size=size).double()
    with torch.no_grad():
        network.train()(torch.randn(64, in_chans, size, size).double())
    network.eval()
    x = torch.randn(IMAGES, in_chans, size, size).double()
    classes, baseline = torch.arange(IMAGES) % CLASSES, torch.full((in_chans, 1, 1), -0.5).double()
    layer = cam_layer(layers_of(network.float(), (in_chans, size, size)))
    network.double()
    assert layer is not None
    module = network.get_submodule(layer.place.name)

    own_map = grad_cam(network, x, classes, layer.place)
    their_map = LayerGradCam(network, module).attribute(x, classes, relu_attributions=True)[:, 0].detach()
    own = integrated_gradients(network, x, classes, baseline, STEPS)
    theirs, their_error = IntegratedGradients(network).attribute(
        x,
        baseline.expand_as(x),
        classes,
        n_steps=STEPS,
        method="gausslegendre",
        internal_batch_size=16,
        return_convergence_delta=True,
    )
    columns = (
        f"{name:20} {layer.label:15}",
        f"{(own_map - their_map).abs().max():.1e} of {their_map.max():.3g}",
        f"{(own.attributions - theirs).abs().max():.1e} of {theirs.abs().max():.3g}",
        f"{own.error.abs().max():.1e} and {their_error.abs().max():.1e}",
    )
    return "   ".join(columns)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("models", nargs="*", default=DEFAULT)
    print(f"captum {captum.__version__}, torch {torch.__version__}, {IMAGES} random images, {STEPS} points, float64")
    print("model                layer             Grad-CAM: difference   integrated gradients   completeness errors")
    for name in parser.parse_args().models:
        print(compare(name), flush=True)


if __name__ == "__main__":
    main()
