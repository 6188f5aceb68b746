"""Values that JSON lacks, written as strings."""

from __future__ import annotations

import math
from typing import Any

import numpy as np


def json_ready(value: Any) -> Any:  # noqa: ANN401 (any nesting of values)
    """Return `value` with arrays as lists and numbers that JSON lacks as the strings "nan", "inf" and "-inf".

    >>> json_ready({"limits": np.array([1.0, float("inf")])})
    {'limits': [1.0, 'inf']}
    """
    if isinstance(value, dict):
        return {name: json_ready(item) for name, item in value.items()}
    if isinstance(value, np.ndarray):
        return json_ready(value.tolist())
    if isinstance(value, (list, tuple)):
        return [json_ready(item) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
