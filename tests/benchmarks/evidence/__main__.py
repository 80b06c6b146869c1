"""Measures what is not measured yet, and writes the table.

    KERAS_BACKEND=jax python -m tests.benchmarks.evidence --quick --data FOLDER

A run that was stopped goes on where it was, with the same versions; with others give a
new file as `--results` (and `--table`). `--quick` takes two or three tasks per claim,
some ten minutes to an hour by machine and backend; without it all tasks, hours.
"""

import argparse
import time
from pathlib import Path

import keras

from . import results as results_module
from . import table, tasks
from .claims import CLAIMS, QUICK
from .intervals import LEAST_SEEDS, score

HERE = Path(__file__).parent
TABLE = HERE.parents[2] / "tutorials" / "EVIDENCE.md"


def measure(results, claims, quick, seeds, folder):
    """Runs both sides where the results have no line yet."""
    # A side that several claims share trains once per task and seed.
    memory = {}

    def answers(side, task):
        key = side, task.name, task.seed
        if key not in memory:
            memory[key] = side(task)
            keras.utils.clear_session(free_memory=False)
        return memory[key]

    for claim in claims:
        for name in claim.tasks[: QUICK if quick else None]:
            started = time.perf_counter()
            for seed in range(seeds):
                if (claim.name, name, seed) in results.found:
                    continue
                task = tasks.make(name, seed, folder)
                if task is None:
                    print(f"{claim.name}: {name} left out, give its folder as --data")
                    break
                metric = claim.metric_of(name)
                values = [
                    score(answers(side, task), task.y_test, metric)
                    for _, side in (claim.baseline, claim.trick)
                ]
                results.add(claim.name, name, seed, *values)
            taken = time.perf_counter() - started
            print(f"{claim.name}, {name}: {taken:.0f} s", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="three tasks per claim")
    parser.add_argument("--seeds", type=int, default=LEAST_SEEDS)
    parser.add_argument("--data", type=Path, help="folder of MNIST and sentences")
    parser.add_argument("--claims", nargs="*", help="names; all by default")
    parser.add_argument("--results", type=Path, default=HERE / "results.jsonl")
    parser.add_argument("--table", type=Path, default=TABLE)
    parser.add_argument("--table-only", action="store_true", help="measure nothing")
    arguments = parser.parse_args()
    if arguments.seeds < LEAST_SEEDS:
        parser.error(f"--seeds must be at least {LEAST_SEEDS}: fewer say nothing")
    names = [claim.name for claim in CLAIMS]
    unknown = set(arguments.claims or ()) - set(names)
    if unknown:
        parser.error(f"--claims must be of {names}. Received: {sorted(unknown)}")
    results = results_module.Results(arguments.results)
    if not arguments.table_only:
        try:
            results.begin(results_module.versions())
        except ValueError as error:
            parser.error(str(error))
        chosen = [c for c in CLAIMS if c.name in (arguments.claims or names)]
        measure(results, chosen, arguments.quick, arguments.seeds, arguments.data)
    table.write(results, arguments.table)
    print(f"The table is {arguments.table}")


if __name__ == "__main__":
    main()
