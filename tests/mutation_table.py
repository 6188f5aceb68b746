"""The edits of `tests/mutations.py`: file -> (trap, old text, new text, the test that must fail).

The numbers are those of the traps that public implementations of ACER fell into; see docs/the_paper.md.
"""

from mutation_table_data import BASELINES, COLLECTOR, REPLAY, SCHEDULE, UPDATE
from mutation_table_learner import CHECKPOINT, CRITIC, LEARNER, PATHWISE
from mutation_table_policy import POLICY_GRADIENT

Row = tuple[str, str, str, str]

NORM_K = "squared_norm = k.square().sum(-1, keepdim=True)"
EXCESS = "\n        excess = torch.relu((k * g).sum(-1, keepdim=True)"
RETURNS: tuple[Row, ...] = (
    (
        "baselines: the product of ratios runs across the end of an episode",
        "continues_t.to(log_rho.dtype) * sums[-1]",
        "sums[-1]",
        "learner/test_baselines.py -k segment_weight",
    ),
    (
        "baselines: the product not truncated at c",
        "largest = min(math.log(truncation), MAX_LOG_RATIO)",
        "largest = MAX_LOG_RATIO",
        "learner/test_baselines.py -k segment_weight",
    ),
    (
        "1 one ratio for the whole batch",
        "return (log_prob - behaviour_log_prob).clamp(",
        "return (log_prob - behaviour_log_prob).mean().expand_as(log_prob).clamp(",
        "acer/test_returns.py -k trap_1_one_ratio",
    ),
    (
        "1 one trace for the whole batch",
        "torch.exp((power * log_rho).clamp(max=0.0))",
        "torch.exp((power * log_rho).clamp(max=0.0)).mean().expand_as(log_rho)",
        "acer/test_returns.py -k trap_1_one_ratio",
    ),
    (
        "2 trace rho^d",
        "1.0 / action_dim if",
        "float(action_dim) if",
        "acer/test_returns.py -k trap_2_the_trace",
    ),
    (
        "2 trace rho^(1/sqrt d)",
        "1.0 / action_dim if",
        "action_dim**-0.5 if",
        "acer/test_returns.py -k trap_2_the_trace",
    ),
    (
        "2 the exponent is no option",
        "if exponent is None else exponent",
        "if exponent is None else 1.0 / action_dim",
        "acer/test_returns.py -k trap_2_the_exponent",
    ),
    (
        "7 returns carry gradient",
        "    with torch.no_grad():\n        # Where step",
        "    if True:\n        # Where step",
        "acer/test_returns.py -k trap_7",
    ),
    (
        "7 the value target carries gradient",
        "    with torch.no_grad():\n        return torch.exp(log_rho",
        "    if True:\n        return torch.exp(log_rho",
        "acer/test_returns.py -k trap_7",
    ),
    (
        "7 the ratio carries gradient",
        "    with torch.no_grad():\n        return (log_prob",
        "    if True:\n        return (log_prob",
        "acer/test_returns.py -k trap_7",
    ),
    (
        "7 the trace carries gradient",
        "    with torch.no_grad():\n        return lambda_",
        "    if True:\n        return lambda_",
        "acer/test_returns.py -k trap_7",
    ),
    (
        "9 a time limit learnt as termination",
        "bootstrap = torch.where(inside, v[1:], next_v[:-1])",
        "bootstrap = torch.where(inside, v[1:], torch.zeros_like(v[1:]))",
        "acer/test_returns.py -k trap_9_a_time_limit_in_the_middle",
    ),
    (
        "9 the reset observation as successor",
        "bootstrap = torch.where(inside, v[1:], next_v[:-1])",
        "bootstrap = v[1:]",
        "acer/test_returns.py -k trap_9_the_reset",
    ),
    (
        "9 the trace runs across an episode's end",
        "carry = torch.where(inside, traces[1:], torch.zeros_like(traces[1:]))",
        "carry = traces[1:]",
        "acer/test_returns.py -k trap_9_the_reset",
    ),
    (
        "14 the log ratio not clamped",
        ".clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO)",
        "",
        "acer/test_returns.py -k trap_14",
    ),
    (
        "the value target truncated at c",
        "torch.exp(log_rho.clamp(max=0.0)) *",
        "torch.exp(log_rho).clamp(max=5.0) *",
        "acer/test_returns.py -k three_truncations",
    ),
    (
        "Qret not corrected by the trace",
        "gain = discounts[:-1] * carry",
        "gain = discounts[:-1]",
        "acer/test_returns.py -k three_steps",
    ),
    (
        "the trace of step t in place of t + 1",
        "carry = torch.where(inside, traces[1:]",
        "carry = torch.where(inside, traces[:-1]",
        "acer/test_returns.py -k three_steps",
    ),
)

