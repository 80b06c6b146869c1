"""From results to `tutorials/EVIDENCE.md`, and to nothing else: no number by hand."""

from collections import Counter

from .claims import CLAIMS
from .intervals import LEAST_SEEDS, difference, verdict

HEAD = """\
# Evidence

Generated; do not edit. From the root of the repository:

```sh
KERAS_BACKEND={backend} python -m tests.benchmarks.evidence --quick --data FOLDER
```

(without `--quick`: more tasks; `FOLDER` holds MNIST and sentences, see
`tests/benchmarks/evidence/tasks.py`; without `--data`: what scikit-learn brings.)
Made with {versions}.

Each line compares a trick with a baseline over paired seeds: the same rows, the same
weights at the start where the networks are the same, the same order, and the same
budget unless the claim's own section says otherwise. The difference is trick minus
baseline with its 95 % interval (Student's t), and the verdict goes by that interval
alone: "helps" or "hurts" where it excludes zero, "no difference" where it does not,
which with so few seeds and such small tasks means "none that could be seen".
Optimizers, rates and epochs were fixed before the first run and not tuned to a verdict;
a third task came later, and where images are altered was moved for speed. Of {lines}
such intervals about {chance} would exclude zero by chance.

Networks have two dense layers of 64 units with ReLU unless a section says otherwise.
Rows for training and for the test: digits 600, 1,197; breast cancer 200, 369; MNIST
1,000, 3,000 (14 x 14 points); digits and MNIST "5 to 9" 40, 800 and 40, 2,000;
sentences 1,500, 2,000; wine 80, 98; diabetes 220, 222.
"""


def rows(results, claims=CLAIMS):
    """(claim, task, difference, baseline's mean, trick's mean, verdict) per line."""
    for claim in claims:
        for task in claim.tasks:
            baseline, trick = results.pairs(claim.name, task)
            if len(baseline) < LEAST_SEEDS:
                continue
            found = difference(baseline, trick)
            means = sum(baseline) / len(baseline), sum(trick) / len(trick)
            words = verdict(found, claim.metric_of(task))
            yield claim, task, found, *means, words


def render(results, claims=CLAIMS):
    """The whole page."""
    lines = list(rows(results, claims))
    made_with = results.made_with
    shown = ", ".join(f"{k} {v}" for k, v in made_with.items() if k != "backend")
    counts = Counter(words for *_, words in lines)
    parts = [
        HEAD.format(
            backend=made_with["backend"],
            versions=shown,
            lines=len(lines),
            chance=max(1, round(0.05 * len(lines))),
        ),
        ", ".join(
            f"{words}: {counts[words]}" for words in ("helps", "no difference", "hurts")
        ).capitalize()
        + ".",
        "",
        "| claim | task | baseline | trick | difference, 95 % interval | verdict |",
        "|---|---|---|---|---|---|",
    ]
    for claim, task, found, baseline, trick, words in lines:
        places = 2 if claim.metric_of(task).higher_is_better else 4
        cells = (
            f"[{claim.text}](#{claim.name})",
            f"{task}, {found.seeds} seeds",
            f"{baseline:.{places}f}",
            f"{trick:.{places}f}",
            f"{found.mean:+.{places}f} +- {found.half:.{places}f}",
            f"**{words}**" if words != "no difference" else words,
        )
        parts.append("| " + " | ".join(cells) + " |")
    measured = {claim.name for claim, *_ in lines}
    parts += ["", "## What was compared", ""]
    for claim in claims:
        if claim.name in measured:
            parts += [*_described(claim, lines), ""]
    missing = [claim.text for claim in claims if claim.name not in measured]
    if missing:
        parts += ["## Not measured", "", *(f"- {text}" for text in missing), ""]
    return "\n".join(parts)


def _described(claim, lines):
    metrics = {
        claim.metric_of(task): None for other, task, *_ in lines if other == claim
    }
    shown = "; ".join(
        f"{m.name} ({'higher' if m.higher_is_better else 'lower'} is better)"
        for m in metrics
    )
    holds = "" if claim.holds == "helps" else f" The claim holds where: {claim.holds}."
    return (
        f"### {claim.name}",
        "",
        f"{claim.text} ({claim.source}).{holds}",
        "",
        f"- baseline: {claim.baseline[0]}",
        f"- trick: {claim.trick[0]}",
        f"- budget: {claim.budget}",
        f"- metric: {shown}",
    )


def write(results, path):
    path.write_text(render(results), encoding="utf-8")
