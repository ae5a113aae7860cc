#!/usr/bin/env python3
"""Writes 4 KiB units at random with flushes until the server dies, and checks what is left.

usage: crash-writer.py write|check URI JOURNAL SEED

The journal has a line for each step, written before it is asked for (W unit value) and after it was
answered (F: everything above is durable). A unit's content is its value, repeated. After a crash a
unit must read as the last value before the last F, or as any value written after that; or as zeros,
if none was durable.
"""
import random
import sys

import nbd

UNIT = 4096
UNITS = 4096


def content(value):
    return value.to_bytes(8, "little") * (UNIT // 8)


def write(uri, journal, seed):
    rng = random.Random(seed)
    handle = nbd.NBD()
    handle.connect_uri(uri)
    with open(journal, "a", buffering=1) as log:
        step = 0
        while True:
            step += 1
            unit, value = rng.randrange(UNITS), (seed + 1) << 32 | step
            log.write("W %d %d\n" % (unit, value))
            handle.pwrite(content(value), unit * UNIT)
            if rng.randrange(16) == 0:
                handle.flush()
                log.write("F\n")


def check(uri, journal):
    allowed = {}  # unit -> values it may have; absent: zeros only
    with open(journal) as log:
        for line in log:
            words = line.split()
            if words[0] == "W":
                allowed.setdefault(int(words[1]), [0]).append(int(words[2]))
            else:
                for unit in allowed:
                    allowed[unit] = allowed[unit][-1:]
    handle = nbd.NBD()
    handle.connect_uri(uri)
    state = {}
    for unit in range(UNITS):
        data = bytes(handle.pread(UNIT, unit * UNIT))
        value = int.from_bytes(data[:8], "little")
        if data != content(value):
            sys.exit("unit %d: noise" % unit)
        if value not in allowed.get(unit, [0]):
            sys.exit("unit %d: %d (expected: one of %s)" % (unit, value, allowed.get(unit, [0])))
        state[unit] = value
    handle.flush()
    # What is there now is durable, and what the next round starts from.
    with open(journal, "w") as log:
        for unit, value in state.items():
            if value:
                log.write("W %d %d\n" % (unit, value))
        log.write("F\n")


if sys.argv[1] == "write":
    try:
        write(sys.argv[2], sys.argv[3], int(sys.argv[4]))
    except nbd.Error as failure:
        print(failure)
else:
    check(sys.argv[2], sys.argv[3])
