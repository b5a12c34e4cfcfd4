"""Figures of single chapters, drawn from numbers that are given.

Nothing here trains, samples or reads files, as in :mod:`dashlib.plots`, which has what several
chapters draw.  A module a chapter: `claims` (the ledger), `plane` (loss geometry).
"""
