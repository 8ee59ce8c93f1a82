"""The exit codes of every command. Scripts and manifests rely on the numbers; docs/operator.md has the cures."""

from enum import IntEnum


class ExitCode(IntEnum):
    """How a command ended."""

    CLEAN = 0
    FAILED = 1  # a check failed, an answer was no, or a wait was in vain
    BAD_COMMAND = 2  # the command line or the configuration; nothing was done
    NOT_ENTITLED = 3  # and configured to exit
    LEDGER_UNUSABLE = 4


class BadCommand(Exception):
    """The command line or the configuration cannot be used; the text is for standard error."""
