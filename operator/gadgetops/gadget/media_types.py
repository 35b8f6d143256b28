"""What an image of a gadget consists of, by ig's names (ig v0.48.0)."""

from typing import Final

ARTIFACT_TYPE: Final = "application/vnd.gadget.v1+binary"
MEDIA_TYPE_OBJECT: Final = "application/vnd.gadget.ebpf.program.v1+binary"
MEDIA_TYPE_WASM: Final = "application/vnd.gadget.wasm.program.v1+binary"
MEDIA_TYPE_METADATA: Final = "application/vnd.gadget.config.v1+yaml"
