"""``python -m dashlib``: see :mod:`dashlib.cli.main`."""

import sys

from dashlib.extras import MissingExtra, what_to_install

try:
    with what_to_install():
        from dashlib.cli.main import main
except MissingExtra as error:
    sys.exit(f"error: {error}")

if __name__ == "__main__":
    main()
