"""A real ig with a store of its own, which touches no other."""

import json
import os
import subprocess
from pathlib import Path

from gadgetops.oci.layout.layout import Layout

OWN_STORE = """
mount -t tmpfs tmpfs /var/lib && mkdir /var/lib/ig && mount --bind "$0" /var/lib/ig && exec ig "$@"
"""


class Ig:
    """ig with a store of its own: in a mount namespace where /var/lib/ig is the folder *root*."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.root.mkdir(exist_ok=True)
        self.layout = Layout.open(root / "oci-store", create=True)

    def run(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        """Run ig and return how it went."""
        namespaces = ["unshare", "--mount", "--pid", "--fork", "--mount-proc"]
        return subprocess.run(
            [*namespaces, "sh", "-c", OWN_STORE, self.root, *map(str, arguments)],
            env={**os.environ, "IG_EXPERIMENTAL": "false"},
            capture_output=True,
            text=True,
            check=False,
        )

    def __call__(self, *arguments: object) -> str:
        """Run ig, which must succeed, and return what it printed."""
        done = self.run(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def images(self) -> dict[str, str]:
        """Return digest by name, as ig lists them."""
        listed = json.loads(self("image", "list", "--no-trunc", "-o", "json") or "[]")
        return {f"{image['Repository']}:{image['Tag']}": image["Digest"] for image in listed}
