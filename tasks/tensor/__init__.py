"""Tasks written once as functions of tensors, simulated by mujoco.batch on the CPU or by mujoco_warp on the GPU."""
