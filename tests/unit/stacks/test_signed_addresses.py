"""Return addresses of arm64 without their signatures."""

import struct

import pytest

from gadgetops.stacks.unwinding.signed_addresses import SignatureRemover

LIBRARY = 0xFFFF_9E2C_0000
PROGRAM = 0xAAAA_AE0F_0000
CODE = [(PROGRAM, PROGRAM + 0x1000), (LIBRARY, LIBRARY + 0x20000)]


def packed(*words: int) -> bytes:
    return struct.pack(f"<{len(words)}Q", *words)


@pytest.mark.parametrize("signature", [0x0001 << 48, 0x007F << 48, 0x0055 << 48])
def test_a_signed_return_address_becomes_the_address(signature: int) -> None:
    """Bits 48 to 54 of a kernel whose addresses have 48 bits."""
    remover = SignatureRemover(CODE, "aarch64")
    assert remover.plain(packed(signature | PROGRAM + 0x9B0)) == packed(PROGRAM + 0x9B0)


def test_the_last_page_of_all_does_not_add_a_bit() -> None:
    """Where the kernel puts what [uprobes] is: the address after it is no address of a process."""
    code = [*CODE, (0xFFFF_FFFF_F000, 1 << 48)]
    assert SignatureRemover(code, "aarch64").plain(packed(0x7F << 48 | PROGRAM)) == packed(PROGRAM)


def test_only_the_signature_of_code_is_removed() -> None:
    """Data stays as it is, even where it looks like a signed address of something else."""
    data = packed(0, 5, (1 << 50) | 0xFFFF_E2F1_6000, LIBRARY + 8, 2**64 - 1) + b"\xff" * 7
    assert SignatureRemover(CODE, "aarch64").plain(data) is data


def test_a_kernel_of_shorter_addresses_signs_in_more_bits() -> None:
    """Of 39 bits: 39 to 54 hold the signature; how many they are the process's code tells."""
    remover = SignatureRemover(
        [(0x55_0000_0000, 0x55_0000_1000), (0x7F_8000_0000, 0x7F_8001_0000)], "aarch64"
    )
    assert remover.plain(packed(0xABCD << 39 | 0x55_0000_0010)) == packed(0x55_0000_0010)


def test_code_of_several_processes_may_overlap() -> None:
    """As that of all processes of a recording."""
    remover = SignatureRemover([(PROGRAM, PROGRAM + 0x9000), (PROGRAM + 0x1000, PROGRAM + 0x2000)], "aarch64")
    assert remover.plain(packed(3 << 49 | PROGRAM + 0x8000)) == packed(PROGRAM + 0x8000)


@pytest.mark.parametrize(("code", "machine"), [(CODE, "x86_64"), ([], "aarch64")])
def test_elsewhere_nothing_is_changed(code: list[tuple[int, int]], machine: str) -> None:
    data = packed(1 << 48 | PROGRAM)
    assert SignatureRemover(code, machine).plain(data) is data
