"""dashlib: guidance-preserving distillation of class-conditional diffusion models, one noun a file.

In the order of the method: `schedule`, `unet` (of `blocks`), `guidance`, `weighting`, `losses`,
`data`, `training` (by an `execution`), `sampling`, `metrics`; then `recipes` (what a run is) and
`results` (what is stored of it).  `baselines`, `datasets`, `scale`, `runs` and `cli` import these.
"""

__version__ = "0.1.0"
