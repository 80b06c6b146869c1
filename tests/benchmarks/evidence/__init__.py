"""Do the tricks and opinions of the guide hold? Measured in pairs, at equal budget.

From the root of the repository:

    KERAS_BACKEND=jax python -m tests.benchmarks.evidence --quick --data FOLDER

- `claims_training.py` and `claims_models.py` state the claims as data: text, source,
  tasks, two sides, budget; `claims.py` joins them.
- `tasks.py` makes the tasks, `training.py` the networks; the sides are in
  `sides_rates.py`, `sides_optimizers.py`, `sides_models.py`, `sides_ensembles.py`.
- `intervals.py` has the statistics, `table.py` writes `tutorials/EVIDENCE.md`, and
  `results.py` keeps the numbers in `results.jsonl`, line by line as they come.
"""
