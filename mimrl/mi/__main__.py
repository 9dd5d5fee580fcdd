"""``python -m mimrl.mi benchmark | estimate | mmg``.

Exit codes: 0 done; 2 the command or the data cannot be used (one message on standard error); 130
interrupted.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping, Sequence

from mimrl.exits import OK, UNUSABLE

COMMANDS: Mapping[str, tuple[str, str]] = {
    "estimate": (
        "mimrl.mi.estimation.command",
        "mutual information of columns of a file, with its error and a permutation control",
    ),
    "benchmark": (
        "mimrl.mi.benchmark.command",
        "estimators on tasks whose information is known: table, heat map, resumable",
    ),
    "mmg": (
        "mimrl.mi.mmg.command",
        "the estimator by denoising (MMG, DMI) on its sweep of tasks, resumable",
    ),
}
"""Name -> module whose ``main(argv)`` gives an exit code, and what it does."""

HELP = "-h", "--help"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command that the first argument names.

    Args:
        argv: arguments without the program's name; None takes those of the process.

    Returns:
        The exit code.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if words and words[0] in HELP:
        sys.stdout.write(_usage())
        return OK
    if not words or words[0] not in COMMANDS:
        given = f"there is no command {words[0]!r}" if words else "a command is wanted"
        sys.stderr.write(f"error: {given}\n\n{_usage()}")
        return UNUSABLE
    module = importlib.import_module(COMMANDS[words[0]][0])  # of this command alone
    code: int = module.main(words[1:])
    return code


def _usage() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:{width}}  {text}" for name, (_, text) in COMMANDS.items()]
    return (
        "usage: python -m mimrl.mi COMMAND ...\n\n"
        "Mutual information in nats: estimated from data, and estimators measured.\n\n"
        "commands ('python -m mimrl.mi COMMAND --help' says more):\n" + "\n".join(lines) + "\n\n"
        "The network of InfoNet has commands of its own: python -m mimrl.mi.infonet --help\n"
    )


if __name__ == "__main__":
    sys.exit(main())
