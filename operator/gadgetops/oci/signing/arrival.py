"""Images from elsewhere: verified before any of it is kept."""

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from gadgetops.oci.files import storage_errors
from gadgetops.oci.layout import Layout
from gadgetops.oci.signing.keys import PublicKey
from gadgetops.oci.signing.verify import verify
from gadgetops.oci.transfer import Goal, Origin, Watch, copy_image


@contextlib.contextmanager
def verified_arrival(
    origin: Origin, keys: Sequence[PublicKey], *, what: str, watch: Watch | None = None
) -> Iterator[Origin]:
    """
    Yield a verified copy of *origin*, which lasts as long as the `with`.

    It lies in a folder of its own: what does not verify never was where it could be used, and what was
    verified is what is copied on, whatever the origin says next.

    Args:
        origin: The image, with what is attached to it.
        keys: Any of them will do.
        what: The image's name, for errors.
        watch: Told how the copy goes.

    Raises:
        VerificationError: It is not what one of *keys* signed.
        GadgetOpsError: It could not be fetched.
    """
    with storage_errors(Path(tempfile.gettempdir())):
        scratch = tempfile.TemporaryDirectory(prefix="gadgetops-")
    with scratch as folder:
        layout = Layout.open(Path(folder) / "layout", create=True)
        copy_image(origin, Goal(layout, None, None, what), watch=watch)
        verify(layout, origin.root, keys, what=what)
        yield replace(origin, source=layout)
