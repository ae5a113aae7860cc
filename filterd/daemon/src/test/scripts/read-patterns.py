#!/usr/bin/env python3
"""Reads patterns from several exports, and says of each that it is right, or ends with an error.

usage: read-patterns.py URI-PREFIX EXPORT:BYTE,BYTE,... ...

Each byte fills 64 KiB, one behind the other from the export's start.
"""
import sys

import nbd

PART = 65536

for argument in sys.argv[2:]:
    export, patterns = argument.rsplit(":", 1)
    handle = nbd.NBD()
    handle.connect_uri(sys.argv[1] + export)
    for number, pattern in enumerate(patterns.split(",")):
        part = handle.pread(PART, number * PART)
        if part != bytes([int(pattern)]) * PART:
            sys.exit("%s: part %d is not all %s" % (export, number, pattern))
    handle.shutdown()
    print(export)
