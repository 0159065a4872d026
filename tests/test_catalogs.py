"""Each catalog translates every message, with its placeholders. `make messages` adds new messages to the catalogs."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import pytest
from babel.messages.pofile import read_po
from tests.conftest import Call
from tools import messages

import convoy
from convoy import text
from convoy.cli.main import main
from convoy.recipe.faults import fault_title
from convoy.reporting import fonts
from convoy.studies.crossval.finding import fold_label
from convoy.text import _warn_of_language
from convoy.text.catalog import Catalog
from convoy.text.labels import change_text, label_text
from convoy.text.wrap import columns, shortened, typeset, wrapped

FILES = sorted(text.CATALOGS.glob("*/LC_MESSAGES/convoy.po"))


def forms(value: str | tuple[str, ...]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


def placeholders(message: str) -> set[str]:
    return set(re.findall(r"{(\w+)[^{}]*}", message))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.parents[1].name)
def test_every_message_is_translated_with_its_placeholders(file: Path) -> None:
    collected = {forms(message.id)[0]: message for message in messages.collected() if message.id}
    with file.open("rb") as lines:
        translated = {forms(message.id)[0]: message for message in read_po(lines) if message.id}
    assert translated.keys() == collected.keys(), "run make messages, and translate what it added"
    for english, message in translated.items():
        assert not message.fuzzy, english
        for form in forms(message.string):
            assert form, f"not translated: {english}"
            if message.python_format or "{" in english:
                assert placeholders(form) == set().union(*map(placeholders, forms(message.id))), english


def test_the_package_reads_catalogs_as_babel_does() -> None:
    for file in FILES:
        catalog = Catalog.read(file)
        with file.open("rb") as lines:
            expected = {message.id: message.string for message in read_po(lines) if isinstance(message.id, str)}
        expected.pop("")
        assert catalog.messages == expected


@pytest.mark.parametrize(("code", "page"), [("zh", "zh-CN"), ("zh_TW.UTF-8", "zh-CN"), ("zh-CN", "zh-CN"), ("C", "en")])
def test_another_variety_of_a_language_is_used_before_english(code: str, page: str, monkeypatch) -> None:
    monkeypatch.setenv("CONVOY_LANG", code)
    assert text.page_language() == page


def test_the_option_lang_selects_the_language_of_one_command(capsys) -> None:
    main(["train", "--lang", "zh", "--help"])
    chinese = capsys.readouterr().out
    main(["train", "--help"])
    assert re.search("[\u4e00-\u9fff]", chinese)
    assert not re.search("[\u4e00-\u9fff]", capsys.readouterr().out)
    with pytest.raises(SystemExit) as stop:
        main(["list", "models", "--lang=xx"])
    assert stop.value.code == 2


def test_chinese_lines_break_between_characters_but_not_before_punctuation() -> None:
    lines = wrapped("损失函数为交叉熵，标签平滑系数为 0.1。", 16)
    assert all(columns(line) <= 16 for line in lines)
    assert all(line[0] not in "，。" for line in lines)
    assert "".join(lines).replace(" ", "") == "损失函数为交叉熵，标签平滑系数为0.1。"


def test_a_long_chinese_text_is_shortened_between_characters() -> None:
    assert shortened("流程错误：把乘加次数当作 FLOPs", 20) == "流程错误：把乘加 ..."
    assert shortened("too few images", 14) == "too few images"
    assert shortened("too few images", 13) == "too few ..."


def test_notes_in_the_help_are_on_one_line(call: Call, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    _code, out, _err = call("train", "--lang", "zh", "--help")

    assert "[默认：convoy-runs]" in out
    assert all(line.count("[") == line.count("]") for line in out.splitlines() if "[--" not in line)


def test_joined_chinese_sentences_have_chinese_punctuation() -> None:
    with text.in_language("zh_CN"):
        assert typeset("准确率, 损失; n = 2") == "准确率，损失；n = 2"
        assert typeset("SHA-256 ea1e; 由 Convoy 训练") == "SHA-256 ea1e；由 Convoy 训练"
        assert typeset("lenet, vgg; n = 2") == "lenet, vgg; n = 2"
        assert typeset("训练 8 和 测试 2, 共 2 个模型 和 数据") == "训练 8 和测试 2，共 2 个模型和数据"
        assert typeset("类别 8，94.56 %（974 张图像）. 范围") == "类别 8，94.56%（974 张图像）。范围"
        assert typeset("更高 (测试准确率), f(x)") == "更高（测试准确率），f(x)"
        assert typeset("准确率 (%)") == "准确率（%）"
        assert typeset("应为 整数 或 a.b") == "应为整数或 a.b"
        assert typeset("+0.75\u00a0百分点，98.20\u00a0%") == "+0.75\u00a0个百分点，98.20%"
        assert typeset("高于 128（9.4 个百分点） (n = 2, 无定论)") == "高于 128（9.4 个百分点；n = 2，无定论）"
        assert typeset("lenet 52%; 参数量 2; vgg 3%; n = 2") == "lenet 52%；参数量 2；vgg 3%；n = 2"
    assert typeset("日本, 损失; n = 2") == "日本, 损失; n = 2"


@pytest.mark.parametrize(
    "label",
    [
        fold_label(0, 5, 1, 2),
        "split of the data",
        "all three sources",
        "lenet as published",
        "lenet, seed 7",
        "smaller_kernel, as published: 28 pixels, lr = 0.1",
        "log_softmax, without",
    ],
)
def test_labels_of_runs_have_no_english_words_but_names(label: str) -> None:
    with text.in_language("zh_CN"):
        chinese = re.sub("lenet|data.normalise|optim.lr|smaller_kernel|lr|log_softmax", "", label_text(label))
    assert re.search("[A-Za-z]", chinese) is None
    assert label_text(label) == label


def test_runs_of_an_archived_study_of_seeds_have_the_labels_of_today() -> None:
    with text.in_language("zh_CN"):
        assert label_text("all three sources") == label_text("all three")


def test_labels_of_a_ladder_name_faults_and_sections_in_the_language_of_the_reader() -> None:
    assert label_text("lenet without model, data.size") == "lenet without the change of network, data.size"
    with text.in_language("zh_CN"):
        assert label_text("+ log_softmax, model") == f"+ {fault_title('log_softmax')}、网络"
        assert label_text("lenet without log_softmax").endswith(f"{fault_title('log_softmax')}）")
        assert change_text("data.size") == "data.size"


def test_figures_are_in_english_without_a_chinese_font(monkeypatch) -> None:
    monkeypatch.setattr(fonts, "chinese_font", lambda: None)
    with text.in_language("zh_CN"):
        assert fonts.families() == [fonts.LATIN]
        assert fonts.drawable(text.gettext("Confusion matrix")) == "Confusion matrix"
        assert fonts.drawable(text.gettext("epoch {n}", n=3)) == "epoch 3"


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (["trian", "lenet"], "'train'"),
        (["list", "modells"], "'models'"),
        (["train", "lenet", "--epochs", "many"], "--epochs"),
        (["train", "lenet", "--lr", "high"], "--lr"),
        (["train", "lenet", "--lr", "1", "--lr", "2"], "--lr"),
        (["train", "lenet", "--data", "mnst"], "'mnist'"),
    ],
)
def test_errors_in_arguments_are_chinese(call: Call, arguments: list[str], name: str) -> None:
    code, _out, err = call(*arguments, "--lang", "zh")

    assert code == 2
    assert name in err
    assert re.search(r"[a-z]+ [a-z]+", err.replace(name, "")) is None  # no English words


@pytest.mark.parametrize(
    ("variable", "code", "line"),
    [
        ("CONVOY_LANG", "fr", "convoy: CONVOY_LANG=fr: expected one of en, zh; messages are in English\n"),
        ("CONVOY_LANG", "en_GB.UTF-8", ""),
        ("CONVOY_LANG", "zh-TW", ""),
        ("LC_ALL", "fr_FR.UTF-8", ""),
    ],
)
def test_only_an_unknown_language_in_convoy_lang_is_reported(
    call: Call, monkeypatch: pytest.MonkeyPatch, variable: str, code: str, line: str
) -> None:
    monkeypatch.delenv("CONVOY_LANG")
    monkeypatch.setenv(variable, code)
    _warn_of_language.cache_clear()
    assert call("list", "recipes", "--json")[2] == line
    assert call("list", "recipes", "--json", "--lang", "en")[2] == ""


def test_an_unknown_language_in_convoy_lang_is_a_warning_in_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONVOY_LANG", "fr")
    _warn_of_language.cache_clear()
    with warnings.catch_warnings(record=True, action="always") as warned:
        for _call in range(2):
            with pytest.raises(ValueError, match="no run or study"):
                convoy.report("missing")
    assert [(str(warning.message), warning.filename) for warning in warned] == [
        ("CONVOY_LANG=fr: expected one of en, zh; messages are in English", __file__)
    ]
