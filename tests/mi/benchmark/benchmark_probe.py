"""An estimator that keeps what it was given, and the tasks that it is tried on."""

from typing import ClassVar

from pydantic import Field

from mimrl.errors import BiasWarning
from mimrl.mi.estimators.interface import EstimateResult, Estimator

TASK = "1v1-normal-0.75"
TASKS = (TASK, "1v1-additive-0.75")


class Probe(Estimator):
    """Keeps what it was given and says what it is told to."""

    seen: ClassVar[list] = []
    seed: int = Field(0, description="shown in the estimate")
    level: float = Field(0.0, description="added to the estimate")
    doubt: bool = Field(False, description="warns")
    fail: bool = Field(False, description="raises")
    stop_after: int = Field(-1, description="readings before Ctrl-C")

    def read(self, pair):
        if len(self.seen) == self.stop_after:
            raise KeyboardInterrupt
        self.seen.append(pair)
        if self.fail:
            raise RuntimeError("the probe broke")
        doubts = (BiasWarning("not to be believed"),) if self.doubt else ()
        return EstimateResult(self.seed + self.level, 0.05, warnings=doubts)


def lines(folder):
    """Records that are written there, as text."""
    return (folder / "results.jsonl").read_text().splitlines()
