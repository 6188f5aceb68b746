"""Every logged number: its name and its formula."""

from __future__ import annotations

OTHER_FORMULAS = {
    "rollout/ep_return": "mean return of the last 20 training episodes, with exploration noise",
    "time/sps": "environment steps per second of training",
    "time/updates": "updates of the learner so far",
    "time/seconds": "seconds of training so far, evaluations not counted",
}
"""What the metrics that do not come from the learner mean."""

FORMULAS = {
    "loss/q": "mean of 1/2 (Qret - Q~)^2, summed over critics",
    "loss/v": "mean of 1/2 (V_target - V)^2, summed over critics",
    "acer/rho_median": "median of rho = pi(a|x) / mu(a|x) over replayed states",
    "acer/trace_mean": "mean of the trace lambda min(1, rho^(1/d)); of the weight of a state for estimator tis and a3c",
    "acer/correction_active": "share of states with rho' > c",
    "acer/trust_region_active": "share of states where the projection changed g",
    "acer/kl_to_average": "mean of KL[average || current] in nats",
    "acer/std": "mean of the pre-squash standard deviation",
    "acer/entropy": "mean entropy of the squashed action, nats per joint",
    "acer/temperature": "weight of the entropy in g",
    "acer/advantage_scale": "running root mean square of Qopc - V, in units of reward",
    "acer/v_mean": "mean of V(x) over replayed states",
    "grad/norm_policy": "Euclidean norm of the actor's gradient",
    "grad/norm_critic": "Euclidean norm of the critics' gradient",
}
"""Metric name -> formula; `summarise` returns exactly these."""
