"""The pictures of GradientMonitor."""

from typing import Any

import numpy as np

KINDS = ("norm", "layers", "ratios")
# What the tuning guide names as usual thresholds of the global norm.
_USUAL = (5.0, 10.0, 15.0)
_PREFIX = {"layers": "gradient_norm/", "ratios": "update_ratio/"}
_LABEL = {"layers": "gradient norm", "ratios": "|change| / |weights|"}


def norms(ax: Any, steps: Any, values: Any, limit: float | None) -> None:
    """The global norm of each update, and where one could clip."""
    finite = np.isfinite(values)
    ax.plot(steps[finite], values[finite], ".", ms=3, color="tab:blue", label="update")
    if not finite.all():
        top = [0.98] * int((~finite).sum())
        ax.plot(
            steps[~finite],
            top,
            "x",
            color="tab:red",
            transform=ax.get_xaxis_transform(),
            label="not finite",
        )
    for usual in _USUAL:
        ax.axhline(usual, ls=":", lw=1, color="0.6")
        ax.text(1.0, usual, f" {usual:g}", transform=ax.get_yaxis_transform())
    if finite.any():
        found = float(np.percentile(values[finite], 90))
        ax.axhline(found, color="tab:orange", label=f"90th percentile {found:.3g}")
    if limit is not None:
        label = f"global_clipnorm {limit:g}"
        ax.axhline(limit, ls="--", color="tab:red", label=label)
    if np.any(values[finite] > 0):
        ax.set_yscale("log")
    ax.set(
        xlabel="batch",
        ylabel="global norm of the gradient",
        title="Gradients before clipping",
    )
    ax.legend(fontsize="small")


def layers(ax: Any, epochs: list[dict[str, float]], kind: str) -> None:
    """One line for each layer over the epochs."""
    prefix = _PREFIX[kind]
    names = list(dict.fromkeys(n for e in epochs for n in e))
    numbers = np.arange(1, len(epochs) + 1)
    for name in names:
        if not name.startswith(prefix):
            continue
        values = [epoch.get(name, np.nan) for epoch in epochs]
        ax.plot(numbers, values, ".-", label=name.removeprefix(prefix))
    if kind == "ratios":
        ax.axhline(1e-3, ls=":", color="0.6")
    if ax.lines and any(np.any(line.get_ydata() > 0) for line in ax.lines):
        ax.set_yscale("log")
    ax.set(xlabel="epoch", ylabel=_LABEL[kind], title=f"Layers: {_LABEL[kind]}")
    ax.legend(fontsize="x-small")
