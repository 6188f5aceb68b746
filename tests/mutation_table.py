"""The edits of `tests/mutations.py`: file -> (trap, old text, new text, the test that must fail).

The numbers are those of the traps that public implementations of ACER fell into; see docs/the_paper.md. Files are named
as the wheel has them, tests below tests/; `tests/test_mutations.py` checks that each row still fits today's code.
"""

Row = tuple[str, str, str, str]

NORM_K = "squared_norm = k.square().sum(-1, keepdim=True)"
EXCESS = "\n        excess = torch.relu((k * g).sum(-1, keepdim=True)"
ANY_SHAPE = "if len(set(shapes.values())) > 1:"
LOOPS = "learner/test_learner_reference.py -k algorithm_3"

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

POLICY_GRADIENT: tuple[Row, ...] = (
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
    (
        "antithetic samples that are twice the same",
        "torch.cat([noise, -noise])",
        "torch.cat([noise, noise])",
        "acer/test_dueling.py -k opposites",
    ),
)

ENSEMBLE: tuple[Row, ...] = (
    (
        "critics that tie count twice",
        "highest / highest.sum(0, keepdim=True)",
        "highest",
        "learner/test_pathwise.py -k tie",
    ),
    (
        "pathwise: the greater critic in place of the smaller",
        "- pessimism * 0.5 * spread",
        "+ pessimism * 0.5 * spread",
        "learner/test_pathwise.py",
    ),
)

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

BATCH: tuple[Row, ...] = (
    (
        "9 the episode continues across a time limit",
        "continues = ~(self.terminated | self.truncated)",
        "continues = ~self.terminated",
        "acer/test_returns.py -k trap_9_a_time_limit_is_worth",
    ),
)

DEFAULT = "learner/test_learner_default.py"

