"""Where images and signatures lie in memory, so that thousands of damaged ones can be tried."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from gadgetops.errors import NotFound
from gadgetops.oci.content import (
    MEDIA_TYPE_INDEX,
    MEDIA_TYPE_MANIFEST,
    Descriptor,
    Index,
    Manifest,
    Platform,
)

CONFIG, LAYER = b"name: test\n", b"object"


class Memory:
    """A source and a target of signed content."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self.tags: dict[str, Descriptor] = {}
        self.listed: list[Descriptor] = []

    def chunks(self, descriptor: Descriptor) -> Iterator[bytes]:
        """Yield the content, verified."""
        if descriptor.digest not in self.blobs:
            raise NotFound(descriptor.digest, where="memory")
        yield from descriptor.verified([self.blobs[descriptor.digest]])

    def add(self, descriptor: Descriptor, chunks: Iterable[bytes]) -> None:
        """Store what is verified."""
        self.blobs[descriptor.digest] = b"".join(descriptor.verified(chunks))

    def put(self, data: bytes, media_type: str) -> Descriptor:
        """Store *data* and return its descriptor."""
        descriptor = Descriptor.of(data, media_type)
        self.add(descriptor, [data])
        return descriptor

    def resolve(self, reference: str) -> Descriptor:
        """Return what a tag stands for."""
        if reference not in self.tags:
            raise NotFound(reference, where="memory")
        return self.tags[reference]

    def referrers(self, digest: str) -> list[Descriptor]:
        """Return what is listed; whose subject it is has to be looked up by who asks."""
        return self.listed

    def publish(self, named: Mapping[str, Descriptor], untagged: Iterable[Descriptor] = ()) -> None:
        """Set tags and list the rest."""
        self.tags |= named
        self.listed += untagged

    def copy(self) -> "Memory":
        """Return the same content, to be damaged."""
        other = Memory()
        other.blobs, other.tags, other.listed = dict(self.blobs), dict(self.tags), list(self.listed)
        return other


def put_image(memory: Memory, text: bytes = LAYER) -> Descriptor:
    """Store an image of one architecture whose layer is *text*, and return its index."""
    config = memory.put(CONFIG, "application/vnd.gadget.config.v1+yaml")
    layer = memory.put(text, "application/vnd.gadget.ebpf.program.v1+binary")
    manifest = memory.put(Manifest(config, (layer,)).to_bytes(), MEDIA_TYPE_MANIFEST)
    index = Index(manifests=(replace(manifest, platform=Platform("amd64")),))
    return memory.put(index.to_bytes(), MEDIA_TYPE_INDEX)
