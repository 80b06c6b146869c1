"""The numbers: a line of JSON for what they were made with, then one per run."""

import importlib.metadata
import json
import platform

import keras

import keras_tricks as kt


class Results:
    """The lines of one file, (claim, task, seed) to (baseline, trick)."""

    def __init__(self, path):
        self.path = path
        self.made_with, self.found = None, {}
        if path.exists():
            self._read()

    def _read(self):
        text = self.path.read_text(encoding="utf-8")
        # A killed run leaves half a line, which its next start writes anew.
        whole = text[: text.rfind("\n") + 1]
        if whole != text:
            self.path.write_text(whole, encoding="utf-8")
        for line in whole.splitlines():
            values = json.loads(line)
            if "claim" not in values:
                self.made_with = values
                continue
            key = values["claim"], values["task"], values["seed"]
            self.found[key] = values["baseline"], values["trick"]

    def begin(self, made_with):
        """Goes on with a file only where it was made with the same versions."""
        if self.made_with is None:
            self.made_with = made_with
            self._append(made_with)
        elif self.made_with != made_with:
            raise ValueError(
                f"{self.path} was made with {self.made_with}, this is {made_with}; "
                "give another file as --results, or delete it"
            )

    def add(self, claim, task, seed, baseline, trick):
        # Six digits: more are no news, and the file stays small.
        values = float(f"{baseline:.6g}"), float(f"{trick:.6g}")
        self.found[claim, task, seed] = values
        names = ("claim", "task", "seed", "baseline", "trick")
        line = dict(zip(names, (claim, task, seed, *values), strict=True))
        self._append(line)

    def _append(self, line):
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def pairs(self, claim, task):
        """The baselines and the tricks of all seeds that are there."""
        seeds = sorted(s for c, t, s in self.found if (c, t) == (claim, task))
        values = [self.found[claim, task, seed] for seed in seeds]
        return [v[0] for v in values], [v[1] for v in values]


def versions():
    """Backend and versions; no date and no machine, so that a table can be compared."""
    backend = keras.backend.backend()
    packages = ("keras", backend, "numpy", "scikit-learn")
    found = {"backend": backend, "python": platform.python_version()}
    for package in packages:
        found[package] = _version(package)
    return {**found, "keras_tricks": kt.__version__}


def _version(package):
    # TensorFlow is also installed under other names (`tensorflow_cpu`).
    for name in (package, f"{package}_cpu"):
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return "unknown"
