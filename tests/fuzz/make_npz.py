#!/usr/bin/env python3
"""Makes seeds for the fuzz target npz of what fovea exports, by Python alone.
    make_npz.py OWN.npz FOLDER
OWN.npz is of the net npz.net. FOLDER gets the same weights deflated, as doubles and halves, and by
timm's names with PyTorch's count of batches."""
import struct
import sys
import zipfile

TIMM = {"features.0.0": "conv_stem", "features.0.1": "bn1", "features.2.conv.2": "blocks.1.0.conv_pwl",
        "classifier.1": "classifier"}


def array(descr, shape, body):
    """A .npy file, version 1.0."""
    header = "{'descr': '%s', 'fortran_order': False, 'shape': %s, }" % (descr, shape)
    header += " " * (-(len(header) + 11) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + body


def parts(npy):
    """Shape, as Python writes it, and floats of what fovea wrote."""
    size = struct.unpack("<H", npy[8:10])[0]
    header = npy[10:10 + size].decode()
    shape = header[header.index("'shape': ") + 9:header.rindex(")") + 1]
    body = npy[10 + size:]
    return shape, struct.unpack("<%df" % (len(body) // 4), body)


def retyped(npy, descr, code):
    shape, values = parts(npy)
    return array(descr, shape, struct.pack("<%d%s" % (len(values), code), *values))


def timm_name(name):
    layer, weight = name[:-len(".npy")].rsplit(".", 1)
    return TIMM[layer] + "." + weight + ".npy"


def write(path, members, method=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, body in members.items():
            archive.writestr(zipfile.ZipInfo(name), body, method)


def main():
    own, folder = sys.argv[1:]
    with zipfile.ZipFile(own) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    timm = {timm_name(name): body for name, body in members.items()}
    timm["bn1.num_batches_tracked.npy"] = array("<i8", "()", struct.pack("<q", 7))
    write(folder + "/deflated.npz", members, zipfile.ZIP_DEFLATED)
    write(folder + "/doubles.npz", {n: retyped(b, "<f8", "d") for n, b in members.items()})
    write(folder + "/halves.npz", {n: retyped(b, "<f2", "e") for n, b in members.items()})
    write(folder + "/timm.npz", timm)


main()
