"""Other partial information decompositions, for comparison with LSMI.

``i_min``, ``mmi`` and ``broja`` decompose probability tables p(y, x1, x2), ``gaussian_pid`` samples
with a continuous label; :func:`other_measures` brings features to them.
"""

from lsmi.pid.broja import broja
from lsmi.pid.compare import other_measures
from lsmi.pid.gates import GATES, Gate
from lsmi.pid.gaussian import gaussian_pid
from lsmi.pid.i_min import i_min
from lsmi.pid.mmi import mmi
from lsmi.pid.tables import Information, information

__all__ = [
    "GATES",
    "Gate",
    "Information",
    "broja",
    "gaussian_pid",
    "i_min",
    "information",
    "mmi",
    "other_measures",
]
