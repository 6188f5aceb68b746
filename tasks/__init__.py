"""Tasks: dm_control and Gymnasium MuJoCo behind one vector interface."""
