"""Shape guards at the boundary of the maths: a silent [N] against [N, 1] broadcast is its commonest bug."""

from __future__ import annotations

from torch import Tensor


def require_same_shape(**tensors: Tensor) -> None:
    """Raise ValueError, naming every tensor and shape, unless all shapes are equal."""
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if len(set(shapes.values())) > 1:
        raise ValueError("expected equal shapes, got " + ", ".join(f"{k} {v}" for k, v in shapes.items()))


def require_rows(rows: Tensor, vectors: Tensor, row_name: str, vector_name: str) -> None:
    """Raise ValueError unless `vectors` has the shape of `rows` with one more axis at the end."""
    if vectors.dim() != rows.dim() + 1 or vectors.shape[:-1] != rows.shape:
        raise ValueError(
            f"expected {vector_name} to be {row_name} with one more axis, "
            f"got {row_name} {tuple(rows.shape)} and {vector_name} {tuple(vectors.shape)}"
        )
