#!/usr/bin/python3
"""Ask a FastCGI server for a script (fastcgi.py SOCKET SCRIPT QUERY) and print the answer's body."""

import socket
import struct
import sys


def record(kind: int, content: bytes) -> bytes:
    """A record of FastCGI 1.0."""
    return struct.pack("!BBHHBx", 1, kind, 1, len(content), 0) + content


path, script, query = sys.argv[1:]
parameters = {"REQUEST_METHOD": "GET", "SCRIPT_FILENAME": script, "QUERY_STRING": query}
pairs = b"".join(
    struct.pack("!BB", len(name), len(value)) + name.encode() + value.encode()
    for name, value in parameters.items()
)
with socket.socket(socket.AF_UNIX) as server:
    server.connect(path)
    begin = record(1, struct.pack("!HB5x", 1, 0))
    server.sendall(begin + record(4, pairs) + record(4, b"") + record(5, b""))
    answer = b"".join(iter(lambda: server.recv(65536), b""))
output, position = b"", 0
while position < len(answer):
    _, kind, _, size, padding = struct.unpack_from("!BBHHBx", answer, position)
    if kind in (6, 7):
        output += answer[position + 8 : position + 8 + size]
    position += 8 + size + padding
print(output.partition(b"\r\n\r\n")[2].decode(), end="")
