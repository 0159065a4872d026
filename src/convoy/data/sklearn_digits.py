"""The 8 x 8 digits included in scikit-learn: the test part of a UCI set, 17 grey levels, not split into parts.

https://archive.ics.uci.edu/dataset/80/optical+recognition+of+handwritten+digits
"""

from __future__ import annotations

from convoy.data.arrays import Part


def read_digits() -> dict[str, Part]:
    from sklearn.datasets import load_digits

    digits = load_digits()
    return {"train": (digits.images / 16, digits.target, "scikit-learn's digits", "scikit-learn's digits")}
