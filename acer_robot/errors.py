"""The one exception that a command turns into a single line and exit status 2."""


class InputError(ValueError):
    """Something the user gave cannot be used; the message names the value, what was expected and what to do."""


class NonFiniteError(RuntimeError):
    """A tensor or array that must be finite holds NaN or infinity; the message names it and the step."""
