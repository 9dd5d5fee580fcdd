"""The settings tree: one frozen object that a run depends on and nothing else.

:func:`load` reads a YAML file and ``key=value`` overrides; :class:`Settings` is the tree;
``data.py``, ``model.py``, ``information.py`` and ``training.py`` hold its groups.
"""

from mimrl.settings.data import DataSettings, PlantedSettings
from mimrl.settings.information import ConditionalSettings, CriticSettings, SteeringSettings
from mimrl.settings.load import dump, from_mapping, load
from mimrl.settings.model import ModelSettings
from mimrl.settings.training import TrainingSettings
from mimrl.settings.tree import Settings

__all__ = [
    "ConditionalSettings",
    "CriticSettings",
    "DataSettings",
    "ModelSettings",
    "PlantedSettings",
    "Settings",
    "SteeringSettings",
    "TrainingSettings",
    "dump",
    "from_mapping",
    "load",
]
