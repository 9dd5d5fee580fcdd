"""Benchmark tasks whose mutual information is known exactly: laws that can be sampled.

A :class:`Task` is a :class:`Law` under a name. Laws are normal, Student or uniform, or one of
these seen through one-to-one :class:`Transform` s. :data:`TASKS` holds the 40 of the benchmark
"Beyond Normal" (:data:`BMI_TASKS`), the sweep of DMI and a staircase of information;
:data:`CONDITIONAL_TASKS` are triples with known I(X; Y | Z).

>>> task = task_named("1v1-normal-0.75")
>>> x, y = task.sample(100_000, seed=0)
>>> round(task.mutual_information, 4), round(task.log_ratio(x, y).mean(), 2)
(0.4133, np.float64(0.41))
"""

from mimrl.mi.tasks.additive import AdditiveUniform
from mimrl.mi.tasks.bmi import BMI_TASKS, two_pairs
from mimrl.mi.tasks.conditional import (
    CONDITIONAL_TASKS,
    ConditionalTask,
    common_cause,
    common_effect,
    conditional_task_named,
    independent_given,
    noisy_channel,
    two_causes,
)
from mimrl.mi.tasks.law import Law
from mimrl.mi.tasks.normal import (
    CoupledPairs,
    Gaussian,
    equicorrelated,
    unexplained_at_information,
    unexplained_at_strength,
    unexplained_by_correlation,
)
from mimrl.mi.tasks.recorded import recorded_samples
from mimrl.mi.tasks.student import Student, common_scale_information
from mimrl.mi.tasks.sweeps import (
    DMI_DIMS,
    DMI_KINDS,
    DMI_STRENGTHS,
    STAIRCASE_NATS,
    TASKS,
    dmi_sweep,
    dmi_task,
    staircase,
    staircase_task,
    task_named,
)
from mimrl.mi.tasks.task import Task
from mimrl.mi.tasks.transformed import (
    Transformed,
    half_cubed,
    shortened_tails,
    spiralled,
    uniform_margins,
)
from mimrl.mi.tasks.transforms import (
    CUBE,
    HALF_CUBE,
    WIGGLY_X,
    WIGGLY_Y,
    Asinh,
    Identity,
    MixtureQuantile,
    NormalCdf,
    SignedPower,
    Spiral,
    SwissRoll,
    Transform,
    Wave,
    Wiggly,
)

__all__ = [
    "BMI_TASKS",
    "CONDITIONAL_TASKS",
    "CUBE",
    "DMI_DIMS",
    "DMI_KINDS",
    "DMI_STRENGTHS",
    "HALF_CUBE",
    "STAIRCASE_NATS",
    "TASKS",
    "WIGGLY_X",
    "WIGGLY_Y",
    "AdditiveUniform",
    "Asinh",
    "ConditionalTask",
    "CoupledPairs",
    "Gaussian",
    "Identity",
    "Law",
    "MixtureQuantile",
    "NormalCdf",
    "SignedPower",
    "Spiral",
    "Student",
    "SwissRoll",
    "Task",
    "Transform",
    "Transformed",
    "Wave",
    "Wiggly",
    "common_cause",
    "common_effect",
    "common_scale_information",
    "conditional_task_named",
    "dmi_sweep",
    "dmi_task",
    "equicorrelated",
    "half_cubed",
    "independent_given",
    "noisy_channel",
    "recorded_samples",
    "shortened_tails",
    "spiralled",
    "staircase",
    "staircase_task",
    "task_named",
    "two_causes",
    "two_pairs",
    "unexplained_at_information",
    "unexplained_at_strength",
    "unexplained_by_correlation",
    "uniform_margins",
]
