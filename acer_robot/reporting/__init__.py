"""What people read of a run: progress, tables, wandb, report, charts, video."""
