"""How far the tests go that draw random programs: with ``GRADVIZ_QUICK=1`` a tenth of the way."""

import os

QUICK = bool(os.environ.get("GRADVIZ_QUICK"))


def examples(number):
    """So many, or a tenth."""
    return number // 10 if QUICK else number