GRADIENTS: tuple[Row, ...] = (
    (
        "default: the entropy is scaled like the advantages",
        "noise[0], config.squash, temperature)",
        "noise[0], config.squash, temperature / scale)",
        DEFAULT,
    ),
    (
        "default: V's target is of the smaller Q~ and V",
        "q_ret_each, q.detach(), online.v.detach())",
        "q_ret_each, q.detach().amin(0, True).expand_as(q), online.v.detach().amin(0, True).expand_as(q))",
        DEFAULT,
    ),
    (
        "default: the scale is that of before the batch",
        "scale, moment = advantage_scale(config, q_opc - v, moment)",
        "scale, moment = (moment[0] / moment[1]).sqrt(), advantage_scale(config, q_opc - v, moment)[1]",
        DEFAULT,
    ),
    (
        "the advantage's scale is 0 where it is not used",
        "return torch.ones_like(moment[0]), moment\n",
        "return torch.ones_like(moment[0]), torch.zeros_like(moment)\n",
        "learner/test_learner.py -k papers_numbers",
    ),
    (
        "priorities: the smaller error of two critics",
        ".abs().amax(0)",
        ".abs().amin(0)",
        "learner/test_learner.py -k further_off",
    ),
    ("3 z summed over the batch", "* z).sum(-1).mean()", "* z).sum()", LOOPS),
    (
        "3 z averaged before it reaches phi",
        "(phi_rows(config, (mean, log_std)) * z).sum(-1).mean()",
        "(phi_rows(config, (mean, log_std)) * z.mean((0, 1))).sum(-1).mean()",
        LOOPS,
    ),
    (
        "3 delta spread over the batch",
        "acer.trust_region_projection(g, k, config.delta)",
        "acer.trust_region_projection(g, k, config.delta / v.numel())",
        "learner/test_learner_reference.py -k trap_3",
    ),
    (
        "5 average and current policy exchanged in k",
        "gaussian_kl_gradient(*phi_average, *phi)",
        "gaussian_kl_gradient(*phi, *phi_average)",
        LOOPS,
    ),
    (
        "7 the critic's target carries gradient",
        "acer.value_target(log_rho.expand_as(q), q_ret_each, q.detach(), online.v.detach())",
        "torch.exp(log_rho.clamp(max=0.0)) * (q_ret_each - q) + online.v.detach()",
        LOOPS,
    ),
    (
        "7 the critic trains the actor",
        "phi: Phi = (mean.detach(), log_std.detach())",
        "phi: Phi = (mean, log_std)",
        "learner/test_learner_reference.py",
    ),
    (
        "9 a time limit discounts like a terminal",
        "(~batch.terminated).to(",
        "(~(batch.terminated | batch.truncated)).to(",
        LOOPS,
    ),
    (
        "9 the next row as successor, reset or not",
        "torch.stack([batch.observations, batch.next_observations])",
        "torch.stack([batch.observations, batch.observations.roll(-1, 0)])",
        LOOPS,
    ),
    (
        "10 ratio of the squashed action",
        "log_ratios(drawn[:2], phi, batch)",
        "log_ratios(actions[:2], phi, batch)",
        "learner/test_learner_reference.py -k trap_10",
    ),
    (
        "13 the sampled action among the dueling samples",
        "online = estimate(networks.critic, x, actions[:2], actions[2:], ",
        "online = estimate(networks.critic, x, actions[:2], actions[1:], ",
        LOOPS,
    ),
    ("the action before for the successor", "actions.roll(-1, dims=1)", "actions.roll(1, dims=1)", LOOPS),
    ("Q~ of the successor for that of the state", "next_q.roll(1, dims=0)", "next_q", LOOPS),
    (
        "Qret in place of Qopc in the policy gradient",
        "return q_ret, acer.off_policy_returns(*arguments, torch.ones_like(traces))",
        "return q_ret, q_ret",
        LOOPS,
    ),
    (
        "rho of the replayed action for both",
        "score, score_sampled, log_rho, log_rho_sampled, advantage",
        "score, score_sampled, log_rho, log_rho, advantage",
        LOOPS,
    ),
    (
        "update: waits for the device",
        "x, next_x = networks.normalizer(",
        "batch.rewards.sum().item(); x, next_x = networks.normalizer(",
        "learner/test_learner.py -k never_asks",
    ),
    (
        "update: the temperature has the wrong sign",
        "return entropy.log_temperature * (seen",
        "return -entropy.log_temperature * (seen",
        "learner/test_learner.py -k temperature",
    ),
    (
        "12 delta depends on the reward's scale",
        "if not config.advantage_scaling:",
        "if True:",
        "learner/test_learner.py -k free_of_the_reward_scale",
    ),
    (
        "the correction along the path: the log ratio's slope reversed",
        "return of_mu - of_pi",
        "return of_pi - of_mu",
        "learner/test_pathwise.py -k along_the_path",
    ),
    (
        "pathwise: the squash's slope forgotten",
        "return in_action * acer.squash_slopes(u, networks.actor.squash_kind)[0]",
        "return in_action",
        "learner/test_pathwise.py",
    ),
    (
        "embedding: the slope does not go through g",
        "in_action = embedding.action_gradient(part, networks.actor.squash(u), in_action)",
        "in_action = in_action[..., : u.shape[-1]]",
        "learner/test_embedding.py -k slope_of_q",
    ),
    (
        "embedding: the successor's embedding carries gradient",
        "    with torch.no_grad():\n        next_z",
        "    if True:\n        next_z",
        "learner/test_embedding.py -k successor_is_a_constant",
    ),
    (
        "embedding: the returns read the critic's copy",
        "critic, embedding = networks.bootstrap_critic, networks.bootstrap_embedding",
        "critic, embedding = networks.bootstrap_critic, networks.critic_embedding",
        "learner/test_embedding.py -k copy_of_their_critic",
    ),
    (
        "pathwise: the log std moves like the mean",
        "in_u * std * noise + entropy_weight",
        "in_u * noise + entropy_weight",
        "learner/test_pathwise.py",
    ),
)

