"""A registry over HTTP: the client, its credentials and certificates, and what went wrong, in words."""
