"""All benchmarks one after another, and one table of what they found beside the targets.

    python -m experiments.benchmarks                      # under 20 minutes on two cores
    python -m experiments.benchmarks --only models start_up
    python -m experiments.benchmarks --full --out experiments/benchmarks/results

Each benchmark has a process of its own, so that neither memory nor compiled programs add up. The
table has a column for this run and one for every device whose results are in
experiments/benchmarks/results. A ratio is the time of ours over another's: median over rounds and
quartiles. Where a peer isn't installed the table says so.
"""

from experiments._common import main

from ._all import Config, run

if __name__ == "__main__":
    main(run, Config)