LEARNER: tuple[Row, ...] = (
    (
        "8 statistics of mu broadcast over the batch",
        "        check_shapes(batch)\n",
        "",
        "learner/test_learner.py -k wrong_shapes",
    ),
    (
        "antithetic: an action of the pair in place of a'",
        "torch.cat([noise[:1], acer.with_opposites(noise[1:])])",
        "torch.cat([noise[1:2], acer.with_opposites(noise[1:])])",
        "learner/test_learner.py -k antithetic_update",
    ),
    (
        "the policy learns in each update, whatever policy_every says",
        "if self.updates % config.policy_every != 0:",
        "if False:",
        "learner/test_learner.py -k every_third",
    ),
    (
        "6 the average policy never updated",
        "self.flat_average.average_towards(self.flat_actor, config.alpha)",
        "pass",
        "learner/test_learner_reference.py -k trap_6",
    ),
    (
        "6 the average policy moves by alpha, not 1 - alpha",
        "average_towards(self.flat_actor, config.alpha)",
        "average_towards(self.flat_actor, 1.0 - config.alpha)",
        "learner/test_learner_reference.py -k trap_6",
    ),
    (
        "6 the average policy not initialised from the actor",
        "self.average_actor = copy.deepcopy(self.actor)",
        "self.average_actor = build_actor(config, observation_size, action_size)",
        "learner/test_learner_reference.py -k trap_6",
    ),
    (
        "6 the average policy gets gradients",
        "self.average_actor = copy.deepcopy(self.actor).requires_grad_(False)",
        "self.average_actor = copy.deepcopy(self.actor)",
        "learner/test_learner_reference.py -k trap_6",
    ),
    (
        "6 the average policy lost in a checkpoint",
        'self.load_state_dict(state["modules"])',
        'kept = {k: v for k, v in state["modules"].items() if "average" not in k}\n'
        "        self.load_state_dict(kept, strict=False)",
        "learner/test_learner_reference.py -k trap_6",
    ),
    (
        "6 the average policy keeps the std's first limit",
        "for actor in (self.actor, self.average_actor, self.deployed_actor):",
        "for actor in (self.actor, self.deployed_actor):",
        "learner/test_schedules.py",
    ),
    (
        "6 the exported policy is the trust region's average",
        "self.flat_actor, exported_alpha_after(config, self.updates))",
        "self.flat_actor, config.alpha)",
        "learner/test_schedules.py",
    ),
    (
        "6 the std's limit begins anew after a checkpoint",
        'self._count(state["updates"])',
        "self._count(0)",
        "learner/test_schedules.py",
    ),
)

BASELINES: tuple[Row, ...] = (
    (
        "baselines: TIS without its weights",
        'config.estimator == "tis"',
        'config.estimator == "none"',
        "learner/test_baselines.py -k their_loops",
    ),
    (
        "baselines: the loss of V not weighted",
        "(weights * (returns - online_v).square())",
        "(returns - online_v).square()",
        "learner/test_baselines.py -k their_loops",
    ),
    (
        "baselines: the policy gradient not weighted",
        "advantage = weights * (returns - v)",
        "advantage = returns - v",
        "learner/test_baselines.py -k their_loops",
    ),
)

CRITIC: tuple[Row, ...] = (
    (
        "pathwise: inactive units count",
        "actions.unsqueeze(0)).squeeze(1) > 0.0",
        "actions.unsqueeze(0)).squeeze(1) > -1e9",
        "learner/test_pathwise.py",
    ),
    (
        "priorities: half squares in place of Huber's loss",
        "if self._huber:",
        "if False:",
        "learner/test_learner.py -k linear_above",
    ),
)

PRIORITIES: tuple[Row, ...] = (
    (
        "priorities: a segment begins in the newest rows",
        "complete = max(first, end - self._segment_length + 1)",
        "complete = end",
        "experience/test_priorities.py -k crosses_the_head",
    ),
    (
        "priorities: errors below 1 count as they are",
        ".clamp(HUBER_LIMIT, _LARGEST_ERROR)",
        "",
        "experience/test_priorities.py -k in_proportion",
    ),
    (
        "priorities: the root of the mean error",
        "errors.pow(self._exponent).mean(0)",
        "errors.mean(0).pow(self._exponent)",
        "experience/test_priorities.py -k after_the_root",
    ),
    (
        "priorities: new segments get 1",
        "self._largest = torch.maximum(self._largest, priorities.max())",
        "pass",
        "experience/test_priorities.py -k largest_priority",
    ),
    (
        "priorities: a sum is not renewed",
        "self._sum_again(self._drawn // _WIDTH)",
        "pass",
        "experience/test_priorities.py -k large_ring",
    ),
    (
        "priorities: an overwritten row keeps its own",
        "self._set(max(begin, complete), end, torch.zeros_like(self._largest))",
        "pass",
        "experience/test_priorities.py -k overwritten",
    ),
    (
        "priorities: blocks forgotten",
        "value * self._can_begin[first:last]",
        "value",
        "experience/test_priorities.py -k crosses_a_block",
    ),
    (
        "priorities: the smaller of two errors counts",
        '"amax", include_self=False)',
        '"amin", include_self=False)',
        "experience/test_priorities.py -k drawn_twice",
    ),
)

