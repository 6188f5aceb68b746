"""From a policy to batches: collector, replay, update counter, episodes, seeds."""
