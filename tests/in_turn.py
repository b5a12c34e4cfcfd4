"""Several commands of dashlib in one process, one after the other.

``python -m in_turn sample ARGUMENTS then evaluate ARGUMENTS``: a process takes seconds to start,
and a launcher of two starts three.
"""

import sys
from unittest.mock import patch

from accelerate import Accelerator

from dashlib.__main__ import main


def split(words):
    """The commands between the words ``then``."""
    commands = [[]]
    for word in words:
        if word == "then":
            commands.append([])
        else:
            commands[-1].append(word)
    return commands


def run():
    """Run the commands of the command line until one fails.

    The processes wait for each other after every command, and part after the last.
    """
    *first, last = split(sys.argv[1:])
    with patch.object(Accelerator, "end_training", Accelerator.wait_for_everyone):
        for command in first:
            try:
                main(command, prog_name="python -m dashlib")
            except SystemExit as end:
                if end.code:
                    raise
    main(last, prog_name="python -m dashlib")


if __name__ == "__main__":
    run()
