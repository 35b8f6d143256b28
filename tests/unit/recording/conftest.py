"""Makes the fixtures of imports visible."""

from services.ig_output import imported

__all__ = ["imported"]
