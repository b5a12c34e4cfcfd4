"""Figures of single chapters, drawn from numbers that are given.

Nothing here trains, samples or reads files, as in :mod:`dashbook.plots`, which has what several
chapters draw.  A module a chapter: `teacher`, `collapse`, `dual_branch`, `tirt`, `microscope`,
`paper_scale`, `claims` (the ledger).
"""
