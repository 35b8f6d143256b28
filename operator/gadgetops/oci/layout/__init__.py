"""OCI layouts on disk: the store, tar files, locks, and what may be deleted."""
