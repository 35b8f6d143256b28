"""Recordings that somebody changed: one mutation each, reproducible by its number."""

import os
import random
import shutil
import stat
from pathlib import Path

_STRAYS = ("events-100000000.parquet", "events-00001.parquet", "notes.txt", "stacks-99999.parquet")


def mutate(recording: Path, number: int, outside: Path) -> str:
    """
    Change the *recording* by mutation *number*, and return the name of its kind.

    Args:
        recording: A copy, to be changed.
        number: Same number, same mutation.
        outside: A folder that links may lead to.
    """
    chosen = random.Random(number)
    kind = KINDS[number % len(KINDS)]
    file = chosen.choice(sorted(each for each in recording.iterdir() if each.is_file()))
    kind(file, chosen, outside)
    return f"{kind.__name__.strip('_')} {file.name}"


def _flip_a_bit(file: Path, chosen: random.Random, _outside: Path) -> None:
    content = bytearray(file.read_bytes())
    content[chosen.randrange(len(content))] ^= 1 << chosen.randrange(8)
    file.write_bytes(content)


def _overwrite(file: Path, chosen: random.Random, _outside: Path) -> None:
    content = bytearray(file.read_bytes())
    start = chosen.randrange(len(content))
    content[start : start + 16] = chosen.choice([b"\xff" * 16, bytes(16), chosen.randbytes(16)])
    file.write_bytes(content)


def _cut(file: Path, chosen: random.Random, _outside: Path) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: chosen.randrange(len(content))])


def _remove(file: Path, _chosen: random.Random, _outside: Path) -> None:
    file.unlink()


def _link_outside(file: Path, chosen: random.Random, outside: Path) -> None:
    file.unlink()
    file.symlink_to(chosen.choice([outside, outside / "precious.parquet", Path("/dev/zero")]))


def _put_a_fifo(file: Path, _chosen: random.Random, _outside: Path) -> None:
    file.unlink()
    os.mkfifo(file)


def _put_a_folder(file: Path, _chosen: random.Random, _outside: Path) -> None:
    file.unlink()
    file.mkdir()


def _put_a_socket(file: Path, _chosen: random.Random, _outside: Path) -> None:
    file.unlink()
    # As binding does it, which takes short names only.
    os.mknod(file, stat.S_IFSOCK | 0o600)


def _add_a_stray_file(file: Path, chosen: random.Random, _outside: Path) -> None:
    stray = file.with_name(chosen.choice(_STRAYS))
    if not stray.exists():
        shutil.copy(file, stray)


def _link_the_pairs(file: Path, chosen: random.Random, outside: Path) -> None:
    pairs = file.with_name("pairs")
    shutil.rmtree(pairs, ignore_errors=True)
    pairs.symlink_to(chosen.choice([outside, outside / "precious.parquet"]))


def _doctor_the_pairs(file: Path, chosen: random.Random, _outside: Path) -> None:
    for each in file.parent.glob("pairs/*"):
        if each.is_file() and each.stat().st_size:
            _flip_a_bit(each, chosen, each)


def _swap(file: Path, chosen: random.Random, _outside: Path) -> None:
    other = chosen.choice(sorted(each for each in file.parent.iterdir() if each.is_file()))
    content = file.read_bytes()
    file.write_bytes(other.read_bytes())
    other.write_bytes(content)


def _enlarge_a_number(file: Path, chosen: random.Random, _outside: Path) -> None:
    header = file.with_name("recording.json")
    content = bytearray(header.read_bytes())
    digits = [place for place, byte in enumerate(content) if chr(byte).isdigit()]
    place = chosen.choice(digits)
    content[place : place + 1] = b"9" * chosen.choice([20, 400, 5000])
    header.write_bytes(content)


KINDS = (
    _flip_a_bit,
    _overwrite,
    _flip_a_bit,
    _cut,
    _remove,
    _link_outside,
    _put_a_fifo,
    _put_a_folder,
    _put_a_socket,
    _add_a_stray_file,
    _link_the_pairs,
    _doctor_the_pairs,
    _swap,
    _enlarge_a_number,
)
