#!/usr/bin/env python3
"""Opens an encrypted filterd disk without filterd.

usage: decrypt.py --kek-hex-file FILE DISK.vmdk OUT.raw

FILE holds the key-encryption key as 64 hexadecimal digits. Needs python3-cryptography, nothing else.
The format is described in format.md beside this file; the names here are those there.
"""
import argparse
import base64
import os
import re
import struct
import sys
import urllib.parse

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

SECTOR = 512
CHUNK = 1 << 20
MAGIC = 0x564D444B


def fail(text):
    sys.exit("decrypt.py: " + text)


def read_at(disk, position, length):
    disk.seek(position)
    data = disk.read(length)
    if len(data) != length:
        fail("the file ends at byte %d (expected: %d)" % (position + len(data), position + length))
    return data


def read_header(extent):
    names = ("magic", "version", "flags", "capacity", "grain", "descriptor", "descriptor_size",
             "entries", "redundant", "directory")
    header = dict(zip(names, struct.unpack_from("<IIIQQQQIQQ", read_at(extent, 0, SECTOR))))
    if header["magic"] != MAGIC or header["entries"] != 512:
        fail("not a sparse VMDK")
    return header


def read_descriptor(disk):
    """The current descriptor, and whether it is a file of its own."""
    if struct.unpack("<I", read_at(disk, 0, 4))[0] != MAGIC:
        disk.seek(0)
        return disk.read(1 << 20).split(b"\0", 1)[0].decode("utf-8"), True
    header = read_header(disk)
    if header["descriptor"] == 0 or header["descriptor_size"] > 2048:
        fail("no descriptor in the file")
    text = read_at(disk, header["descriptor"] * SECTOR, header["descriptor_size"] * SECTOR)
    return text.split(b"\0", 1)[0].decode("utf-8"), False


def read_entries(text):
    """The disk database: ddb.NAME = "VALUE"."""
    return dict(re.findall(r'^\s*ddb\.([^\s=]+)\s*=\s*"([^"]*)"\s*$', text, re.MULTILINE))


def read_extents(text):
    """The extents, in order: sectors, kind, file name, first sector in the file."""
    lines = re.findall(r'^RW (\d+) (SPARSE|FLAT) "(.+)"(?: (\d+))?\s*$', text, re.MULTILINE)
    for sectors, kind, name, offset in lines:
        if os.path.basename(name) != name:
            fail("an extent outside of the descriptor's folder")
        yield int(sectors), kind, name, int(offset or 0)


def sparse_pieces(extent):
    """What a sparse extent holds: position in the extent, bytes."""
    header = read_header(extent)
    size = header["capacity"] * SECTOR
    grain_bytes = header["grain"] * SECTOR
    table_count = -(-size // (grain_bytes * 512))
    directory = struct.unpack(
        "<%dI" % table_count, read_at(extent, header["directory"] * SECTOR, table_count * 4))
    for number, table_sector in enumerate(directory):
        table = struct.unpack("<512I", read_at(extent, table_sector * SECTOR, 2048))
        for index, sector in enumerate(table):
            if sector != 0:  # Else it was never written: zeros, and not enciphered.
                position = (number * 512 + index) * grain_bytes
                yield position, read_at(extent, sector * SECTOR, min(grain_bytes, size - position))


def flat_pieces(extent, start, size):
    for position in range(0, size, CHUNK):
        yield position, read_at(extent, start + position, min(CHUNK, size - position))


def parse_locker(text):
    locker = dict(field.split("=", 1) for field in text.split(","))
    for name in ("provider", "keyId"):
        locker[name] = urllib.parse.unquote(locker[name])
    return locker


def unwrap(entries, kek):
    """The data key, from whichever locker the key-encryption key opens."""
    for index in (0, 1):
        text = entries.get("filterd.keySafe.%d" % index)
        if text is None:
            continue
        locker = parse_locker(text)
        bound = ("filterd-dek-v1\ndiskId=%s\nlinkId=%s\ncipher=%s\nunitBytes=%s\n"
                 "provider=%s\nkeyId=%s\n" % (
                     entries["filterd.diskId"], entries["filterd.linkId"],
                     entries["filterd.cipher"], entries["filterd.unitBytes"],
                     locker["provider"], locker["keyId"]))
        wrapped = base64.b64decode(locker["wrappedDek"], validate=True)
        try:
            return AESGCM(kek).decrypt(wrapped[:12], wrapped[12:], bound.encode("utf-8"))
        except Exception as failure:  # InvalidTag carries no text
            print("decrypt.py: locker %d: not opened (%s)" % (index, type(failure).__name__),
                  file=sys.stderr)
    fail("the key opens no locker")


def decipher(dek, unit_bytes, first_unit, data):
    out = bytearray()
    for at in range(0, len(data), unit_bytes):
        tweak = (first_unit + at // unit_bytes).to_bytes(16, "little")
        unit = Cipher(algorithms.AES(dek), modes.XTS(tweak)).decryptor()
        out += unit.update(data[at:at + unit_bytes]) + unit.finalize()
    for at in range(0, len(data), SECTOR):
        if data[at:at + SECTOR] == bytes(SECTOR):  # Zeros that are stored are not enciphered.
            out[at:at + SECTOR] = bytes(SECTOR)
    return bytes(out)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kek-hex-file", required=True)
    parser.add_argument("disk")
    parser.add_argument("out")
    arguments = parser.parse_args()
    with open(arguments.kek_hex_file) as file:
        kek = bytes.fromhex(file.read().strip())

    with open(arguments.disk, "rb") as disk:
        text, apart = read_descriptor(disk)
    entries = read_entries(text)
    if entries.get("filterd.version") != "1" or entries.get("filterd.cipher") != "aes-256-xts":
        fail("not encrypted by filterd, or by a newer one")
    unit_bytes = int(entries["filterd.unitBytes"])
    dek = unwrap(entries, kek)
    folder = os.path.dirname(arguments.disk)
    begin = 0
    with open(arguments.out, "wb") as out:
        for sectors, kind, name, offset in read_extents(text):
            size = sectors * SECTOR
            # The name that a descriptor inside of its extent gives is not to be trusted.
            path = os.path.join(folder, name) if apart else arguments.disk
            with open(path, "rb") as extent:
                pieces = (sparse_pieces(extent) if kind == "SPARSE"
                          else flat_pieces(extent, offset * SECTOR, size))
                for position, stored in pieces:
                    at = begin + position
                    if at % unit_bytes:
                        fail("an extent that begins inside of a data unit")
                    out.seek(at)
                    out.write(decipher(dek, unit_bytes, at // unit_bytes, stored))
            begin += size
        out.truncate(begin)


if __name__ == "__main__":
    main()
