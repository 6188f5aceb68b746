"""A user's plant whose library is not installed."""

import no_such_bus  # noqa: F401
