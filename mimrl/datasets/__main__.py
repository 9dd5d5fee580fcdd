"""``python -m mimrl.datasets inspect FILE`` and ``python -m mimrl.datasets convert IN OUT.h5``.

Exit codes: 0 done; 2 the command or the data cannot be used (one message on standard error);
130 interrupted.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from mimrl.datasets import hdf5
from mimrl.datasets.catalogue import LAYOUTS, read_corpus
from mimrl.datasets.conversion import convert
from mimrl.datasets.inspection import as_text, inspect
from mimrl.exits import guarded
from mimrl.settings import DataSettings, load

GROUP = "data."
EXAMPLES = """\
key=value are settings of the data, as in 'python train.py --help', for example:
  python -m mimrl.datasets inspect mosi.pkl
  python -m mimrl.datasets convert mosei_raw.pkl mosei.h5 --layout multibench
  python -m mimrl.datasets convert mosi_csd/ mosi.h5 label_file=CMU_MOSI_Opinion_Labels.csd \\
      feature_files.text=CMU_MOSI_TimestampedWords.csd feature_files.audio=CMU_MOSI_COVAREP.csd \\
      split_by_group=[0.7,0.1,0.2]
"""
COMMANDS = {
    "inspect": "what a file holds, as it is, and what may be wrong with it",
    "convert": "one ragged HDF5 file from any file or folder, non-finite features set to 0",
}
ALONE = "files are read and converted by one process: start 'python -m mimrl.datasets' by itself"
SOURCE = "file or folder; looked for here, in $MIMRL_DATA_ROOT and in ./data"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command that the arguments name.

    Args:
        argv: arguments without the program's name; None takes those of the process.

    Returns:
        The exit code.
    """
    arguments = _arguments(sys.argv[1:] if argv is None else argv)
    return guarded(lambda: _run(arguments), "interrupted; nothing was written", alone=ALONE)


def _run(arguments: argparse.Namespace) -> None:
    settings = _settings(arguments)
    if arguments.command == "inspect":
        _inspect(settings, as_json=arguments.json)
    else:
        _convert(settings, Path(arguments.target))


def _settings(arguments: argparse.Namespace) -> DataSettings:
    overrides = [f"path={json.dumps(arguments.source)}", f"layout={arguments.layout}"]
    overrides += arguments.overrides
    keyed = [item if item.startswith(GROUP) else GROUP + item for item in overrides]
    return load(None, keyed).data


def _inspect(settings: DataSettings, *, as_json: bool) -> None:
    corpus = read_corpus(settings)
    origin = None
    if corpus.layout == hdf5.LAYOUT:
        found = hdf5.origin(Path(corpus.source))
        origin = f"{found.layout}, {found.source}"
    report = inspect(corpus, origin)
    text = json.dumps(report.as_json(), indent=2) if as_json else as_text(report)
    sys.stdout.write(f"{text}\n")


def _convert(settings: DataSettings, target: Path) -> None:
    corpus = convert(settings, target, progress=True)
    sizes = ", ".join(f"{name} {len(split)}" for name, split in corpus.splits.items())
    sys.stdout.write(f"{target}: {sizes} samples, from {corpus.layout} {corpus.source}\n")


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser, commands = _parsers()
    if argv and argv[0] in commands:  # options may stand between positionals, as in train.py
        found = commands[argv[0]].parse_intermixed_args(argv[1:])
        found.command = argv[0]
        return found
    return parser.parse_args(argv)


def _parsers() -> tuple[argparse.ArgumentParser, dict[str, argparse.ArgumentParser]]:
    parser = argparse.ArgumentParser(
        prog="python -m mimrl.datasets",
        description="Looks at data files of all known layouts, and converts them to one HDF5 file "
        "that is read lazily.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    added = {
        name: commands.add_parser(
            name,
            help=text,
            description=f"{name}: {text}.",
            epilog=EXAMPLES,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        for name, text in COMMANDS.items()
    }
    added["inspect"].add_argument("source", metavar="FILE", help=SOURCE)
    added["inspect"].add_argument("--json", action="store_true", help="JSON instead of tables")
    added["convert"].add_argument("source", metavar="IN", help=SOURCE)
    added["convert"].add_argument(
        "target", metavar="OUT.h5", help="file to make, whole or not at all"
    )
    for command in added.values():
        command.add_argument(
            "--layout", choices=("auto", *LAYOUTS[1:]), default="auto", help="default: recognise it"
        )
        command.add_argument(
            "overrides", metavar="key=value", nargs="*", help="settings of the data"
        )
    return parser, added


if __name__ == "__main__":
    sys.exit(main())
