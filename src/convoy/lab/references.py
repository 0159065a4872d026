"""The references of a run or study: papers of networks and methods, sources of data."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from typing import NamedTuple

from convoy.data.catalogue import DATA_SETS
from convoy.models import MODELS, default_options
from convoy.recipe import Recipe


class Reference(NamedTuple):
    text: str
    url: str


# fmt: off
METHODS = {
    "nesterov": Reference('Sutskever, Martens, Dahl, Hinton, "On the Importance of Initialization and Momentum in Deep '
        'Learning", 2013.', "https://proceedings.mlr.press/v28/sutskever13.html"),
    "adam": Reference('Kingma, Ba, "Adam: A Method for Stochastic Optimization", 2014.',
        "https://arxiv.org/abs/1412.6980"),
    "adamw": Reference('Loshchilov, Hutter, "Decoupled Weight Decay Regularization", 2017.',
        "https://arxiv.org/abs/1711.05101"),
    "rmsprop": Reference('Tieleman, Hinton, "Lecture 6.5: RMSProp", Neural Networks for Machine Learning, 2012.',
        "https://www.cs.toronto.edu/~tijmen/csc321/slides/lecture_slides_lec6.pdf"),
    "cosine": Reference('Loshchilov, Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", 2016.',
        "https://arxiv.org/abs/1608.03983"),
    "one_cycle": Reference('Smith, Topin, "Super-Convergence: Very Fast Training of Neural Networks Using Large '
        'Learning Rates", 2018.', "https://arxiv.org/abs/1708.07120"),
    "range": Reference('Smith, "Cyclical Learning Rates for Training Neural Networks", 2017.',
        "https://arxiv.org/abs/1506.01186"),
    "warmup": Reference('Goyal et al., "Accurate, Large Minibatch SGD: Training ImageNet in 1 Hour", 2017.',
        "https://arxiv.org/abs/1706.02677"),
    "label_smoothing": Reference('Szegedy, Vanhoucke, Ioffe, Shlens, Wojna, "Rethinking the Inception Architecture for '
        'Computer Vision", 2015.', "https://arxiv.org/abs/1512.00567"),
    "clip": Reference('Pascanu, Mikolov, Bengio, "On the Difficulty of Training Recurrent Neural Networks", 2013.',
        "https://arxiv.org/abs/1211.5063"),
    "average": Reference('Polyak, Juditsky, "Acceleration of Stochastic Approximation by Averaging", 1992.',
        "https://doi.org/10.1137/0330046"),
    "cutout": Reference('DeVries, Taylor, "Improved Regularization of Convolutional Neural Networks with Cutout", '
        '2017.', "https://arxiv.org/abs/1708.04552"),
    "erase": Reference('Zhong, Zheng, Kang, Li, Yang, "Random Erasing Data Augmentation", 2020.',
        "https://arxiv.org/abs/1708.04896"),
    "mixup": Reference('Zhang, Cisse, Dauphin, Lopez-Paz, "mixup: Beyond Empirical Risk Minimization", 2018.',
        "https://arxiv.org/abs/1710.09412"),
    "cutmix": Reference('Yun, Han, Oh, Chun, Choe, Yoo, "CutMix: Regularization Strategy to Train Strong Classifiers '
        'with Localizable Features", 2019.', "https://arxiv.org/abs/1905.04899"),
    "rand_augment": Reference('Cubuk, Zoph, Shlens, Le, "RandAugment: Practical Automated Data Augmentation with a '
        'Reduced Search Space", 2020.', "https://arxiv.org/abs/1909.13719"),
    "trivial_augment": Reference('Müller, Hutter, "TrivialAugment: Tuning-free Yet State-of-the-Art Data '
        'Augmentation", 2021.', "https://arxiv.org/abs/2103.10158"),
    "crop": Reference('He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", 2015.',
        "https://arxiv.org/abs/1512.03385"),
    "wilson": Reference('Wilson, "Probable Inference, the Law of Succession, and Statistical Inference", Journal of '
        'the American Statistical Association 22, 1927.', "https://doi.org/10.1080/01621459.1927.10502953"),
    "t": Reference('Student, "The Probable Error of a Mean", Biometrika 6, 1908.',
        "https://doi.org/10.1093/biomet/6.1.1"),
    "holm": Reference('Holm, "A Simple Sequentially Rejective Multiple Test Procedure", Scandinavian Journal of '
        'Statistics 6, 1979.', "https://www.jstor.org/stable/4615733"),
    "mcnemar": Reference('McNemar, "Note on the Sampling Error of the Difference between Correlated Proportions or '
        'Percentages", Psychometrika 12, 1947.', "https://doi.org/10.1007/BF02295996"),
    "folds": Reference('Nadeau, Bengio, "Inference for the Generalization Error", Machine Learning 52, 2003.',
        "https://doi.org/10.1023/A:1024068626366"),
    "seeds": Reference('Bouthillier et al., "Accounting for Variance in Machine Learning Benchmarks", MLSys 2021.',
        "https://arxiv.org/abs/2103.03098"),
    "search": Reference('Akiba, Sano, Yanase, Ohta, Koyama, "Optuna: A Next-generation Hyperparameter Optimization '
        'Framework", 2019.', "https://arxiv.org/abs/1907.10902"),
    "landscape": Reference('Li, Xu, Taylor, Studer, Goldstein, "Visualizing the Loss Landscape of Neural Nets", 2018.',
        "https://arxiv.org/abs/1712.09913"),
    "pytorch": Reference('Paszke et al., "PyTorch: An Imperative Style, High-Performance Deep Learning Library", '
        '2019.', "https://arxiv.org/abs/1912.01703"),
    "timm": Reference("Wightman, PyTorch Image Models (timm), 2019.",
        "https://github.com/huggingface/pytorch-image-models"),
    "torchvision": Reference("TorchVision maintainers and contributors, TorchVision: PyTorch's Computer Vision "
        "library, 2016.", "https://github.com/pytorch/vision"),
}
# fmt: on
_PAPER = re.compile(r'(?:^|\s)(?P<label>[A-Z][\w ]*): (?P<paper>[^":]+, "[^"]+", \d{4})[^"]*?(?P<url>https?://[^\s)]+)')


class References:
    """The references of a report, numbered in the order in which its text cites them."""

    def __init__(self) -> None:
        self._numbers: dict[Reference, int] = {}

    def cite(self, *references: Reference) -> str:
        """Returns " [1, 2]", or nothing without references."""
        numbers = [self._numbers.setdefault(each, len(self._numbers) + 1) for each in dict.fromkeys(references)]
        return f" [{', '.join(map(str, numbers))}]" if numbers else ""

    def method(self, *names: str) -> str:
        return self.cite(*(METHODS[name] for name in names if name in METHODS))

    def __iter__(self) -> Iterator[tuple[int, Reference]]:
        return iter((number, reference) for reference, number in self._numbers.items())


def papers(recipe: Recipe) -> list[Reference]:
    """The papers of a recipe's network.

    For a registered model, they are the entries `Label: Authors, "Title", year. URL` in the docstring of its file. An
    entry with a label in capitals, such as SE, applies to networks that have this value as an option.
    """
    name = recipe.model.name
    library = name.partition(":")[0]
    if library in METHODS:
        return [METHODS[library]]
    if name not in MODELS:
        return []
    options = {str(value) for value in (default_options(name) | recipe.model.options).values()}
    text = " ".join((sys.modules[MODELS[name].factory.__module__].__doc__ or "").split())
    return [
        Reference(f"{paper}.", url.rstrip("."))
        for label, paper, url in _PAPER.findall(text)
        if not label.isupper() or label.lower() in options
    ]


def data_source(name: str) -> list[Reference]:
    return [Reference(f"{DATA_SETS[name].citation}.", DATA_SETS[name].homepage)] if name in DATA_SETS else []
