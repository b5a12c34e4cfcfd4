"""Rivals of DASH beside the objectives of :mod:`dashlib.losses`."""

from dashlib.baselines.fitnets import FitNets
from dashlib.losses import OBJECTIVES

OBJECTIVES["fitnets"] = FitNets
