"""The `completion` command: a script with which a shell completes this command line.

The command loads the module of every command for its options; the script then completes without Python. The name of a
value decides what the script offers: files for FILE, PATH, PEM and DIR, the words of a choice, nothing for the rest.
"""

import argparse
import re
import sys
from collections.abc import Iterator

import shtab

from sidecar.cli import PROGRAM, build_parser
from sidecar.exit_codes import ExitCode

SHELLS = ("bash", "zsh", "fish")

_EXPLANATION = f"""\
Print a script that completes the commands, options and files of this command line at TAB.

bash: {PROGRAM} completion bash > ~/.local/share/bash-completion/completions/{PROGRAM}
      (needs the package bash-completion; else: source <({PROGRAM} completion bash))
zsh:  {PROGRAM} completion zsh > ~/.zfunc/_{PROGRAM}
      (with `fpath+=~/.zfunc` before `autoload -Uz compinit && compinit` in ~/.zshrc)
fish: {PROGRAM} completion fish > ~/.config/fish/completions/{PROGRAM}.fish

Start a new shell afterwards. Print the script again after an upgrade."""
_PLACE = re.compile(r"\b(FILE|PATH|PEM|DIR)\b")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the shell."""
    parser.description = _EXPLANATION
    parser.add_argument("shell", choices=SHELLS, help="the shell")


def run(args: argparse.Namespace) -> int:
    """Print the script; 0."""
    parser = build_parser(lambda _name: True)
    for action in _actions(parser):
        if isinstance(action.metavar, str) and _PLACE.search(action.metavar):
            action.complete = shtab.FILE  # type: ignore[attr-defined]  # how shtab reads it
    sys.stdout.write(f"{shtab.complete(parser, args.shell)}\n")
    return ExitCode.CLEAN


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Yield the arguments of a parser and of all below it."""
    for action in parser._actions:  # noqa: SLF001 - argparse has no public way, and shtab reads it, too
        yield action
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 - as above
            for below in action.choices.values():
                yield from _actions(below)
