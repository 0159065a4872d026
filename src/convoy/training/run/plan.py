"""A plan: a recipe that passed all checks, with its data and its tested network. Planning writes no files."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn

from convoy import models
from convoy.checkpoint import load_into
from convoy.data import PreparedData, PreparedDataCache, prepare
from convoy.data.augment import build as build_augmentation
from convoy.data.batches import Batches, Normaliser
from convoy.data.imageset import ImageSet
from convoy.data.splits import Resplit
from convoy.diagnosing.checkup import quick_findings
from convoy.diagnosing.finding import Finding, Severity
from convoy.diagnosing.first_step import FirstStep, Gradient
from convoy.diagnosing.images import images_of
from convoy.diagnosing.network import Network, first_images
from convoy.evaluation import losses
from convoy.evaluation.load import build_network, with_normalisation
from convoy.models import Geometry, external, pretrained, user
from convoy.randomness import derive_seed
from convoy.recipe import Recipe, few_images, fingerprint
from convoy.recipe.faults import Fault, limited, selection
from convoy.recipe.sections import Plateau
from convoy.registry import is_external, is_user_class
from convoy.run_contents import PretrainedWeights
from convoy.text import gettext as _
from convoy.text.lists import joined
from convoy.training.machine.device import device_of, with_precision
from convoy.training.run import fault_checks, stopping
from convoy.training.run.initial import about_layer_decay, about_pretrained, init_and_freeze
from convoy.training.run.revisions import TRAINING_REVISION, revisions
from convoy.training.step.generators import seed_generators
from convoy.training.step.learner import Learner
from convoy.training.step.ranks import Ranks


@dataclass(frozen=True)
class Plan:
    recipe: Recipe
    prepared: PreparedData
    options: dict[str, Any]  # options of the model that differ from their defaults
    sources: tuple[Path, ...]  # a user's .py first, then the local modules that it imports
    class_weights: torch.Tensor | None  # float64 [classes], for the training loss
    network: nn.Module  # has its initial weights until `learner` trains it
    start_notes: tuple[str, ...]  # sentences about loaded and frozen weights
    weights: PretrainedWeights | None = None  # loaded by `with_pretrained`
    tested: FirstStep | None = None  # the first step of another instance of an external network

    @cached_property
    def fingerprint(self) -> str:
        parts = [source.read_bytes() for source in self.sources]
        parts += [" ".join(library).encode() for library in external.versions(self.recipe.model.name).items()]
        code = hashlib.sha256(b"\0".join(parts)).hexdigest()
        hashes = {"data": self.prepared.data_hash, "split": self.prepared.split_hash, "code": code}
        if (init := self.recipe.model.init) is not None:
            hashes |= {"init": hashlib.sha256(Path(init).read_bytes()).hexdigest()}
        return fingerprint(
            self.recipe,
            options=self.options,
            hashes=hashes,
            training_revision=TRAINING_REVISION,
            revisions=revisions(self.recipe, self.selection),
        )

    @property
    def selection(self) -> str | None:
        """The part on which the best epoch is selected."""
        return selection(self.recipe.protocol.faults, has_validation=self.prepared.validation is not None)

    @cached_property
    def resplit(self) -> Resplit | None:
        if Fault.RESPLIT_EVERY_EPOCH not in self.recipe.protocol.faults:
            return None
        assert self.prepared.validation is not None
        return Resplit(self.prepared.train, self.prepared.validation, self.recipe.data.split)

    def validation_in(self, epoch: int) -> ImageSet | None:
        """Returns the validation set of an epoch (from 1). It changes only with the fault resplit_every_epoch."""
        return self.prepared.validation if self.resplit is None else self.resplit.validation(epoch - 1)

    @cached_property
    def subject(self) -> Network:
        """The input of the doctor's network checks. Use it before `learner`, which trains `network`."""
        subject = subject_of(self.recipe, self.prepared, self.network)
        return replace(
            subject,
            tried=self.tested,
            learner=lambda: replace(self, network=subject.build()).learner(),
            may_skip=True,
        )

    @cached_property
    def findings(self) -> tuple[Finding, ...]:
        """The findings of the doctor's quick checks. Use it before `learner`, which trains `network`."""
        return quick_findings(self.subject, images_of(self.recipe, self.prepared))

    @property
    def channels_last(self) -> bool:
        """Whether a CPU trains the network in channels-last format, which is faster for the registered models."""
        return self.recipe.model.name in models.MODELS

    @cached_property
    def flags(self) -> list[str]:
        """Sentences that are shown in all output of this run."""
        flags = fault_checks.flags(self.recipe, self.prepared)
        flags += [_("published flaw: {flaw}", flaw=flaw) for flaw in getattr(self.network, "flaws", ())]
        flags += [finding.sentence for finding in self.findings if finding.severity is Severity.ERROR]
        if self.prepared.limit is not None:
            flags.insert(0, limited(self.prepared.limit))
        return flags

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes on the data and on the recipe values that were chosen for them."""
        return (*few_images.sentences(self.recipe), *self.prepared.notes)

    @property
    def device(self) -> torch.device:
        return device_of(self.recipe)

    @property
    def dtype(self) -> torch.dtype:
        return torch.float64 if self.recipe.compute.precision == "float64" else torch.float32  # bfloat16: by autocast

    @cached_property
    def normaliser(self) -> Normaliser:
        return Normaliser(self.prepared.mean, self.prepared.std, self.device, self.dtype)

    def learner(self, ranks: Ranks | None = None) -> Learner:
        """Returns the learner of `network`, on the recipe's device and with its precision."""
        module = self.network.to(self.device, self.dtype)
        if self.channels_last and self.device.type == "cpu":
            module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        weights = None if self.class_weights is None else self.class_weights.to(self.device, self.dtype)
        loss = losses.build(self.recipe.train.loss, weights, self.recipe.protocol.faults)
        autocast = self.recipe.compute.precision == "bfloat16"
        return Learner(module, self.recipe.optim, loss, self.recipe.train, autocast=autocast, ranks=ranks)

    def batches(self) -> Batches:
        return Batches(
            self.prepared.train if self.resplit is None else self.resplit,
            batch_size=self.recipe.train.batch_size,
            seed=self.recipe.seed,
            normaliser=self.normaliser,
            augmentation=build_augmentation(self.recipe.data.augment),
            sampling=self.recipe.data.sampling,
        )

    def with_pretrained(self) -> Plan:
        """Loads the pretrained weights into `network`. Raises ValueError if they cannot be loaded or do not fit."""
        model, prepared = self.recipe.model, self.prepared
        geometry = Geometry(prepared.in_chans, len(prepared.classes), prepared.image_size)
        with _seeded(self.recipe):
            sha256, layers = pretrained.load(self.network, model.name, geometry, model.options)
        weights = PretrainedWeights(pretrained.weights_info(model.name).source, sha256, layers)
        note = _("pretrained weights {source}, SHA-256 {hash} ...", source=weights.source, hash=sha256[:8])
        if layers:
            note = _("{weights}; random: {layers}", weights=note, layers=joined(layers))
        return replace(self, weights=weights, start_notes=(note, *self.start_notes))

    def network_with(self, weights: Path) -> nn.Module:
        """Returns the network with the weights of a file, in evaluation mode.

        This is `network` itself. An external network is built again, because it may have state that is not in the file.
        """
        module = self.network if is_built_in(self.recipe.model.name) else build(self.recipe, self.prepared)
        module.to(self.device, self.dtype)
        for parameter in module.parameters():  # training may have made them channels-last, where rounding differs
            parameter.data = torch.empty_like(parameter, memory_format=torch.contiguous_format)
        load_into(module, weights)
        return module.eval()


