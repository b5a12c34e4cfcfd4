"""Faults of every kind, and what became of them: ``make faults``; a module for each kind.

A case is survived (the same command, given again, leaves the same files, each bit by bit), refused
(one clear line), bare (a traceback), a hang, or accepted (a wrong input gave an answer).  Cases are
the same in every run, so that a figure can be made again.
"""

PARTS = {"kills": 52, "disks": 24, "writers": 6, "files": 600, "api": 4_000, "options": 10_000}
WRONG = {"bare", "hangs", "accepted", "written outside"}  # should be 0