REPLAY: tuple[Row, ...] = (
    (
        "priorities: restored at another place",
        'self._head = 0, state.get("oldest_place", 0) % self.capacity',
        "self._head = 0, 0",
        "experience/test_priorities.py -k restored",
    ),
    (
        "priorities: not restored",
        'if self._priorities is not None and "priorities" in state:',
        "if False:",
        "experience/test_priorities.py -k restored",
    ),
    (
        "replay: segments cross the ring's head",
        "return (self._head - self.size) % self.capacity",
        "return 0",
        "experience/test_replay.py -k consecutive",
    ),
    (
        "replay: the newest start is never drawn",
        "self._uniform(self.size - self.segment_length + 1, segments)",
        "self._uniform(self.size - self.segment_length, segments)",
        "experience/test_replay.py -k consecutive",
    ),
    (
        "replay: environments mixed within a segment",
        "rows * self.num_envs + column",
        "rows * self.num_envs + (column + self._offsets) % self.num_envs",
        "experience/test_replay.py -k consecutive",
    ),
    (
        "replay: terminated and truncated exchanged",
        "terminated=(ends & _TERMINATED) > 0",
        "terminated=(ends & _TRUNCATED) > 0",
        "experience/test_replay.py -k every_field",
    ),
    (
        "replay: the latest segment ends a step early",
        "self._head - self.segment_length)",
        "self._head - self.segment_length - 1)",
        "experience/test_replay.py -k latest_segments",
    ),
    (
        "replay: memory not checked",
        "needed, free, f",
        "0, free, f",
        "experience/test_replay.py -k larger_than_the_memory",
    ),
    (
        "replay: no seed",
        "torch.Generator(device).manual_seed(seed)",
        "torch.Generator(device)",
        "experience/test_replay.py -k same_seed",
    ),
    (
        "replay: an episode runs on where the environments were made anew",
        "            self._ends[self._head - 1] |= _TRUNCATED\n",
        "            pass\n",
        "experience/test_replay.py -k cut_ends",
    ),
    (
        "replay: the successor of the newest row is that of an old one",
        "torch.where(is_newest, self._newest[column], successors)",
        "successors",
        "experience/test_successors.py -k whole_steps",
    ),
)

NORMALIZER: tuple[Row, ...] = (
    (
        "statistics: a spike counts in full",
        "given.clamp(self.mean - limit, self.mean + limit).clamp(-MOST, MOST)",
        "given",
        "training/test_divergence.py -k one_spike",
    ),
)

STABILITY: tuple[Row, ...] = (
    (
        "unstable steps not counted",
        "if bad:",
        "if False:",
        "training/test_divergence.py -k unstable_simulation",
    ),
)

COLLECTOR: tuple[Row, ...] = (
    (
        "9 the observation after the reset stored as successor",
        "result.next_observations.to(self.device)",
        "result.observations.to(self.device)",
        "experience/test_collector.py -k true_successors",
    ),
    (
        "10 the squashed action stored",
        "                actions,\n",
        "                self.policy.actor.squash(actions),\n",
        "experience/test_collector.py -k trap_10",
    ),
    (
        "10 mu's std not stored",
        "                log_std,\n",
        "                torch.zeros_like(log_std),\n",
        "experience/test_collector.py -k trap_10",
    ),
    (
        "collector: returns run on after an episode's end",
        "self._returns[ended] = 0.0",
        "pass",
        "experience/test_collector.py -k true_successors",
    ),
)

