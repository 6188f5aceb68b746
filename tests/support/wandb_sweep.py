"""A sweep of the stand-in for a Weights & Biases server: each agent gets one run, then the end."""

import json


class Sweep:
    """Hands out one run of the sweep with the YAML text `config` and the options `options`."""

    def __init__(self):
        self.config = ""
        self.options = {}
        self._handed_out = False

    def answer(self, query, variables):
        """Return the answer to a question about the sweep, or None if it is about something else."""
        if "SweepWithRuns" in query:
            sweep = {"id": "s", "name": "s", "state": "RUNNING", "config": self.config, "runs": {"edges": []}}
            return {"data": {"project": {"sweep": sweep}}}
        if "CreateAgent" in query:
            return {"data": {"createAgent": {"agent": {"id": "agent"}}}}
        if "Heartbeat" in query:
            arguments = {name: {"value": value} for name, value in self.options.items()}
            run = {"type": "run", "run_id": "run1", "program": "acer-train", "args": arguments}
            running = json.loads(variables["runState"]) != {}
            commands = ([] if running else [{"type": "exit"}]) if self._handed_out else [run]
            self._handed_out = True
            return {"data": {"agentHeartbeat": {"agent": {"id": "agent"}, "commands": json.dumps(commands)}}}
        return None
