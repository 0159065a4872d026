"""The page of a lab report: the page of the run or study with method, discussion and references."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from convoy.lab import method, networks
from convoy.lab.references import References
from convoy.reporting.about import NOTHING, About
from convoy.reporting.content import Block, Chart, Drawing, Gallery, Page, Prose, Section
from convoy.reporting.pages import run_page, study_page
from convoy.reporting.reading import PARTS, Groups, RunView, all_views, read_run, read_study
from convoy.reporting.tables import class_table
from convoy.runs import Run, Study
from convoy.text import gettext as _

ANSWER = 4  # empty lines below a question


def lab_page(
    target: Run | Study, page_of: Callable[[Study, Path], Page], author: str | None, about: About = NOTHING
) -> Page:
    if isinstance(target, Study):
        page, groups = study_page(target, target.path, page_of), read_study(target) if target.members else {}
    else:
        view = read_run(target)
        page, groups = run_page(target, target.path), {view.label: [view]}
    if author:
        page = replace(page, kicker=f"{author} · {page.kicker}")
    if not groups:  # a reproduction that trained nothing
        return page
    references, recipes = References(), _without_folds(groups)
    *body, setup = page.sections
    results = Section(_("Results"), (*page.tables, *_class_tables(recipes)))
    written = (_method(page, recipes, references), results, *body)
    evaluation = Section(_("Evaluation"), (Prose(_evaluation(about, groups, references)),))
    questions = tuple(
        Prose(f"{number}. {question}", blank_lines=ANSWER)
        for number, question in enumerate(_questions(written, groups, about), start=1)
    )
    cited = tuple(Prose(f"[{number}] {source.text}", source.url, source.url) for number, source in references)
    code = tuple(block for group in recipes.values() for block in networks.code_of(group[0].run))
    return replace(
        page,
        tables=(),
        sections=(
            written[0],
            evaluation,
            *written[1:],
            Section(_("Discussion"), questions),
            Section(_("References"), cited),
            replace(setup, title=_("Appendix: recipe and environment"), blocks=(*setup.blocks, *code)),
        ),
    )


def _without_folds(groups: Groups) -> dict[str, list[RunView]]:
    """Keeps only the first fold of each network, labelled with the network's name."""
    recipes: dict[str, list[RunView]] = {}
    for label, group in groups.items():
        if group[0].recipe.data.split.folds:
            name = group[0].run.label
            recipes.setdefault(name, [replace(group[0], label=name)])
        else:
            recipes[label] = group
    return recipes


def _method(page: Page, groups: Groups, references: References) -> Section:
    has_pictures = any(isinstance(block, Drawing) for block in page.blocks)
    blocks: list[Block] = [Prose(text) for text in method.by_label(groups, references, method.data)]
    described: set[tuple[str, str]] = set()
    for group in groups.values():
        model = group[0].recipe.model
        if (key := (model.name, str(model.options))) not in described and len(described) < networks.MAX_PICTURES:
            blocks.append(Prose(method.network(group[0], references)))
            blocks += [] if has_pictures else networks.pictures(group[0], len(described))
            described.add(key)
    for describe in (method.training, method.augmentation, method.hardware):
        blocks += map(Prose, method.by_label(groups, references, describe))
    return Section(_("Method"), tuple(blocks))


def _evaluation(about: About, groups: Groups, references: References) -> str:
    """Describes how results were scored and compared."""
    counts = {len({view.seed for view in group}) for group in groups.values()}
    seeds = max(counts)
    sentences = [
        _(
            "Accuracy is the share of correctly classified images. Its interval over images is Wilson's{citation}.",
            citation=references.method("wilson"),
        )
    ]
    if seeds > 1:
        number = str(seeds) if len(counts) == 1 else _("up to {n}", n=seeds)
        sentences.append(
            _(
                "Each recipe was trained with {number} seeds; ± is the half-width of the 95 % interval of the mean "
                "(Student's t){citation}.",
                number=number,
                citation=references.method("t"),
            )
        )
    if len(groups) > 1 or not about.compares_models:
        sentences.append(about.method(references.method))
    return " ".join(filter(None, sentences))


def _class_tables(groups: Groups) -> Iterator[Block]:
    """Yields the scores by class of a study's networks. Pages of runs and of cross-validations already have them."""
    views = all_views(groups)
    if len(views) == 1 or views[0].recipe.data.split.folds:
        return
    for label, group in list(groups.items())[: networks.MAX_PICTURES]:
        part = next((part for part in PARTS if part in group[0].scores), "")
        if part and group[0].scores[part].per_class:
            title = _("Scores by class of {label}, seed {seed}", label=label, seed=group[0].seed)
            yield replace(class_table(group[0].scores[part]), title=title)


def _questions(sections: tuple[Section, ...], groups: Groups, about: About) -> Iterator[str]:
    """Yields questions for the reader about the results on the page."""
    names = {block.name for section in sections for block in section.blocks if isinstance(block, Chart | Gallery)}
    views = all_views(groups)
    if len(groups) > 1:
        yield _("Which differences between the networks are larger than their spread over seeds, and which are not?")
        yield _("Is the most accurate network worth its cost in parameters and time?")
    else:
        yield _("How much could the accuracy change with other seeds or other test images, and how would you find out?")
    if "curves" in names:
        yield _(
            "What do the curves say about overfitting? Would more epochs, fewer epochs or more regularisation help? "
            "Why?"
        )
    if "confusion" in names:
        yield _("Which classes are confused most often, and what do their images have in common?")
    if "hardest" in names:
        yield _("Look at the hardest images. Which would you get wrong, and which have a doubtful label?")
    if "filters" in names:
        yield _("Which patterns do the filters of the first layer respond to?")
    if any(view.recipe.data.augment for view in views):
        yield _("Why do the augmentations fit these images? Name one that would change the class of an image.")
    else:
        yield _("Which augmentation would fit these images, and which would change the class of an image?")
    if about.question:
        yield about.question
    yield _("Which layers have most of the parameters, and which need most of the computation?")
    yield _("What would you change first to improve the result, and which experiment would show that it helped?")
