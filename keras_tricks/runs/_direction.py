"""Which way a metric is better."""

_LOW = ("loss", "err", "mse", "mae", "mape", "msle", "entropy", "perplexity", "kld")


def is_low_good(metric: str) -> bool:
    """Whether a metric of this name is one to be made small."""
    return any(word in metric.lower() for word in _LOW)
