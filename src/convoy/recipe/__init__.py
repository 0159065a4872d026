"""The recipe: the complete configuration of a run, as frozen pydantic models, read from and written to TOML.

A recipe is merged in this order: the chain of `extends`, the file, the overrides as (dotted path, value) pairs. Only
the result is validated.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

import tomli_w
from pydantic import ValidationError, ValidationInfo, field_validator, model_validator

from convoy.notebook import html_of
from convoy.recipe import sections
from convoy.recipe.files import Override, apply, builtin_names, read_chain
from convoy.recipe.problems import first_problem
from convoy.recipe.sections import Section, non_default_values, with_default_name
from convoy.registry import is_external, is_user_class, unknown
from convoy.text import gettext as _


class Recipe(Section):
    about: str = ""  # a description, shown by `convoy list recipes`; not part of the fingerprint
    # keys that Convoy set, because there are few training images; not part of the fingerprint
    chosen: tuple[Literal["train.batch_size", "train.epochs"], ...] = ()
    seed: sections.Seed = 42  # seed of initial weights, batch order, augmentation and dropout
    model: sections.Model = sections.Model()
    data: sections.Data = sections.Data()
    train: sections.Train = sections.Train()
    optim: sections.Optim = sections.AdamW()
    schedule: sections.Schedule = sections.Constant()
    stop: sections.Stop = sections.Stop()
    compute: sections.Compute = sections.Compute()
    protocol: sections.Protocol = sections.Protocol()
    probe: sections.Probe = sections.Probe()

    _repr_html_ = html_of

    @property
    def label(self) -> str:
        """The model's name in figures and folders; for a user's class, the class name."""
        name = self.model.name
        return name.rpartition(":")[2] if is_user_class(name) else name

    @field_validator("optim", "schedule", mode="before")
    @classmethod
    def _default_name(cls, value: Any, info: ValidationInfo) -> Any:
        return with_default_name(cls, value, info)

    @model_validator(mode="after")
    def _check_warmup(self) -> Self:
        if self.schedule.warmup_epochs > self.train.epochs:
            raise ValueError(
                _(
                    "schedule.warmup_epochs = {warmup_epochs:g} exceeds train.epochs = {epochs}: the "
                    "learning rate would never reach optim.lr",
                    warmup_epochs=self.schedule.warmup_epochs,
                    epochs=self.train.epochs,
                )
            )
        return self

    @model_validator(mode="after")
    def _normalise_for_weights(self) -> Self:
        """With pretrained weights, the default normalisation is that of the weights."""
        if self.model.is_pretrained and "normalise" not in self.data.model_fields_set:
            self.__dict__["data"] = self.data.model_copy(update={"normalise": "weights"})
        if self.data.normalise == "weights" and not self.model.is_pretrained:
            raise ValueError(
                _(
                    "data.normalise = 'weights' needs pretrained weights: model.options.pretrained = true with a "
                    "network from timm or torchvision"
                )
            )
        return self

    @classmethod
    def load(cls, name: str | Path, overrides: Iterable[Override] = ()) -> Recipe:
        """Loads a built-in recipe or a TOML file and merges its `extends` and the overrides.

        The last part of a built-in recipe's name is enough if it is unique: "fast-mnist" is "defaults/fast-mnist".

        Raises ValueError for an unknown name or key, circular `extends` or a value out of range.
        """
        table, origin = read_chain(str(name), relative_to=Path())
        overrides = list(overrides)
        return cls._validate(apply(table, overrides), origin, overrides)

    def override(self, overrides: Mapping[str, Any] | Iterable[Override]) -> Recipe:
        """Returns a validated copy with some keys changed: `recipe.override({"optim.lr": 0.01})`."""
        pairs = list(overrides.items() if isinstance(overrides, Mapping) else overrides)
        table = self.as_table()
        if self.data.normalise == ("weights" if self.model.is_pretrained else "train"):
            del table["data"]["normalise"]  # the new weights may have another default
        return self._validate(apply(table, pairs), _("the recipe"), pairs)

    def as_table(self) -> dict[str, Any]:
        """Returns all values in TOML types, including defaults; omits keys that are None."""
        return self.model_dump(mode="json", exclude_none=True)

    def to_toml(self) -> str:
        return tomli_w.dumps(self.as_table())

    def canonical(self) -> dict[str, Any]:
        """Returns the part of the recipe that affects the result, for the fingerprint.

        Data and code have their own hashes. Defaults are omitted, so that adding a key does not change existing
        fingerprints; changing a default requires a new revision (convoy.training.run.revisions).
        """
        table = non_default_values(self)
        for path in ("about", "chosen", "data.name", "compute.device", "compute.threads", "model.init"):
            section, _, key = path.rpartition(".")
            (table.get(section, {}) if section else table).pop(key, None)
        table.get("data", {}).get("split", {}).pop("group_by", None)  # included in the hash of the split
        name = self.model.name
        model = table.get("model", {}) | {"name": name.rpartition(":")[2] if is_user_class(name) else name}
        return {key: value for key, value in {**table, "model": model}.items() if value != {}}

    @classmethod
    def _validate(cls, table: dict[str, Any], origin: str, overrides: Sequence[Override]) -> Recipe:
        paths = [path for path, _ in overrides]
        try:
            recipe = cls.model_validate(table)
        except ValidationError as error:
            raise first_problem(cls, error, table, origin, paths) from None
        chosen = tuple(key for key in recipe.chosen if not any(f"{key}.".startswith(f"{path}.") for path in paths))
        return recipe.model_copy(update={"chosen": chosen})


def resolve(argument: str | None, *, data: str | None = None, overrides: Iterable[Override] = ()) -> Recipe:
    """Returns the recipe for a command-line argument: a .toml file, `path.py:Class` or the name of a recipe or model.

    A model, or None, uses the default recipe of the data set (`defaults/<data>`, otherwise `defaults/images`).
    """
    overrides = list(overrides)
    builtin = builtin_names()
    if argument is not None and (argument.endswith(".toml") or argument in builtin):
        other_data = [("data.name", data)] if data is not None else []
        return Recipe.load(argument, other_data + overrides)
    if argument is not None and "/" in argument and not is_user_class(argument) and not is_external(argument):
        raise unknown(_("recipe"), argument, builtin)
    data = dict(overrides).get("data.name", "mnist" if data is None else data)
    default = f"defaults/{data.partition('=')[0]}"  # "mnist=PATH" is MNIST
    base = default if default in builtin else "defaults/images"
    model = [("model.name", argument)] if argument is not None else []
    return Recipe.load(base, [*model, ("data.name", data), *overrides])


def fingerprint(
    recipe: Recipe,
    *,
    options: Mapping[str, Any],
    hashes: Mapping[str, str],
    training_revision: int,
    revisions: Mapping[str, int] | None = None,
) -> str:
    """Returns the SHA-256 (hex) of everything that affects a run's result. A finished run with the
    same fingerprint is reused.

    `options`: model options that differ from their defaults. `hashes`: hashes of the data, the split and a user's code.
    `revisions`: revisions above 1 of the model and of the rules that apply to this run.
    """
    table = recipe.canonical()
    table |= {"model": table.get("model", {}) | {"options": dict(options)}}
    covered = {"recipe": table, "hashes": dict(hashes), "training_revision": training_revision}
    covered |= {"revisions": dict(revisions)} if revisions else {}
    return hashlib.sha256(json.dumps(covered, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
