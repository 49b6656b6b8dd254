"""Commands that are imported when they are called, and help in plain text, so that Tab and `--help` are fast.

The table of commands holds a small function per command that imports and returns it. Lists of commands (`--help`,
Tab after `edge-se `) need the names and summaries alone; options are read when a command is named.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Optional

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from edge_se.core.errors import EdgeSeError

Command = Callable[..., None]
WIDTH = 100  # of help, where the terminal is as wide
CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": WIDTH}
HEADING, OPTION = "\x1b[1m{}\x1b[0m", "\x1b[36m{}\x1b[0m"


@dataclass(frozen=True)
class Entry:
    """One line of the table: `load` imports the command; `summary` is its docstring, which is not imported for it."""

    name: str
    summary: str
    load: Callable[[], Command]
    epilog: Optional[str] = None


class LazyGroup(TyperGroup):
    """A group that knows only names and summaries of its commands until one of them is named."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that `args` name, with its options: it is imported here."""
        name, listed, rest = super().resolve_command(ctx, args)
        command: Any = listed
        if listed is not None and listed.callback is not None and not isinstance(listed, TyperGroup):
            command = _whole(name or "", listed.callback(), listed.epilog)
            if ctx.resilient_parsing:  # Tab: no value is used, and converting one would import pydantic
                for option in command.params:
                    option.process_value = _as_typed
        return name, command, rest

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Every summary to its end; click would cut it to one line."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, self.commands[name].help or "") for name in self.list_commands(ctx)])

    def get_help_option(self, ctx: Any) -> Any:
        """`--help`, off by default."""
        return off(super().get_help_option(ctx))

    def get_help(self, ctx: Any) -> str:
        """With bold headings in a terminal."""
        return coloured(super().get_help(ctx))


class HelpfulCommand(TyperCommand):
    """A command whose help has bold headings in a terminal, and that takes each option once, but for lists."""

    def parse_args(self, ctx: Any, args: list[str]) -> Any:
        """As click does, which would take the last of several values and drop the others without a word."""
        names = [arg.partition("=")[0] for arg in (args[: args.index("--")] if "--" in args else args)]
        for option in self.params:
            single = option.param_type_name == "option" and not (
                getattr(option, "is_flag", False) or getattr(option, "multiple", False))
            if single and not ctx.resilient_parsing and sum(names.count(name) for name in option.opts) > 1:
                several = "commas" in (getattr(option, "help", "") or "")
                raise EdgeSeError("is given twice", where=option.opts[0],
                                  fix="give it once, with commas between values" if several else "give it once")
        if not ctx.resilient_parsing:
            self._require_named(ctx, args)
        return super().parse_args(ctx, args)

    def _require_named(self, ctx: Any, args: list[str]) -> None:
        """Fails for a value that no option takes, as in `edge-se gate build/net`, before options are found missing."""
        given, left, _ = self.make_parser(ctx).parse_args(args=list(args))
        if not left:
            return
        names = {name for option in self.params for name in option.opts}
        fix = f"see {ctx.command_path} -h"
        if f"--{left[0]}" in names:
            fix = f"is --{left[0]} meant? {fix}"
        elif "--model" in names and "model" not in given:
            fix = f"give it as --model {left[0]}"
        raise EdgeSeError("belongs to no option", where=left[0], fix=fix)

    def get_help_option(self, ctx: Any) -> Any:
        """`--help`, off by default."""
        return off(super().get_help_option(ctx))

    def get_help(self, ctx: Any) -> str:
        """The text of `--help`."""
        return coloured(super().get_help(ctx))


def coloured(text: str) -> str:
    """Help with bold headings and coloured names, where stdout is a terminal and $NO_COLOR is not set."""
    if not sys.stdout.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return text
    text = re.sub(r"^(\w+:)(?=$| )", lambda match: HEADING.format(match[1]), text, flags=re.MULTILINE)
    names = r"^  (-[^\s,]+(?:(?:, | / )-[^\s,]+)*|[a-z]\S*(?=  ))"
    return re.sub(names, lambda match: "  " + OPTION.format(match[1]), text, flags=re.MULTILINE)


def program(**options: Any) -> typer.Typer:
    """An empty program or group with our settings."""
    return typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None,
                       context_settings=CONTEXT, **options)


def add(app: typer.Typer, entry: Entry, *, whole: bool) -> None:
    """`entry` becomes a command of `app`: with all of its options, or lazily in a `LazyGroup`."""
    if whole:
        app.command(entry.name, epilog=entry.epilog, cls=HelpfulCommand)(entry.load())
    else:
        app.command(entry.name, help=entry.summary, epilog=entry.epilog)(entry.load)


def parser(app: typer.Typer) -> Any:
    """What parses the command line of `app`."""
    group = get_command(app)
    for option in group.params:
        off(option)
    return group


def off(flag: Any) -> Any:
    """A flag that typer adds, off instead of None: None would be converted, and that imports pydantic."""
    if flag is not None and flag.default is None:
        flag.default = False
    return flag


def _as_typed(ctx: Any, value: Any) -> Any:
    return value


def _whole(name: str, command: Command, epilog: Optional[str]) -> Any:
    app = program(add_completion=False)
    app.command(name, epilog=epilog, cls=HelpfulCommand)(command)
    return get_command(app)
