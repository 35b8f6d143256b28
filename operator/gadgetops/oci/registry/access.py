"""How registries are reached: what a person says about it, once for all of them."""

from dataclasses import dataclass, field
from pathlib import Path

from gadgetops.oci.registry.credentials import Credentials


@dataclass(frozen=True)
class Patience:
    """
    How often and how long to try again what may pass: cut connections, status 429 and 5xx.

    Attributes:
        attempts: How often a request is made at most.
        first_wait_s: Seconds before the second; each wait is twice the one before, up to half of it random.
        longest_wait_s: Seconds; a registry that asks for a longer wait gets no further request.
    """

    attempts: int = 5
    first_wait_s: float = 0.25
    longest_wait_s: float = 60.0


@dataclass(frozen=True)
class Access:
    """
    How registries are reached.

    Attributes:
        plain_http: Hosts, with their ports, that are asked over HTTP; all others only over HTTPS.
        ca_file: Certificates to trust besides the system's.
        authfile: The only file of credentials to read.
        credentials: Used instead of any file's.
        patience: What to do when a request fails.
    """

    plain_http: frozenset[str] = frozenset()
    ca_file: Path | None = None
    authfile: Path | None = None
    credentials: Credentials | None = None
    patience: Patience = field(default_factory=Patience)
