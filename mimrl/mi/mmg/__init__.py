"""MMG / DMI: mutual information as the gap between denoising without and with y.

I(X; Y) is half the integral over the log-SNR of a Gaussian channel of the gap between the smallest
squared errors of denoising its output, without and with y (Guo, Shamai, Verdu, 2005; Kong,
Brekelmans, Ver Steeg, ICLR 2023). Networks learn the denoisers; the best linear ones are known in
closed form, and so are their integrals.
"""

from mimrl.mi.mmg.channel import LogisticLaw, LogSnrLaw, PiecewiseLaw, channel, stratified
from mimrl.mi.mmg.coordinates import Coordinates
from mimrl.mi.mmg.linear import LinearDenoisers, exact_denoisers, nodes
from mimrl.mi.mmg.model import Fit, Form, MmgModel, Plan, Reading, start
from mimrl.mi.mmg.reading import Corrections, adapted, corrections
from mimrl.mi.mmg.training import Training, TrainingSettings

__all__ = [
    "Coordinates",
    "Corrections",
    "Fit",
    "Form",
    "LinearDenoisers",
    "LogSnrLaw",
    "LogisticLaw",
    "MmgModel",
    "PiecewiseLaw",
    "Plan",
    "Reading",
    "Training",
    "TrainingSettings",
    "adapted",
    "channel",
    "corrections",
    "exact_denoisers",
    "nodes",
    "start",
    "stratified",
]
