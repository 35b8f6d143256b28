"""Run a shell script under a kernel: `cd tests && python -m vm 6.1 'uname -r'`."""

import argparse
import sys
import tempfile
from pathlib import Path

from vm.guest_tests import ROOT, python_files
from vm.kernels import KERNELS, Unavailable
from vm.machine import boot


def main() -> int:
    """Boot, print the console and return the script's status."""
    parser = argparse.ArgumentParser(prog="python -m vm", description=__doc__)
    parser.add_argument("kernel", choices=KERNELS)
    parser.add_argument("script", help="for /bin/sh; /mnt/share is the shared folder")
    parser.add_argument("--share", type=Path, help="folder to share; a temporary one by default")
    parser.add_argument("--timeout", type=float, default=600, metavar="S")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        share = (arguments.share or Path(folder)).absolute()
        keep = [ROOT, Path(sys.prefix)]
        try:
            kernel = KERNELS[arguments.kernel]
            outcome = boot(
                kernel,
                arguments.script,
                share=share,
                timeout_s=arguments.timeout,
                keep=keep,
                in_memory=python_files(),
            )
        except Unavailable as error:
            parser.exit(1, f"{error}\n")
    print(outcome.console, end="")
    return 1 if outcome.status is None else outcome.status


if __name__ == "__main__":
    sys.exit(main())
