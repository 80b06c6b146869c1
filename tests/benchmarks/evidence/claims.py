"""All claims. Their settings were fixed before the first run and stay.

They stand as data in `claims_training.py` and `claims_models.py`. A claim holds where
its verdict is "helps", unless its `holds` says otherwise. Both sides train for the same
epochs on the same rows in batches of the same size, unless `budget` says what is
counted. Who changes a side removes the claim's lines from the results.
"""

from . import claims_models, claims_training

CLAIMS = claims_training.CLAIMS + claims_models.CLAIMS
# So many of a claim's tasks, the first ones, are the quick ones.
QUICK = 3
