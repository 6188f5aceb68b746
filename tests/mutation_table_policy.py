"""More edits of `tests/mutations.py`: the policy gradient in phi; rows as in `mutation_table.py`."""

from __future__ import annotations

POLICY_GRADIENT: tuple[tuple[str, str, str, str], ...] = (
    (
        "7 the weight and advantage of g carry gradient",
        "with torch.no_grad():\n        weight = torch.exp",
        "if True:\n        weight = torch.exp",
        "acer/test_policy_gradient.py -k trap_7",
    ),
    (
        "14 the ratio exponentiated before it is truncated",
        "1.0 - truncation * torch.exp(-log_rho_sampled)",
        "(torch.exp(20.0 * log_rho_sampled) - truncation) / torch.exp(20.0 * log_rho_sampled)",
        "acer/test_policy_gradient.py -k trap_14",
    ),
    (
        "no correction term",
        "return g + correction.unsqueeze(-1) * phi_gradient_sampled",
        "return g",
        "acer/test_properties.py -k unbiased_at_every_c",
    ),
    (
        "the correction weighted by the replayed ratio",
        "correction_weight(log_rho_sampled, truncation) * advantage",
        "correction_weight(log_rho, truncation) * advantage",
        "acer/test_properties.py -k unbiased_at_every_c",
    ),
    (
        "the correction along the path without the slope of its weight",
        " + of_weight.unsqueeze(-1) * log_rho_gradient",
        "",
        "acer/test_properties.py -k along_the_path",
    ),
    (
        "the slope of the correction's weight not c/rho'",
        "advantage_sampled * (1.0 - weight)",
        "advantage_sampled * weight",
        "acer/test_policy_gradient.py -k slope_of_the_correction",
    ),
    (
        "the policy gradient truncated at 1",
        ".clamp(max=truncation)",
        ".clamp(max=1.0)",
        "acer/test_policy_gradient.py -k truncated",
    ),
)
