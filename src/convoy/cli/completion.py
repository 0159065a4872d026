"""`convoy --install-completion`. The bash script contains all names, so that Tab does not start Python."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import App, Parameter

from convoy.cli.app import GROUPS, app, say
from convoy.text import gettext as _

NAMES = {"recipe": "$names", "recipes": "$names", "models": "$names", "experiment": "$experiments", "name": "$data"}
VALUES = {"--data": "$data", **dict.fromkeys(("--set", "--grid", "--range", "--vary"), "$keys")}
BASH = """\
# Completion of convoy for bash, written by `convoy --install-completion`.
_convoy() {{
  local names='{names}' data='{data}' experiments='{experiments}'
  local keys='{keys}' sections='{sections}'
  local cur=${{COMP_WORDS[COMP_CWORD]}} prev=${{COMP_WORDS[COMP_CWORD-1]}} command=${{COMP_WORDS[1]}} words= flags= key
  ((COMP_CWORD == 1)) && command=
  [[ $command == data || $command == cluster ]] && ((COMP_CWORD > 2)) && command+=" ${{COMP_WORDS[2]}}"
  case $command in
{commands}
  esac
  if [[ $cur == --*.* && $flags == *--set* ]]; then
    words=
    for key in $keys; do words+=" --${{key%=}}"; done
  elif [[ $cur == -* ]]; then
    words=$flags
    [[ $flags == *--set* ]] && words+=" $sections"
  fi
  COMPREPLY=($(compgen -W "$words" -- "$cur"))
  [[ ${{COMPREPLY[0]}} == *[=.] ]] && compopt -o nospace 2>/dev/null
  return 0
}}
complete -o default -F _convoy convoy
"""


@app.command(name="--install-completion")
def install_completion(
    shell: Annotated[Literal["bash", "zsh", "fish"] | None, Parameter(name="--shell")] = None,
) -> None:
    """Complete commands and flags with Tab; in bash also recipes, models, data sets and recipe keys.

    Parameters
    ----------
    shell
        The shell; by default the one that runs this command.
    """
    from cyclopts.completion.detect import ShellDetectionError, detect_shell
    from cyclopts.completion.install import add_to_rc_file, get_default_completion_path

    try:
        chosen = shell or detect_shell()
    except ShellDetectionError:
        chosen = "powershell"
    if chosen == "powershell":
        raise ValueError(_("expected --shell bash, zsh or fish: the current shell is none of them"))
    path = Path(get_default_completion_path(chosen, "convoy"))
    script = bash_script() if chosen == "bash" else app.generate_completion(prog_name="convoy", shell=chosen)
    path.write_text(script, encoding="utf-8")
    say(_("The completion script was written to {path}.", path=path))
    if chosen != "fish" and add_to_rc_file(path, "convoy", chosen):
        say(_("{file} now loads it.", file=Path.home() / f".{chosen}rc"))
    say(_("Open a new terminal, or run: exec {shell}", shell=chosen))


def bash_script() -> str:
    from convoy.data.catalogue import DATA_SETS
    from convoy.experiments import experiment
    from convoy.models import MODELS
    from convoy.recipe.files import builtin_names

    schema = json.loads((resources.files("convoy") / "recipes" / "schema.json").read_text(encoding="utf-8"))
    keys = sorted({*_keys(schema)} - {"extends", "expected", "about", "chosen"})
    commands = [f"    '') words='{' '.join(_commands(app))}' flags='--help --version --install-completion' ;;"]
    groups = {group.name[0]: group for group in GROUPS}
    commands += [f"    {name}) words='{' '.join(_commands(group))}' flags=--help ;;" for name, group in groups.items()]
    commands += [_branch(name, app[name]) for name in _commands(app) if name not in groups]
    commands += [
        _branch(f"{group} {name}", parent[name]) for group, parent in groups.items() for name in _commands(parent)
    ]
    return BASH.format(
        names=" ".join([*MODELS, *builtin_names()]),
        data=" ".join(DATA_SETS),
        experiments=" ".join(experiment.names()),
        keys=" ".join(f"{key}=" for key in keys),
        sections=" ".join(dict.fromkeys(f"--{key.partition('.')[0]}." for key in keys if "." in key)),
        commands="\n".join(commands),
    )


def _commands(parent: App) -> list[str]:
    return [name for name in parent if not name.startswith("-")]


def _branch(command: str, of: App) -> str:
    """Returns the shell `case` of a command: values of the flag before the cursor, otherwise names and flags."""
    flags, values, names = ["--help"], [], ""
    for argument in of.assemble_argument_collection():
        own = [name for name in argument.names if name.startswith("--")]
        if argument.field_info.kind is not inspect.Parameter.KEYWORD_ONLY:
            names = NAMES.get(argument.field_info.name, names)
        flags += own
        listed = VALUES.get(own[0], " ".join(argument.get_choices() or ())) if own else ""
        if listed:
            values.append(f'{own[0]}) words="{listed}" ;;')
        elif own and not argument.is_flag():
            values.append(f"{own[0]}) words= ;;")
    cases = " ".join([*values, f'*) words="{names}" ;;'])
    return f"    '{command}') flags='{' '.join(flags)}'; case $prev in {cases} esac ;;"


def _keys(schema: dict[str, Any], path: str = "") -> Iterator[str]:
    for key, value in schema.get("properties", {}).items():
        tables = [form for form in (value, *value.get("anyOf", ())) if "properties" in form]
        for table in tables:
            yield from _keys(table, f"{path}{key}.")
        if not tables:
            yield f"{path}{key}"
