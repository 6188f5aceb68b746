"""The paper as pure functions of tensors, time-major [T, B]."""