UPDATE_COUNTER: tuple[Row, ...] = (
    (
        "on policy: only the first environments' segments are used",
        "range(0, replay.num_envs, options.segments)",
        "range(0, 1, options.segments)",
        "training/test_train.py -k on_policy",
    ),
    (
        "on policy: a segment is used again at every step",
        "transitions % (options.segment_length * replay.num_envs) == 0",
        "transitions >= options.segment_length * replay.num_envs",
        "training/test_train.py -k on_policy",
    ),
)

CHECKPOINTS: tuple[Row, ...] = (
    (
        "6 the exported policy lost in a checkpoint",
        '_under(modules, "deployed_actor.")',
        '_under(modules, "actor.")',
        "training/test_train.py -k checkpoint_holds",
    ),
)

REFRESHED = "self.flat_of_target.values.copy_(self.flat_of_critic.values)\n"
EMBEDDINGS: tuple[Row, ...] = (
    (
        "embedding: the critic's copy refreshed before the target's",
        f"            {REFRESHED}            self.flat_of_critic.values.copy_(self.flat_learnt.values)",
        f"            self.flat_of_critic.values.copy_(self.flat_learnt.values)\n            {REFRESHED}",
        "learner/test_embedding.py -k copies_change",
    ),
    (
        "embedding: the copies refreshed after each update",
        "elif updates % self._refresh == 0:",
        "else:",
        "learner/test_embedding.py -k copies_change",
    ),
)

EMBEDDING: tuple[Row, ...] = (
    (
        "embedding: f not normalised",
        "return y / y.abs().mean(-1, keepdim=True).clamp_min(1e-8)",
        "return y",
        "policies/test_embedding.py -k mean_absolute",
    ),
    (
        "embedding: critics train f and g",
        "    @torch.no_grad()\n    def critic_inputs(",
        "    def critic_inputs(",
        "learner/test_embedding.py -k no_gradient",
    ),
    (
        "embedding: the slope of ELU forgotten",
        "((in_e @ self.g_out.weight) * elu_slope)",
        "(in_e @ self.g_out.weight)",
        "policies/test_embedding.py -k goes_through_g",
    ),
)

FAILED: tuple[Row, ...] = (
    (
        "a step of a world that broke down is stored",
        "rows = _chosen(failed, self._consecutive(self._head - 1, 1), rows)",
        "pass",
        "experience/test_replay.py -k failed_step",
    ),
    (
        "the episode of a world that broke down seems to go on",
        "self._ends[self._head - 1] |= failed * _TRUNCATED",
        "pass",
        "experience/test_replay.py -k failed_step",
    ),
)

WORLDS: tuple[Row, ...] = (
    (
        "tensor tasks: the successor is the first observation of the next episode",
        "successors, rewards, terminated,",
        "self._observations.clone(), rewards, terminated,",
        "tasks/test_tensor_worlds.py -k successor",
    ),
    (
        "tensor tasks: the memory of an episode runs on into the next",
        "_chosen(worlds, values, memory[name]) if name in memory",
        "memory[name] if name in memory",
        "tasks/test_tensor_worlds.py -k memory",
    ),
    (
        "tensor tasks: the time limit does not cut episodes off",
        "truncated |= self._elapsed >= task.time_limit",
        "pass",
        "tasks/test_tensor_worlds.py -k memory",
    ),
    (
        "tensor tasks: a world that broke down ends as if its task had",
        "terminated &= ~failed",
        "terminated |= failed",
        "tasks/test_tensor_worlds.py -k failed_world",
    ),
)

BATCH_SIMULATOR: tuple[Row, ...] = (
    (
        "tensor tasks: forces of contacts are those of the step before",
        "self._mujoco.mj_rnePostConstraint(self.model, self._one)",
        "pass",
        "tasks/test_tensor_gymnasium.py -k whole_steps",
    ),
    (
        "tensor tasks: the constants of a randomised model are not computed again",
        "if model_fields:",
        "if False:",
        "tasks/test_tensor_worlds.py -k models",
    ),
)

