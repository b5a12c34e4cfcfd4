"""``python -m dashlib``: :mod:`dashlib.cli.main`."""

from dashlib.cli.main import main

if __name__ == "__main__":
    main()
