"""Images to carry around: two platforms, a signature, an attestation with a subject."""

from pathlib import Path

from gadgetops.oci.content import MEDIA_TYPE_MANIFEST, Descriptor, Manifest
from gadgetops.oci.image import EMPTY_CONFIG, Blob, PlatformContent, write_image
from gadgetops.oci.layout.layout import Layout

SIGNATURE = "application/vnd.dev.cosign.simplesigning.v1+json"
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
ARCHITECTURES = ("amd64", "arm64")


def put_image(layout: Layout, *names: str, text: str = "v1", layer_bytes: int = 0) -> Descriptor:
    """
    Store an image of two platforms, each with a layer of its own, under *names*.

    Args:
        layout: Where.
        names: Its names, complete.
        text: What makes it different from others.
        layer_bytes: How large the layers are at least.
    """
    contents = [
        PlatformContent(
            architecture,
            Blob(f"name: {text}\n".encode(), "application/vnd.gadget.config.v1+yaml"),
            [
                Blob(
                    f"{text} {architecture} ".encode().ljust(layer_bytes, architecture.encode()[-1:]),
                    "application/vnd.gadget.ebpf.program.v1+binary",
                )
            ],
        )
        for architecture in ARCHITECTURES
    ]
    return write_image(
        layout,
        contents,
        artifact_type="application/vnd.gadget.v1+binary",
        annotations={"org.opencontainers.image.title": text},
        references=names,
    )


def attach_signature(layout: Layout, image: Descriptor) -> Descriptor:
    """Attach what looks like cosign's older signature, by tag."""
    manifest = Manifest(config=_empty(layout), layers=(layout.add_blob(b'{"signed":1}', SIGNATURE),))
    descriptor = layout.add_blob(manifest.to_bytes(), MEDIA_TYPE_MANIFEST)
    layout.tag(descriptor, f"{image.digest.replace(':', '-')}.sig")
    return descriptor


def attach_referrer(layout: Layout, image: Descriptor, text: str = "{}") -> Descriptor:
    """Attach what looks like a bundle, by its subject."""
    subject = Descriptor(image.media_type, image.digest, image.size_bytes)
    layer = layout.add_blob(text.encode(), BUNDLE)
    manifest = Manifest(config=_empty(layout), layers=(layer,), artifact_type=BUNDLE, subject=subject)
    descriptor = layout.add_blob(manifest.to_bytes(), MEDIA_TYPE_MANIFEST)
    layout.publish({}, untagged=[descriptor])
    return descriptor


def assert_whole(layout: Layout) -> None:
    """Check that every name stands for something of which every byte is there."""
    for name, descriptor in layout.names().items():
        layout.tag(descriptor, name)


def put_on_disk(path: Path, *names: str, text: str = "v1", layer_bytes: int = 0) -> Descriptor:
    """Store an image in the layout folder *path*, which is made."""
    return put_image(Layout.open(path, create=True), *names, text=text, layer_bytes=layer_bytes)


def _empty(layout: Layout) -> Descriptor:
    return layout.add_blob(EMPTY_CONFIG.data, EMPTY_CONFIG.media_type)