EXPORTED: tuple[Row, ...] = (
    (
        "exported: a NaN in the state reaches the command",
        "last = state.nan_to_num(0.0).clamp(",
        "last = state.clamp(",
        "deployment/test_deploy_formats.py -k any_state",
    ),
    (
        "exported: the next state is the one before",
        "return (self.rest + move).clamp(self.low, self.high), move",
        "return (self.rest + move).clamp(self.low, self.high), last",
        "deployment/test_deploy_formats.py -k goes_in",
    ),
)

SAFETY: tuple[Row, ...] = (
    (
        "safety: running forgets the slew limit",
        "step = np.where(np.isfinite(limits.slew_step), limits.slew_step, opening)",
        "step = opening",
        "deployment/test_safety.py -k slew_limit",
    ),
    (
        "safety: the ramp-in starts from rest, wherever the robot is",
        "    if measured is None:\n        return limits.rest\n",
        "    if True:\n        return limits.rest\n",
        "deployment/test_safety.py -k first_command",
    ),
    (
        "safety: the ramp-in does not open slowly",
        "if done < limits.ramp_ticks:\n",
        "if False:\n",
        "deployment/test_safety.py -k first_command",
    ),
    (
        "safety: a repeated observation counts as new",
        "inputs.stamp > state.newest",
        "inputs.stamp >= state.newest",
        "deployment/test_safety.py -k repeated",
    ),
    (
        "safety: a stamp from the future is taken",
        "and inputs.stamp <= inputs.now",
        "and inputs.stamp <= inputs.now + 1.0",
        "deployment/test_safety.py -k future",
    ),
    (
        "safety: an old observation never stops",
        "inputs.now - state.newest > limits.age_limit",
        "inputs.now - state.newest > 1e9",
        "deployment/test_safety.py -k each_cause",
    ),
    (
        "safety: a second stop ramps on",
        "if inputs.stops >= 2:",
        "if inputs.stops >= 3:",
        "deployment/test_safety.py -k second_stop",
    ),
    (
        "safety: an emergency goes on with the ramp",
        "    if inputs.emergency:\n        state = dataclasses.replace(state, mode=STOPPED",
        "    if False:\n        state = dataclasses.replace(state, mode=STOPPED",
        "deployment/test_safety.py -k emergency",
    ),
    (
        "safety: the ramp ends at zero, not at rest",
        "step = np.clip(limits.rest, state.last",
        "step = np.clip(0.0 * limits.rest, state.last",
        "deployment/test_safety.py -k within_the_ramp",
    ),
)

WORKERS: tuple[Row, ...] = (
    (
        "workers: a segment that comes a second time is stored",
        "if (segment.incarnation, segment.sequence) != due:",
        "if segment.incarnation != due[0]:",
        "distributed/test_remote_collector.py -k doubled_or_foreign",
    ),
    (
        "workers: a segment of a worker that was replaced is stored",
        "if (segment.incarnation, segment.sequence) != due:",
        "if segment.sequence != due[1]:",
        "distributed/test_remote_collector.py -k doubled_or_foreign",
    ),
    (
        "workers: a torn segment is stored",
        "if segment.rows.shape != self._shape:",
        "if segment.rows.shape[1:] != self._shape[1:]:",
        "distributed/test_remote_collector.py -k torn",
    ),
    (
        "workers: staleness has no bound",
        "return [pair for pair in open_ if pair[1] is segments[0]]",
        "return open_",
        "distributed/test_remote_collector.py -k slowest",
    ),
    (
        "workers: staleness counts one segment alone",
        "+ (before + 1) * self._updates",
        "+ self._updates",
        "distributed/test_remote_collector.py -k staleness_is_bounded",
    ),
    (
        "workers: statistics miss what workers saw",
        "self.outliers += self._learner.normalizer.update(steps.observations.flatten(0, 1)).sum(0)",
        "self.outliers += self._learner.normalizer.update(steps.observations[0]).sum(0)",
        "distributed/test_remote_collector.py -k statistics_are_those_of_all",
    ),
    (
        "workers: a worker collects as far ahead as it likes",
        "while slot.is_ready and len(slot.asked) < self._options.ahead:",
        "while slot.is_ready and len(slot.asked) < 9:",
        "distributed/test_remote_collector.py -k requests_are_bounded",
    ),
    (
        "workers: new weights do not go out",
        "or published[0] != updates",
        "",
        "distributed/test_remote_collector.py -k weights_go_out",
    ),
)
BLOCKS: tuple[Row, ...] = (
    (
        "replay: a segment runs from one worker's rows into another's",
        "self._uniform(self._block - self.segment_length + 1, segments)",
        "self._uniform(self._block, segments)",
        "experience/test_replay.py -k border_of_a_block",
    ),
)
SMOOTHNESS: tuple[Row, ...] = (
    (
        "smoothness: the observation nearby is left out",
        "torch.stack([next_x, x + config.smoothness_noise * noise])",
        "torch.stack([next_x, next_x])",
        "learner/test_smoothness.py -k penalty_alone",
    ),
)