def is_built_in(model: str) -> bool:
    return not is_user_class(model) and not is_external(model)


def plan_one(recipe: Recipe, prepared: PreparedData | None = None) -> Plan:
    """Checks a recipe, loads its data and builds its network. Raises ValueError if it cannot be trained."""
    device_of(recipe)
    recipe = with_precision(recipe)
    build_augmentation(recipe.data.augment)
    prepared = with_normalisation(prepared or prepare(recipe.data), recipe)
    name = recipe.model.name
    defaults = models.default_options(name)
    options = {key: value for key, value in recipe.model.options.items() if value != defaults.get(key)}
    sources = tuple(user.source_files(name)) if is_user_class(name) else ()
    weights = losses.class_weights(recipe.train, prepared.train.class_counts)
    fault_checks.check(recipe, prepared)
    if selection(recipe.protocol.faults, has_validation=prepared.validation is not None) is None:
        keys = [f"stop.{rule.switch}" for rule in stopping.active(recipe) if rule.needs_selection]
        keys += ["schedule.name = 'plateau'"] * isinstance(recipe.schedule, Plateau)
        if keys:
            raise ValueError(_("{keys} needs a validation set, but data.split.validation is 0", keys=keys[0]))
    notes = about_pretrained(recipe, prepared)
    network, tested = _build_tested(recipe, prepared)
    notes += init_and_freeze(network, recipe.model)
    notes += about_layer_decay(network, recipe.optim)
    return Plan(recipe, prepared, options, sources, weights, network, tuple(notes), tested=tested)


