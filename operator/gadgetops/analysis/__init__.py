"""Questions over a recording, as pure functions of it."""
