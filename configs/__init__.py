"""Hydra configuration groups: values only; the schema is `acer_robot.schema`."""
