"""Run folders without training: options, evaluations and versions."""

import yaml


def make_run(folder, seed=0, task="Robot-v1", steps=3000, until=None, level=100.0, **options):
    folder.mkdir(parents=True)
    learner = {"lr": options.pop("lr", 0.001)}
    config = {"task": {"suite": "gymnasium", "id": task, "kwargs": {}}, "learner": learner, "steps": steps}
    config |= {
        "seed": seed,
        "run_dir": str(folder),
        "wandb": {"mode": "offline"},
        "threads": seed + 1,
        **options,
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    lines = ["step,seconds,eval/return_mean"]
    lines += [f"{s},{s / 10},{level + s / 100 + seed}" for s in range(1000, (until or steps) + 1, 1000)]
    (folder / "eval.csv").write_text("\n".join(lines) + "\n")
    (folder / "environment.txt").write_text(f"torch: 2.{seed % 2}\nnumpy: 2.4.6\n")
    return folder
