"""How bad a finding is."""

# From what is worth a thought to what fails, or trains something else than is meant.
SEVERITIES = ("info", "warning", "error")


def rank(severity: str) -> int:
    """The place of a severity among all, from the mildest on."""
    return SEVERITIES.index(severity) if severity in SEVERITIES else 0
