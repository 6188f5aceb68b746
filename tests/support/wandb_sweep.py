"""A sweep of the stand-in for a Weights & Biases server: an agent gets one run after the other, then the end."""

import json


class Sweep:
    """Takes a sweep file, and hands out a run for each dictionary of options in `runs`."""

    def __init__(self):
        self.config = ""
        """YAML of the sweep, as `wandb sweep` sent it or a test sets it."""
        self.runs = []
        self._handed_out = 0

    def answer(self, query, variables):
        """Return the answer to a question about the sweep, or None if it is about something else."""
        if "UpsertSweep" in query:
            self.config = variables["config"]
            project = {"id": "p", "name": "x", "entity": {"id": "e", "name": "me"}}
            upserted = {"sweep": {"name": "s", "project": project}, "configValidationWarnings": []}
            return {"data": {"upsertSweep": upserted}}
        if "SweepWithRuns" in query:
            sweep = {"id": "s", "name": "s", "state": "RUNNING", "config": self.config, "runs": {"edges": []}}
            return {"data": {"project": {"sweep": sweep}}}
        if "CreateAgent" in query:
            return {"data": {"createAgent": {"agent": {"id": "agent"}}}}
        if "Heartbeat" in query:
            return {
                "data": {"agentHeartbeat": {"agent": {"id": "agent"}, "commands": self._commands(variables)}}
            }
        return None

    def _commands(self, variables):
        """Return what the agent is to do: nothing while a run is on, then the next run, at last the end."""
        if json.loads(variables["runState"]) != {}:
            return "[]"
        if self._handed_out == len(self.runs):
            return json.dumps([{"type": "exit"}])
        options = self.runs[self._handed_out]
        self._handed_out += 1
        arguments = {name: {"value": value} for name, value in options.items()}
        run = {"type": "run", "run_id": f"run{self._handed_out}", "program": "acer-train", "args": arguments}
        return json.dumps([run])
