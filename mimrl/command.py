"""The command line of training: ``train.py`` and ``mimrl-train``.

Exit codes: 0 done; 2 the command, the settings or the data cannot be used (one message on standard
error); 130 interrupted.
"""

from __future__ import annotations

import argparse
import io
import shutil
import sys
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout

from mimrl import __version__
from mimrl.exits import OK, guarded
from mimrl.launch import first_process, launched, process_count
from mimrl.settings import Settings, dump, load
from mimrl.settings.help import render

EXAMPLES = """\
examples:
  python train.py --config configs/demo.yaml
  python train.py --config configs/mosi.yaml --seeds 0,1,2 training.epochs=20
  python train.py --config configs/mosi.yaml model.fusion=lmf steering.default=0 name=lmf
  python train.py --config configs/mosi.yaml --resume
  torchrun --nproc_per_node=4 train.py --config configs/mosei.yaml
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Trains as the arguments say and prints where the results are.

    Args:
        argv: arguments without the program's name; None takes those of the process.

    Returns:
        The exit code.
    """
    arguments = _arguments(argv)
    if arguments is None:
        return OK
    interrupted = "interrupted; the same command with --resume continues"
    if launched():
        from mimrl.training.alarm import guarded_together

        return guarded_together(lambda: _run(arguments), interrupted)
    return guarded(lambda: _run(arguments), interrupted)


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace | None:
    """What the command line says; None where the first of several processes ends with a message.

    The others leave well: a launcher would end the first one before it has spoken.
    """
    if first_process():
        return _parser().parse_intermixed_args(argv)
    try:
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            return _parser().parse_intermixed_args(argv)
    except SystemExit:
        return None


def _run(arguments: argparse.Namespace) -> None:
    settings = _settings(arguments)
    if arguments.print_config:
        if first_process():
            sys.stdout.write(dump(settings))
        return
    from mimrl.training.run import train_seeds  # torch takes seconds, which --help need not wait

    seeds = arguments.seeds or (settings.seed,)
    summary = train_seeds(
        settings,
        seeds,
        resume=arguments.resume,
        overwrite=arguments.overwrite,
        progress=sys.stderr.isatty(),
        say=_say if len(seeds) > 1 and first_process() else None,
    )
    if first_process():
        sys.stdout.write(f"{summary.table()}\n{_together(settings)}\nresults: {summary.folder}\n")


def _together(settings: Settings) -> str:
    """A line on the processes that trained together; empty where there was one."""
    count, size = process_count(), settings.training.batch_size
    return f"{count} processes, batches of {count} x {size} samples\n" if count > 1 else ""


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def _settings(arguments: argparse.Namespace) -> Settings:
    overrides = list(arguments.overrides)
    if arguments.device is not None:
        overrides.append(f"device={arguments.device}")
    if arguments.seeds is not None and len(arguments.seeds) == 1:
        overrides.append(f"seed={arguments.seeds[0]}")
    return load(arguments.config, overrides)


def _parser() -> argparse.ArgumentParser:
    width = min(shutil.get_terminal_size().columns, 120)
    parser = argparse.ArgumentParser(
        description="Trains a MIMRL model for each seed and evaluates it once on the test split.",
        epilog=f"{EXAMPLES}\n{render(width)}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--config", metavar="FILE", help="YAML file of settings; without it: the defaults"
    )
    parser.add_argument(
        "overrides", metavar="key=value", nargs="*", help="settings that win over the file"
    )
    parser.add_argument(
        "--seeds", type=seed_list, metavar="0,1,2", help="train once for each seed, then summarise"
    )
    parser.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), help="wins over the setting 'device'"
    )
    parser.add_argument(
        "--print-config", action="store_true", help="print the complete settings and stop"
    )
    again = parser.add_mutually_exclusive_group()
    again.add_argument(
        "--resume", action="store_true", help="go on with a run from its last complete epoch"
    )
    again.add_argument(
        "--overwrite", action="store_true", help="replace the run that the folder holds already"
    )
    parser.add_argument("--version", action="version", version=f"mimrl {__version__}")
    return parser


def count(text: str) -> int:
    """The whole number from 1 on of an argument.

    Raises:
        argparse.ArgumentTypeError: anything else.
    """
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}': expected a whole number from 1 on")
    return int(text)


def seed_list(text: str) -> tuple[int, ...]:
    """The seeds of an argument like ``0,1,2``.

    Raises:
        argparse.ArgumentTypeError: anything but different integers from 0 to 2^31 - 1.
    """
    try:
        seeds = tuple(int(part) for part in text.split(","))
    except ValueError:
        seeds = ()
    if not seeds or min(seeds) < 0 or max(seeds) >= 2**31 or len(set(seeds)) < len(seeds):
        raise argparse.ArgumentTypeError(
            f"'{text}': expected different integers from 0 to {2**31 - 1}, separated by commas"
        )
    return seeds