SUCCESSORS: tuple[Row, ...] = (
    (
        "replay: slots of rows that were overwritten are not freed",
        "        self._count -= freed\n",
        "        pass\n",
        "experience/test_successors.py -k episodes_take_a_slot",
    ),
    (
        "replay: slots that grew are not moved",
        "moved = (self._slots - 1 - self._first.int()) % old + 1",
        "moved = self._slots",
        "experience/test_successors.py -k whole_steps",
    ),
)
INITIAL: tuple[Row, ...] = (
    (
        "init_from: the critics come without the embedding that they read",
        '    "embeddings.",\n',
        "",
        "training/test_resume.py -k takes_the_embedding",
    ),
)
ROLLBACK: tuple[Row, ...] = (
    (
        "rollback: the former episodes go on in the replay",
        "            self.replay.cut()\n        self.reseed(attempt)",
        "        self.reseed(attempt)",
        "training/test_divergence.py -k rollback_ends",
    ),
    (
        "rollback: the same random numbers again",
        "        self.reseed(attempt)\n",
        "",
        "training/test_divergence.py -k draws_other",
    ),
)

MUTATIONS = {
    "acer_robot/acer/returns.py": RETURNS,
    "acer_robot/acer/policy_gradient.py": POLICY_GRADIENT,
    "acer_robot/acer/trust_region.py": TRUST_REGION,
    "acer_robot/acer/gaussian.py": GAUSSIAN,
    "acer_robot/acer/dueling.py": DUELING,
    "acer_robot/acer/ensemble.py": ENSEMBLE,
    "acer_robot/acer/shapes.py": SHAPES,
    "acer_robot/learner/batch.py": BATCH,
    "acer_robot/learner/gradients.py": GRADIENTS + SMOOTHNESS,
    "acer_robot/learner/learner.py": LEARNER,
    "acer_robot/learner/embeddings.py": EMBEDDINGS,
    "acer_robot/learner/baselines.py": BASELINES,
    "acer_robot/policies/critic.py": CRITIC,
    "acer_robot/policies/embedding.py": EMBEDDING,
    "acer_robot/tasks/tensor/vector_task.py": WORLDS,
    "acer_robot/tasks/tensor/batch_simulator.py": BATCH_SIMULATOR,
    "acer_robot/experience/successors.py": SUCCESSORS,
    "acer_robot/experience/priorities.py": PRIORITIES,
    "acer_robot/experience/replay.py": REPLAY + FAILED + BLOCKS,
    "acer_robot/distributed/remote_collector.py": WORKERS,
    "acer_robot/experience/collector.py": COLLECTOR,
    "acer_robot/experience/update_counter.py": UPDATE_COUNTER,
    "acer_robot/run_folder/checkpoints.py": CHECKPOINTS,
    "acer_robot/deployment/safety.py": SAFETY,
    "acer_robot/policies/exported/module.py": EXPORTED,
    "acer_robot/policies/normalizer.py": NORMALIZER,
    "acer_robot/tasks/cpu/stability.py": STABILITY,
    "acer_robot/training/initial.py": INITIAL,
    "acer_robot/training/parts.py": ROLLBACK,
}
