"""Images from elsewhere: verified before any of it is kept."""

import contextlib
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from gadgetops.errors import VerificationError
from gadgetops.oci.content import Descriptor
from gadgetops.oci.copying.copy_image import Watch, copy_image
from gadgetops.oci.copying.endpoints import Goal, Origin
from gadgetops.oci.graph import children_of, walk
from gadgetops.oci.layout.layout import Layout
from gadgetops.oci.signing.keys import PublicKey
from gadgetops.oci.signing.verify import Verified, verify, verify_attestations
from gadgetops.whole_files import storage_errors


@contextlib.contextmanager
def verified_arrival(
    origin: Origin, keys: Sequence[PublicKey], *, what: str, watch: Watch | None = None
) -> Iterator[Origin]:
    """
    Yield a verified copy of *origin*, which lasts as long as the `with`.

    It lies in a folder of its own: what does not verify never was where it could be used, and what was
    verified is what is copied on, whatever the origin says next. Of what is attached to the image it has what
    one of *keys* signed, and nothing else.

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
        held = verify(layout, origin.root, keys, what=what)
        with contextlib.suppress(VerificationError):  # an image need not be attested
            held += verify_attestations(layout, origin.root, keys, what=what)
        yield replace(origin, source=_Proven(layout, origin.root, held))


class _Proven:
    """An image with only what is proven to be attached to it, as a source."""

    def __init__(self, layout: Layout, image: Descriptor, held: Iterable[Verified]) -> None:
        self._layout = layout
        self._image = image
        self._held = {each.manifest.digest: each.manifest for each in held}

    def chunks(self, descriptor: Descriptor) -> Iterator[bytes]:
        """Yield the content of *descriptor*, verified."""
        return self._layout.chunks(descriptor)

    def with_attachments(self, roots: Iterable[Descriptor]) -> tuple[list[Descriptor], dict[str, Descriptor]]:
        """Return all under *roots*, and if the image is one of them, what is proven of it, with its tags."""
        wanted = list(roots)
        children = partial(children_of, self._layout)
        if self._image.digest not in {root.digest for root in wanted}:
            return walk(wanted, children), {}
        named = self._layout.names()
        tags = {name: found for name, found in named.items() if self._is_proven(found)}
        return walk([*wanted, *self._held.values(), *tags.values()], children), tags

    def _is_proven(self, tagged: Descriptor) -> bool:
        """Return whether a tag stands for something proven, or for a list of nothing else."""
        if not tagged.is_index:
            return tagged.digest in self._held
        return all(child.digest in self._held for child in children_of(self._layout, tagged))
