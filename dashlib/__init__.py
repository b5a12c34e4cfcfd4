"""dashlib: guidance-preserving distillation of class-conditional diffusion models, one noun a file.

The modules read in the order of the method: `schedule` (forward process), `unet` (the network),
`guidance` (the two score branches and w), `weighting` (per-timestep importance), `losses`
(objectives), `data`, `training`, `sampling`, `metrics`, then `results` and `experiments` (stored
runs) and `plots`, `widgets` (figures).  Source of the method: DASH, arXiv 2606.00798.
"""

__version__ = "0.1.0"
