"""Describes the method of a run in sentences, from its recipe, data and environment."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, assert_never

from convoy.lab.references import References, data_source, papers
from convoy.models import MODELS
from convoy.recipe.sections import Constant, Cosine, CrossEntropy, OneCycle, Plateau, Range, Step
from convoy.registry import is_external, is_user_class
from convoy.reporting.reading import Groups, RunView
from convoy.reporting.words import accuracy_name
from convoy.run_contents import part_name
from convoy.text import gettext as _
from convoy.text import ngettext, translated
from convoy.text.lists import joined, listed
from convoy.text.numbers import with_unit
from convoy.training.run.stopping import active

MAX_TEXTS = 4  # recipes that a paragraph describes separately; if more differ, only the first is described
MAX_CLASSES = 12  # listed classes


def by_label(groups: Groups, references: References, describe: Callable[[RunView, References], str]) -> list[str]:
    """Returns the text of the first run of each label; one text if all are equal."""
    labels: dict[str, list[str]] = {}
    for label, group in groups.items():
        labels.setdefault(describe(group[0], references), []).append(label)
    if len(labels) == 1:
        return list(labels)
    if len(labels) > MAX_TEXTS:
        first, names = next(iter(labels.items()))
        rest = _("The other recipes differ as listed in the appendix.")
        return [_("{labels}: {text}", labels=listed(names, max_items=MAX_TEXTS), text=f"{first} {rest}")]
    return [
        _("{labels}: {text}", labels=listed(names, max_items=MAX_TEXTS), text=text) for text, names in labels.items()
    ]


def data(view: RunView, references: References) -> str:
    content, recipe = view.data, view.recipe.data
    names = [*view.classes]
    channels = {1: _("grey"), 3: _("colour")}.get(content.in_chans) or _("{n} channels", n=content.in_chans)
    sentences = [
        _(
            "The data set is {data}{reference}: images of {size} × {size} pixels ({channels}) in {n} classes "
            "({names}).",
            data=content.name,
            reference=references.cite(*data_source(content.name)),
            size=content.image_size,
            channels=channels,
            n=len(names),
            names=listed(names, max_items=MAX_CLASSES),
        )
    ]
    counts = [f"{part_name(part)} {count:,}" for part, count in content.counts.items() if count]
    if recipe.split.folds:
        sentences.append(_("Images in each part of the first fold: {counts}.", counts=listed(counts)))
    else:
        sentences.append(_("Images in each part: {counts}.", counts=listed(counts)))
    if content.limit:
        sentences.append(_("Only a part of the data was used, {n:,} images.", n=content.limit))
    sentences += _split(view)
    mean, std = (", ".join(f"{value:.4f}" for value in values) for values in (content.mean, content.std))
    sentences.append(
        _(
            "Pixels are scaled to 0 to 1 and normalised: the mean {mean} is subtracted, and the result is divided by "
            "the standard deviation {std}.",
            mean=mean,
            std=std,
        )
    )
    if recipe.sampling == "balanced":
        sentences.append(_("Training images are drawn with replacement, each class with the same probability."))
    return " ".join(sentences)


def _split(view: RunView) -> list[str]:
    split, counts = view.recipe.data.split, view.data.counts
    sentences = []
    if split.folds:
        sentences.append(
            _(
                "The training images are divided into {n} folds; each network is scored on a fold that it was not "
                "trained on.",
                n=split.folds,
            )
        )
    if counts.get("validation"):
        text = _(
            "The split into parts is random with seed {seed} where the data set does not define it.", seed=split.seed
        )
        if split.stratified:
            text += " " + _("It keeps the proportions of the classes.")
        sentences.append(text)
    if split.group_by:
        sentences.append(_("Images of one group ({key}) are in the same part.", key=split.group_by))
    return sentences


def network(view: RunView, references: References) -> str:
    model, cost = view.recipe.model, view.cost
    citation = references.cite(*papers(view.recipe))
    if is_user_class(model.name):
        text = _("{label} is a network of our own; the appendix has its code.", label=view.label)
    elif is_external(model.name):
        text = _("{label} is the network {name}{citation}.", label=view.label, name=model.name, citation=citation)
    else:
        summary = translated(MODELS[model.name].summary) if model.name in MODELS else model.name
        name = model.name if view.label == model.name else f"{view.label} ({model.name})"
        text = _("The network is {name}{citation}: {summary}.", name=name, citation=citation, summary=summary)
    sentences = [text]
    if model.options:
        sentences.append(_("Its options are {options}.", options=_settings(model.options)))
    if cost.parameters is not None and cost.flops_per_image is not None:
        sentences.append(
            _(
                "It has {parameters:,} parameters and needs {flops} per image, with a multiply-add counted as two.",
                parameters=cost.parameters,
                flops=with_unit(cost.flops_per_image, "FLOPs"),
            )
        )
    if model.is_pretrained:
        sentences.append(_("Training starts from the pretrained weights of the library, with a new head."))
    if model.init:
        sentences.append(_("Training starts from the weights of {file}.", file=model.init))
    if model.freeze:
        sentences.append(_("The parameters {names} are not trained.", names=listed(model.freeze)))
    return " ".join(sentences)


def training(view: RunView, references: References) -> str:
    recipe = view.recipe
    train, loss = recipe.train, recipe.train.loss
    sentences = [
        ngettext(
            "Training takes {n} epoch with batches of {batch} images.",
            "Training takes {n} epochs with batches of {batch} images.",
            train.epochs,
            batch=train.batch_size,
        )
    ]
    if not isinstance(loss, CrossEntropy):
        sentences.append(_("The loss is the mean squared error against one-hot labels."))
    elif loss.label_smoothing:
        sentences.append(
            _(
                "The loss is cross-entropy with label smoothing of {value:g}{citation}.",
                value=loss.label_smoothing,
                citation=references.method("label_smoothing"),
            )
        )
    else:
        sentences.append(_("The loss is cross-entropy."))
    if train.class_weights != "none":
        sentences.append(_("The loss weights the classes: {weights}.", weights=_value(train.class_weights)))
    sentences += [_optimizer(view, references), *_schedule(view, references)]
    if train.clip_norm:
        sentences.append(
            _(
                "The norm of the gradients is clipped at {norm:g}{citation}.",
                norm=train.clip_norm,
                citation=references.method("clip"),
            )
        )
    if train.ema_decay:
        sentences.append(
            _(
                "A moving average of the weights with decay {decay:g} is scored{citation}.",
                decay=train.ema_decay,
                citation=references.method("average"),
            )
        )
    sentences += _selection(view)
    faults = [fault.info.sentence() for fault in recipe.protocol.faults]
    sentences += [_("{sentence}.", sentence=f"{text[:1].upper()}{text[1:]}") for text in faults]
    return " ".join(sentences)


def _optimizer(view: RunView, references: References) -> str:
    optim = view.recipe.optim
    details = [_("learning rate {value:g}", value=optim.lr)]
    if optim.settings:
        details.append(_settings(optim.settings))
    if optim.weight_decay:
        details.append(_("weight decay {value:g}", value=optim.weight_decay))
    if optim.layer_decay != 1:
        details.append(
            _(
                "a rate that falls by the factor {value:g} from layer to layer, from the head to the input",
                value=optim.layer_decay,
            )
        )
    name = optim.title + references.method(optim.name, *optim.settings)
    return _("The optimizer is {name} with {details}.", name=name, details=listed(details))


def _schedule(view: RunView, references: References) -> list[str]:
    schedule = view.recipe.schedule
    cited = references.method(schedule.name)
    match schedule:
        case Constant():
            text = _("The learning rate is constant.")
        case Step():
            text = _(
                "The learning rate is multiplied by {factor:g} every {epochs:g} epochs.",
                factor=schedule.factor,
                epochs=schedule.every_epochs,
            )
        case Cosine():
            text = _(
                "The learning rate falls along a half cosine to {share:g} % of its highest value{citation}.",
                share=100 * schedule.min_factor,
                citation=cited,
            )
        case OneCycle():
            text = _(
                "The learning rate rises in the first {rise:g} % of the steps and then falls, both along a half "
                "cosine{citation}.",
                rise=100 * schedule.rise,
                citation=cited,
            )
        case Plateau():
            text = _(
                "The learning rate is multiplied by {factor:g} after {epochs} epochs without a lower validation loss.",
                factor=schedule.factor,
                epochs=schedule.patience_epochs + 1,
            )
        case Range():
            text = _("The learning rate rises exponentially in every step{citation}.", citation=cited)
        case _:
            assert_never(schedule)
    if not schedule.warmup_epochs:
        return [text]
    warmup = _(
        "Before that, it rises linearly from 0 for {epochs:g} epochs{citation}.",
        epochs=schedule.warmup_epochs,
        citation=references.method("warmup"),
    )
    return [text, warmup]


def _selection(view: RunView) -> list[str]:
    recipe, part = view.recipe, view.data.selection
    accuracy = accuracy_name(part) if part else ""
    sentences = [
        rule.method(recipe.stop, accuracy)
        for rule in active(recipe)
        if rule.fields and (part or not rule.needs_selection)
    ]
    if part and not any(fault.info.keeps_last for fault in recipe.protocol.faults):
        text = _("The epoch with the highest {accuracy} is scored.", accuracy=accuracy)
    else:
        text = _("The weights of the last epoch are scored.")
    return [*sentences, text]


def augmentation(view: RunView, references: References) -> str:
    augmentations = [dict(table) for table in view.recipe.data.augment]
    if not augmentations:
        return _("The training images are not augmented.")
    texts = []
    for table in augmentations:
        name = table.pop("name")
        settings = f" ({_settings(table)})" if table else ""
        texts.append(f"{name}{settings}{references.method(name)}")
    return _("The training images are augmented in every epoch: {augmentations}.", augmentations=listed(texts))


def hardware(view: RunView, references: References) -> str:
    environment = view.environment
    device = environment.cpu if environment.device == "cpu" else environment.device
    if environment.ranks > 1:
        device = _("{ranks} processes, each on {device}", ranks=environment.ranks, device=device)
    return ngettext(
        "Trained with Convoy {convoy} and PyTorch {torch}{citation} on {device}, {n} thread, {precision}.",
        "Trained with Convoy {convoy} and PyTorch {torch}{citation} on {device}, {n} threads, {precision}.",
        environment.threads,
        convoy=environment.convoy,
        torch=environment.torch,
        citation=references.method("pytorch"),
        device=device,
        precision=environment.precision or view.recipe.compute.precision,
    )


def _settings(table: Mapping[str, Any]) -> str:
    return joined(f"{key} = {_value(value)}" for key, value in table.items())


def _value(value: object) -> str:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"({', '.join(map(_value, value))})"
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)
