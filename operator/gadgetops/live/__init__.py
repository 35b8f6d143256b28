"""Watching a recording while it grows: what it comes to so far, for a terminal or a pipe."""
