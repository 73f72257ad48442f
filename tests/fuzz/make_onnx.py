#!/usr/bin/env python3
"""Makes a seed for the fuzz target onnx of what fovea exports, by Python alone.
    make_onnx.py OWN.onnx OUT.onnx
OUT.onnx has its larger weights in external.bin, which the target leaves beside it."""
import sys

# Fields of onnx.proto
GRAPH, INITIALIZER = 7, 5
DATA_TYPE, RAW_DATA, EXTERNAL_DATA, DATA_LOCATION = 2, 9, 13, 14
KEY, VALUE, FLOAT, EXTERNAL = 1, 2, 1, 1
BYTES = 2  # the wire type of what has a length
LEAST = 16  # bytes; smaller are the constants of formulas, whose values matter


def read_varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at


def varint(value):
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes(out + bytes([value]))


def fields(data):
    """(number, wire type, bytes) of each field of a message."""
    at = 0
    while at < len(data):
        key, start = read_varint(data, at)
        if key & 7 == BYTES:
            size, start = read_varint(data, start)
            at = start + size
        elif key & 7 == 0:
            at = read_varint(data, start)[1]
        else:
            at = start + (8 if key & 7 == 1 else 4)
        yield key >> 3, key & 7, data[start:at]


def field(number, kind, body):
    return varint(number << 3 | kind) + (varint(len(body)) if kind == BYTES else b"") + body


def changed(data, number, change):
    """The message with each field of this number changed."""
    return b"".join(field(n, kind, change(body) if n == number else body) for n, kind, body in fields(data))


class Outside:
    """Moves the floats of tensors into external.bin, one behind the other."""

    def __init__(self):
        self.at = 0

    def entry(self, key, value):
        return field(EXTERNAL_DATA, BYTES, field(KEY, BYTES, key.encode()) + field(VALUE, BYTES, str(value).encode()))

    def tensor(self, data):
        out, parts = b"", list(fields(data))
        if (DATA_TYPE, 0, varint(FLOAT)) not in parts:
            return data
        for number, kind, body in parts:
            if number != RAW_DATA or len(body) < LEAST:
                out += field(number, kind, body)
                continue
            out += self.entry("location", "external.bin") + self.entry("offset", self.at)
            out += self.entry("length", len(body)) + field(DATA_LOCATION, 0, varint(EXTERNAL))
            self.at += len(body)
        return out


def main():
    own, out = sys.argv[1:]
    with open(own, "rb") as file:
        model = file.read()
    outside = Outside()
    model = changed(model, GRAPH, lambda graph: changed(graph, INITIALIZER, outside.tensor))
    assert 0 < outside.at <= 16384, "external.bin has not room for these weights"
    with open(out, "wb") as file:
        file.write(model)


main()
