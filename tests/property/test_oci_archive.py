"""Laws of archives: whatever was done to the bytes, what is imported is what was exported, or nothing is."""

import io
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gadgetops.errors import ContentError
from gadgetops.oci.content import Descriptor
from gadgetops.oci.image import Blob, PlatformContent, write_image
from gadgetops.oci.layout.archive import Archive, export_archive, import_archive
from gadgetops.oci.layout.layout import Layout

NAME = "ghcr.io/a/b:1"


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, Descriptor]:
    """An archive of one image, and the descriptor of that image."""
    layout = Layout.open(tmp_path_factory.mktemp("layout"), create=True)
    contents = [
        PlatformContent(
            architecture, Blob(b"config", "application/c"), [Blob(b"layer" * 200, "application/l")]
        )
        for architecture in ("amd64", "arm64")
    ]
    descriptor = write_image(
        layout, contents, artifact_type="application/a", annotations={"k": "v"}, references=[NAME]
    )
    return b"".join(export_archive(layout, [NAME])), descriptor


@pytest.fixture
def layout(tmp_path: Path) -> Iterator[Layout]:
    """A layout that is empty before every example that leaves it empty."""
    yield Layout.open(tmp_path / "into", create=True)


def test_archive_cut_anywhere_imports_nothing_or_all(image: tuple[bytes, Descriptor], layout: Layout) -> None:
    """Every prefix: an error and an empty layout, or, once all files are whole, the image itself."""
    archive, descriptor = image
    accepted = []
    for length in range(len(archive)):
        try:
            whole = Archive.open(io.BytesIO(archive[:length]), "x.tar")
        except ContentError:
            continue
        accepted.append(length)
        assert whole.images() == {NAME: descriptor}
    # Only the padding after the last file and the empty blocks at the end may be missing.
    end_of_files = len(archive) - 1024 - (512 - 30)
    assert all(length >= end_of_files for length in accepted)
    with pytest.raises(ContentError):
        import_archive(layout, io.BytesIO(archive[: end_of_files - 1]), "x.tar")
    assert layout.entries() == []
    import_archive(layout, io.BytesIO(archive), "x.tar")
    assert layout.names() == {NAME: descriptor}


class TestDamage:
    """An archive with changed bytes gives the same content under some name, or `ContentError`."""

    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150, deadline=None)
    @given(data=st.data())
    def test_changed_bytes(self, image: tuple[bytes, Descriptor], data: st.DataObject) -> None:
        """A few bytes anywhere, tar headers included."""
        archive, descriptor = image
        changed = bytearray(archive)
        for _ in range(data.draw(st.integers(1, 4))):
            changed[data.draw(st.integers(0, len(archive) - 1))] = data.draw(st.integers(0, 255))
        self.check(bytes(changed), descriptor)

    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150, deadline=None)
    @given(data=st.data())
    def test_changed_headers(self, image: tuple[bytes, Descriptor], data: st.DataObject) -> None:
        """Any bytes in a header, its checksum made right again, so that the change is believed."""
        archive, descriptor = image
        changed = bytearray(archive)
        start = 512 * data.draw(st.integers(0, len(archive) // 512 - 1))
        field, width = data.draw(
            st.sampled_from([(0, 100), (100, 8), (124, 12), (156, 1), (157, 100), (345, 155)])
        )
        noise = data.draw(st.binary(min_size=1, max_size=width))
        changed[start + field : start + field + len(noise)] = noise
        changed[start + 148 : start + 156] = b" " * 8
        checksum = b"%06o\0 " % sum(changed[start : start + 512])
        changed[start + 148 : start + 156] = checksum
        self.check(bytes(changed), descriptor)

    @staticmethod
    def check(archive: bytes, descriptor: Descriptor) -> None:
        """Import *archive* into a fresh layout and look at what came of it."""
        with tempfile.TemporaryDirectory() as folder:
            layout = Layout.open(Path(folder), create=True)
            try:
                names = import_archive(layout, io.BytesIO(archive), "x.tar")
            except ContentError:
                assert layout.entries() == []
                return
            assert [layout.resolve(name).digest for name in names] == [descriptor.digest] * len(names)
            for _, entry in layout.entries():
                layout.fetch(entry)