def plan_all(recipes: Iterable[Recipe]) -> Iterator[Plan]:
    data = PreparedDataCache()
    for recipe in recipes:
        yield plan_one(recipe, data.prepare(recipe.data))


def _build_tested(recipe: Recipe, prepared: PreparedData) -> tuple[nn.Module, FirstStep | None]:
    """Builds a network. If it is external or batches have one image, also returns the first step of a second copy."""
    name, batch_size = recipe.model.name, min(recipe.train.batch_size, len(prepared.train))
    with warnings.catch_warnings():  # a layer without weights is an error below
        warnings.filterwarnings("ignore", "Initializing zero-element tensors")
        module = build(recipe, prepared)
    built_in = is_built_in(name)
    if built_in and batch_size > 1:
        return module, None
    init_and_freeze(module.float(), recipe.model)  # a user's class may have half-precision weights
    if not any(parameter.requires_grad for parameter in module.parameters()):
        raise ValueError(_("{name}: all parameters are frozen (requires_grad = False)", name=name))
    names = module.state_dict().keys()
    try:
        step = subject_of(recipe, prepared, module).first_step
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        if built_in:  # with one image, this is the only possible error
            hint = _(
                "batch norm needs more than one value per channel; use larger batches or --model.options.norm group"
            )
            raise ValueError(
                _(
                    "train.batch_size = {batch_size} with {name}: {hint}",
                    batch_size=recipe.train.batch_size,
                    name=name,
                    hint=hint,
                )
            ) from error
        raise (user if is_user_class(name) else external).failure(name, error) from None
    if added := sorted(module.state_dict().keys() - names):
        raise ValueError(
            _(
                "{name}: forward creates {added} in training, too late for the optimizer; create "
                "parameters and buffers in __init__",
                name=name,
                added=joined(added),
            )
        )
    _check_tensors(name, module, step.backward.gradients)
    return build(recipe, prepared), step


def subject_of(recipe: Recipe, prepared: PreparedData, module: nn.Module) -> Network:
    images, labels = first_images(recipe, prepared)

    def build_again() -> nn.Module:
        again = build(recipe, prepared)
        init_and_freeze(again, recipe.model)
        return again

    return Network(
        module=module,
        recipe=recipe,
        images=images,
        labels=labels,
        classes=len(prepared.classes),
        build=build_again,
        starts_from_weights=recipe.model.init is not None or recipe.model.is_pretrained,
    )


def _check_tensors(name: str, module: nn.Module, gradients: Mapping[str, Gradient]) -> None:
    """Raises ValueError for state that cannot be saved as weights and for sparse gradients."""
    for key, value in module.state_dict().items():
        if not isinstance(value, torch.Tensor) or value.is_quantized:
            raise ValueError(
                _(
                    "{name}: {key} is quantized or not a tensor; train in floating point and quantize after training",
                    name=name,
                    key=key,
                )
            )
    for key, gradient in gradients.items():
        if gradient is Gradient.SPARSE:
            raise ValueError(
                _(
                    "{name}: the gradient of {key} is sparse; the optimizers need dense gradients (sparse=False)",
                    name=name,
                    key=key,
                )
            )


def build(recipe: Recipe, prepared: PreparedData) -> nn.Module:
    """Builds a network on the CPU in float32, initialised from `model.seed` (default: the recipe's seed).

    Raises ValueError if the network's code sets another seed.
    """
    with _seeded(recipe):
        seed = torch.initial_seed()
        module = build_network(recipe, prepared.train)
        if torch.initial_seed() != seed:
            raise ValueError(
                _(
                    "{name} sets the seed of torch, so that all seeds have the same initial weights: remove "
                    "torch.manual_seed from its code; the key model.seed sets the seed of the initial weights",
                    name=recipe.model.name,
                )
            )
        return module


@contextmanager
def _seeded(recipe: Recipe) -> Iterator[None]:
    seed = recipe.seed if recipe.model.seed is None else recipe.model.seed
    with torch.random.fork_rng(devices=[]):
        seed_generators(derive_seed(seed, "initialisation"))
        yield
