"""The end of a training run: export the exported policy, evaluate the exported file, film it, and report."""

from __future__ import annotations

import json
from pathlib import Path

from acer_robot.deployment.export import export_policy
from acer_robot.errors import InputError
from acer_robot.experience.seeds import independent_seeds
from acer_robot.reporting.report import write_report
from acer_robot.reporting.video import render_in_subprocess
from acer_robot.reporting.wandb_artifact import FILES
from acer_robot.run_folder.checkpoints import load_run
from acer_robot.run_folder.layout import FILM
from acer_robot.run_folder.tables import best_evaluation, read_table
from acer_robot.schema import TrainConfig
from acer_robot.shell import typed

HINT_THRESHOLD = 0.1
"""Print a hint if the exported policy scores more than 10 % below the best evaluation."""


def hand_over(run_dir: Path, config: TrainConfig) -> list[Path]:
    """Leave an exported policy, its score, a video and a report in the run folder; return the files.

    A video that cannot be made costs the video alone: the report and a printed line say why.

    Raises:
        InputError: if the export fails one of its checks; the report is written all the same.
    """
    seed = independent_seeds(config.seed).score
    try:
        policy = export_policy(load_run(run_dir), run_dir / "export", config.eval_episodes, seed)
    except InputError:
        write_report(run_dir, "there is no exported policy")
        raise
    score = json.loads((policy.parent / "evaluation.json").read_text())
    print(
        f"exported and verified {policy}: return {score['return_mean']:.1f} +- {score['return_std']:.1f} "
        f"over {score['episodes']} episodes",
        flush=True,
    )
    if hint := better_one(run_dir, score["return_mean"]):
        print(hint, flush=True)
    video, no_video = run_dir / FILM, "the run had video=false"
    video.unlink(missing_ok=True)  # that of the policy before, where the run was resumed
    if config.video:
        video.parent.mkdir(exist_ok=True)
        no_video = render_in_subprocess(policy, video, seed) or ""
        print(f"no video: {no_video}" if no_video else f"video: {video}", flush=True)
    report = write_report(run_dir, no_video)
    print(f"report: {report}", flush=True)
    exported = [policy.parent / name for name in FILES]
    return [file for file in (*exported, report, video) if file.exists()]


def better_one(run_dir: Path, exported_return: float) -> str:
    """Return what to say where the run once had a much better policy than the one it ends with, else nothing."""
    evaluations = read_table(run_dir / "eval.csv")
    best = best_evaluation(evaluations)
    if (
        best is None
        or best[1] == evaluations["step"][-1]
        or not exported_return < best[0] - HINT_THRESHOLD * abs(best[0])
    ):
        return ""
    return (
        f"at step {best[1]:,} an evaluation had {best[0]:.1f}, well above that; to export the policy of that moment: "
        f"acer-export {typed('run', run_dir)} checkpoint=best"
    )