TRUST_REGION: tuple[Row, ...] = (
    (
        "3 k.g and |k|^2 taken over the batch",
        NORM_K + EXCESS,
        "squared_norm = k.square().sum()\n        excess = torch.relu((k * g).sum()",
        "acer/test_trust_region.py -k trap_3",
    ),
    (
        "3 g and k averaged first",
        "        squared_norm =",
        "        g, k = (t.mean(0, keepdim=True).expand_as(t) for t in (g, k))\n        squared_norm =",
        "acer/test_trust_region.py -k trap_3",
    ),
    (
        "4 mean and std projected apart",
        NORM_K + EXCESS,
        "def half(t):\n"
        "            sums = t.unflatten(-1, (2, -1)).sum(-1, keepdim=True)\n"
        "            return sums.expand(2, t.shape[-1] // 2).flatten()\n"
        "        squared_norm = half(k.square())\n        excess = torch.relu(half(k * g)",
        "acer/test_trust_region.py -k trap_4",
    ),
    (
        "5 denominator |g|^2",
        "squared_norm = k.square()",
        "squared_norm = g.square()",
        "acer/test_trust_region.py -k trap_5_the_denominator",
    ),
    (
        "5 denominator |k|",
        NORM_K,
        "squared_norm = k.norm(dim=-1, keepdim=True)",
        "acer/test_trust_region.py -k trap_5_the_denominator",
    ),
    (
        "5 k = 0 not guarded",
        "torch.where(squared_norm > 0.0, excess / squared_norm, torch.zeros_like(excess))",
        "excess / squared_norm",
        "acer/test_trust_region.py -k trap_5_without_distance",
    ),
    ("7 z carries gradient", "with torch.no_grad():", "if True:", "acer/test_trust_region.py -k trap_7"),
    (
        "11 the projection insists on two halves",
        "squared_norm = k.square()",
        "g, k = (torch.cat(t.chunk(2, -1)[:1], -1) for t in (g, k))\n        squared_norm = k.square()",
        "acer/test_trust_region.py -k trap_11",
    ),
    (
        "12 delta as a bound on the step's length",
        "        return g - scale * k",
        "        return (g - scale * k) * torch.clamp(delta / g.norm(dim=-1, keepdim=True), max=1.0)",
        "acer/test_trust_region.py -k trap_12",
    ),
)

GAUSSIAN: tuple[Row, ...] = (
    (
        "1 joints averaged, not multiplied",
        "- log_std - _HALF_LOG_2PI).sum(-1)",
        "- log_std - _HALF_LOG_2PI).mean(-1)",
        "acer/test_gaussian.py -k trap_1",
    ),
    (
        "5 reversed KL in k",
        "return distance * inverse_std, k_log_std",
        "k_log_std = torch.expm1(2.0 * (log_std - log_std_avg))\n"
        "        return (mean - mean_avg) * torch.exp(-2.0 * log_std_avg), k_log_std",
        "acer/test_gaussian.py -k trap_5",
    ),
    (
        "5 KL reversed",
        "    log_ratio = log_std_p - log_std_q\n",
        "    mean_p, log_std_p, mean_q, log_std_q = mean_q, log_std_q, mean_p, log_std_p\n"
        "    log_ratio = log_std_p - log_std_q\n",
        "acer/test_gaussian.py -k kl_is_that_of",
    ),
    (
        "7 the score carries gradient",
        "    with torch.no_grad():\n        inverse_std = torch.exp(-log_std)\n        standardised",
        "    if True:\n        inverse_std = torch.exp(-log_std)\n        standardised",
        "acer/test_gaussian.py -k trap_7",
    ),
)

DUELING: tuple[Row, ...] = (
    (
        "8 dueling samples not checked",
        "if sampled_advantages.dim() != v.dim() + 1 or sampled_advantages.shape[1:] != v.shape:",
        "if False:",
        "acer/test_dueling.py -k trap_8",
    ),
    (
        "13 the action itself counted among the samples",
        "sampled_advantages.mean(0)",
        "(sampled_advantages.sum(0) + advantage) / (sampled_advantages.shape[0] + 1)",
        "acer/test_dueling.py -k trap_13",
    ),
    (
        "13 no baseline at all",
        "return v + advantage - sampled_advantages.mean(0)",
        "return v + advantage",
        "acer/test_properties.py -k dueling_estimate_averages",
    ),
)

ANY_SHAPE = "if len(set(shapes.values())) > 1:"
SHAPES: tuple[Row, ...] = (
    ("8 shapes not checked in returns", ANY_SHAPE, "if False:", "acer/test_returns.py -k trap_8"),
    ("8 shapes not checked in g", ANY_SHAPE, "if False:", "acer/test_policy_gradient.py -k trap_8"),
    ("8 shapes not checked in z", ANY_SHAPE, "if False:", "acer/test_trust_region.py -k trap_8"),
    ("8 shapes not checked in densities", ANY_SHAPE, "if False:", "acer/test_gaussian.py -k trap_8"),
    (
        "8 rows not checked",
        "if vectors.dim() != rows.dim() + 1 or vectors.shape[:-1] != rows.shape:",
        "if False:",
        "acer/test_policy_gradient.py -k trap_8_a_score",
    ),
)

TRAJECTORY: tuple[Row, ...] = (
    (
        "9 the episode continues across a time limit",
        "continues = ~(self.terminated | self.truncated)",
        "continues = ~self.terminated",
        "acer/test_returns.py -k trap_9_a_time_limit_is_worth",
    ),
)

MUTATIONS = {
    "acer_robot/acer/returns.py": RETURNS,
    "acer_robot/acer/policy_gradient.py": POLICY_GRADIENT,
    "acer_robot/acer/trust_region.py": TRUST_REGION,
    "acer_robot/acer/gaussian.py": GAUSSIAN,
    "acer_robot/acer/dueling.py": DUELING,
    "acer_robot/acer/shapes.py": SHAPES,
    "acer_robot/trajectory.py": TRAJECTORY,
    "acer_robot/checkpoint.py": CHECKPOINT,
    "acer_robot/learner.py": LEARNER + UPDATE,
    "acer_robot/estimates.py": PATHWISE,
    "acer_robot/policies/critic.py": CRITIC,
    "acer_robot/replay.py": REPLAY,
    "acer_robot/baselines.py": BASELINES,
    "acer_robot/schedule.py": SCHEDULE,
    "acer_robot/collector.py": COLLECTOR,
}
