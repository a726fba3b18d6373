"""The command line."""

import matplotlib

from experiments._common import main

from . import Config, run

if __name__ == "__main__":
    matplotlib.use("Agg")
    main(run, Config)
