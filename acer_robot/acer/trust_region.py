"""The trust region: a closed-form projection of each state's policy gradient."""

from __future__ import annotations

import torch
from torch import Tensor

from acer_robot.acer.shapes import require_same_shape


def trust_region_projection(g: Tensor, k: Tensor, delta: float) -> Tensor:
    """Return z, the nearest direction to g along which KL[average || current] grows at a rate of delta at most.

    `z = argmin_z |g - z|^2 / 2  subject to  k . z <= delta`, solved by `z = g - max(0, (k . g - delta) / |k|^2) k`

    The projection is per row. Averaging g or k over states first would scale delta by the batch size, so average
    *after* it. Mean and log std are one joint row. Where k = 0 the policies agree to first order, the constraint is
    void and z = g.

    Args:
        g: policy gradient [.., P].
        k: grad_phi KL[average || current] [.., P].
        delta: bound on the first-order rate of the divergence, >= 0; it is not a radius in KL.

    Returns:
        [.., P] projected gradients; move theta along `(d phi / d theta)^T z`, that is `phi.backward(-z)`.

    Raises:
        ValueError: if the shapes differ or delta is negative or NaN.

    Source: Wang et al. 2017, eq. 11 and 12.

    >>> trust_region_projection(torch.tensor([[3.0, 1.0]]), torch.tensor([[2.0, 0.0]]), delta=1.0)
    tensor([[0.5000, 1.0000]])
    """
    require_same_shape(g=g, k=k)
    if not delta >= 0.0:
        raise ValueError(f"expected delta >= 0, got {delta}")
    with torch.no_grad():
        squared_norm = k.square().sum(-1, keepdim=True)
        excess = torch.relu((k * g).sum(-1, keepdim=True) - delta)
        scale = torch.where(squared_norm > 0.0, excess / squared_norm, torch.zeros_like(excess))
        return g - scale * k
