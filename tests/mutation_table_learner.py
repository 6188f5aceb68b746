"""More edits of `tests/mutations.py`: the traps of a whole update; rows as in `mutation_table.py`."""

LOOPS = "learner/test_learner_reference.py -k algorithm_3"

LEARNER: tuple[tuple[str, str, str, str], ...] = (
    ("3 z summed over the batch", "* z).sum(-1).mean()", "* z).sum()", LOOPS),
    (
        "3 z averaged before it reaches phi",
        "(self._rows((mean, log_std)) * z).sum(-1).mean()",
        "(self._rows((mean, log_std)) * z.mean((0, 1))).sum(-1).mean()",
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
        "6 the deployed policy is the trust region's average",
        "self.flat_actor, deployed_alpha_after(config, self.updates))",
        "self.flat_actor, config.alpha)",
        "learner/test_schedules.py",
    ),
    (
        "6 the std's limit begins anew after a checkpoint",
        'self._count(state["updates"])',
        "self._count(0)",
        "learner/test_schedules.py",
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
        "online = estimate(self.critic, x, actions[:2], actions[2:])",
        "online = estimate(self.critic, x, actions[:2], actions[1:])",
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
        "(log_rho, log_rho_sampled), q_opc",
        "(log_rho, log_rho), q_opc",
        LOOPS,
    ),
)

PATHWISE: tuple[tuple[str, str, str, str], ...] = (
    (
        "the correction along the path: the log ratio's slope reversed",
        "return of_mu - of_pi",
        "return of_pi - of_mu",
        "learner/test_pathwise.py -k along_the_path",
    ),
    (
        "pathwise: the squash's slope forgotten",
        "return in_action * squash_slopes(u, actor.squash_kind)[0]",
        "return in_action",
        "learner/test_pathwise.py",
    ),
    (
        "pathwise: the log std moves like the mean",
        "in_u * std * noise + entropy_weight",
        "in_u * noise + entropy_weight",
        "learner/test_pathwise.py",
    ),
    (
        "pathwise: the greater critic in place of the smaller",
        "share - pessimism",
        "share + pessimism",
        "learner/test_pathwise.py",
    ),
)

CRITIC: tuple[tuple[str, str, str, str], ...] = (
    (
        "pathwise: inactive units count",
        "actions.unsqueeze(0)).squeeze(1) > 0.0",
        "actions.unsqueeze(0)).squeeze(1) > -1e9",
        "learner/test_pathwise.py",
    ),
)

CHECKPOINT: tuple[tuple[str, str, str, str], ...] = (
    (
        "6 the deployed policy lost in a checkpoint",
        '_under(modules, "deployed_actor.")',
        '_under(modules, "actor.")',
        "training/test_train.py -k checkpoint_holds",
    ),
)
