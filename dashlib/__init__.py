"""dashlib: guidance-preserving distillation of class-conditional diffusion models, one noun a file.

The modules read in the order of the method: `schedule` (forward process), `unet` (the network, of
`blocks`), `guidance` (the two score branches and w), `weighting` (per-timestep importance),
`losses` (objectives), `data`, `training`, `sampling`, `metrics`, then `recipes` (what every run
is) and `results` (what is stored of it).  Beside them lie rooms that import the method and are not
imported by it: `baselines`, `datasets`, `runs` (the book's stored runs), `scale` (the paper's
presets, many processes, Inception scores) and `cli`.  Source: DASH, arXiv 2606.00798.
"""

__version__ = "0.1.0"
