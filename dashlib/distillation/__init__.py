"""Any guided denoiser distilled: ``distill(teacher, student, data, TrainConfig(steps=2000))``.

``network`` (what a teacher is), ``probe`` (which are refused), ``training``, ``report`` (what was
kept of the gap, and what to do); ``adapters`` for diffusers' models, which needs that extra.
"""

from dashlib.distillation.network import Network, RectifiedFlow
from dashlib.distillation.probe import Refusal, probe
from dashlib.distillation.report import Report, assess
from dashlib.distillation.training import Distilled, distill, distilling

__all__ = ["Distilled", "Network", "RectifiedFlow", "Refusal", "Report"]
__all__ += ["assess", "distill", "distilling", "probe"]
