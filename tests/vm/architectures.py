"""
Which machines can be emulated: one row each.

To add one, add a row, and give `machine.boot` a `root` of that architecture: a folder with a Debian user
land, the project and its Python environment in it. All else is the same.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Architecture:
    """
    An architecture and the machine that qemu makes of it.

    Attributes:
        debian: What Debian calls it.
        kernel_package: Debian's package that depends on the newest kernel of a suite.
        qemu: The program and the options that make a machine without disks; its devices are on PCI.
        console: What the kernel calls the serial line.
        modules: What the kernel needs to see the root file system, if it has these as modules.
    """

    debian: str
    kernel_package: str
    qemu: tuple[str, ...]
    console: str
    modules: tuple[str, ...] = ("virtio_pci", "9pnet_virtio", "9p")


AMD64 = Architecture(
    debian="amd64",
    kernel_package="linux-image-amd64",
    qemu=("qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max"),
    console="ttyS0",
)

ARM64 = Architecture(
    debian="arm64",
    kernel_package="linux-image-arm64",
    # Signatures of addresses as a hash that is quick to emulate.
    qemu=("qemu-system-aarch64", "-M", "virt", "-accel", "tcg,thread=multi", "-cpu", "max,pauth-impdef=on"),
    console="ttyAMA0",
)
