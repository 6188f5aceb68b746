"""The shell commands, one file each; the only place that imports Hydra and OmegaConf."""
