"""What docs/tuning.md shows is so: its search file fits, its commands are ones."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml

from mimrl.settings import load
from mimrl.tune.command import EXAMPLES, _parser
from mimrl.tune.default import default_space
from mimrl.tune.space import read_space

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "tuning.md").read_text()


def test_the_search_files_of_page_and_help_fit_mosi(tmp_path):
    base = load(ROOT / "configs" / "mosi.yaml")
    (block,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.S)
    shown = re.search(r"a search file.*?:\n((?:  .*\n)+)", EXAMPLES).group(1)
    for number, text in enumerate((block, shown)):
        file = tmp_path / f"{number}.yaml"
        file.write_text(re.sub("^  ", "", text, flags=re.M))
        space = read_space(file, base)
        assert len(space.items) == len(yaml.safe_load(file.read_text())) >= 5


def test_commands_of_page_and_help_are_valid():
    text = (PAGE + EXAMPLES).replace("\\\n", " ")
    commands = re.findall(r"(?:python -m mimrl\.tune|mimrl-tune) (-[^`&\n]*)", text)
    assert len(commands) >= 7
    for command in commands:
        if "..." in command:
            continue
        arguments = _parser().parse_intermixed_args(shlex.split(command))
        load(arguments.config and ROOT / arguments.config, arguments.overrides)


@pytest.mark.parametrize("page", ["tuning.md", "cluster.md"])
def test_shell_scripts_of_the_pages_parse_and_tell_srun_its_cores(page):
    """Slurm 22.05 and some after it give a step one core, whatever its job asked for."""
    blocks = re.findall(r"^```bash\n(.*?)^```", (ROOT / "docs" / page).read_text(), re.S | re.M)
    steps = [line for text in blocks for line in text.splitlines() if line.startswith("srun ")]
    assert steps
    assert all('--cpus-per-task="$SLURM_CPUS_PER_TASK"' in line for line in steps)
    for text in blocks:
        subprocess.run(["bash", "-n"], input=text, text=True, check=True)


def test_the_default_space_is_what_the_page_says():
    keys = set(default_space(load(ROOT / "configs" / "mosi.yaml")))
    assert keys == {
        *("training.optimizer.rate", "training.optimizer.weight_decay", "training.batch_size"),
        *("training.schedule.kind", "model.encoders.*.dropout", "training.text_rate"),
        *("training.warmup_epochs", "critics.rate", "steering.default", "model.fusion.ln_first"),
        *("model.fusion.residual_start", "model.fusion.dropout"),
    }
