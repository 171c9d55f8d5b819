"""``python -m prost_lightning``: see :mod:`prost_lightning.cli`."""

from prost_lightning.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
