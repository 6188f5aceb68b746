"""The exceptions that a command turns into a single line."""


class InputError(ValueError):
    """Something the user gave cannot be used; the message names the value, what was expected and what to do.

    A command ends with status 2.
    """


class NonFiniteError(RuntimeError):
    """A tensor or array that must be finite holds NaN or infinity; the message names it and the step."""


class TaskError(RuntimeError):
    """An environment raised, or returned what cannot be used; the message names environment, step and seed."""
