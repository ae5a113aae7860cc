"""Fills a disk's storage, and looks at what is left of what was written.

full-disk.py fill URI      writes until there is no space, then makes some, and goes on
full-disk.py check URI N   whether the first N MiB are there
full-disk.py scatter URI   fills it with single units far apart, which need the most metadata
"""

import sys

import nbd

MIB = 1 << 20
UNIT = 4096
LARGEST = 200


def content(number, length=MIB):
    return b"".join(b"%08d.%07d" % (number, i) for i in range(length // 16))


def check(disk, count):
    for number in range(count):
        assert disk.pread(MIB, number * MIB) == content(number), "MiB %d" % number


def fill(disk, number):
    """Writes MiB after MiB; the first that there is no space for."""
    while number < LARGEST:
        try:
            disk.pwrite(content(number), number * MIB)
        except nbd.Error as refused:
            assert refused.errno == "ENOSPC", refused
            return number
        number += 1
    raise AssertionError("%d MiB fit" % number)


def refused_at_once(disk, first):
    """Many small writes at the same time: all are answered, and those that fail say why."""
    data = nbd.Buffer.from_bytearray(bytearray(b"z" * 4096))
    cookies = [disk.aio_pwrite(data, first * MIB + i * 65536) for i in range(64)]
    refused = 0
    while cookies:
        disk.poll(-1)
        for cookie in list(cookies):
            try:
                if disk.aio_command_completed(cookie):
                    cookies.remove(cookie)
            except nbd.Error as failure:
                assert failure.errno == "ENOSPC", failure
                cookies.remove(cookie)
                refused += 1
    assert refused > 0


def scatter(disk):
    far = 32 * MIB
    count = 0
    try:
        while True:
            disk.pwrite(content(count, UNIT), count * far)
            count += 1
    except nbd.Error as refused:
        assert refused.errno == "ENOSPC", refused
    assert count > 300, count
    # What was taken can be kept, and given back.
    disk.flush()
    for number in range(count):
        assert disk.pread(UNIT, number * far) == content(number, UNIT), number
    for number in range(0, count, 2):
        disk.trim(65536, number * far)
    disk.flush()
    for number in range(0, count, 2):
        disk.pwrite(content(number + 1, UNIT), number * far)
    disk.flush()
    for number in range(count):
        assert disk.pread(UNIT, number * far) == content(number | 1, UNIT), number
    print(count)
    disk.shutdown()


def main():
    disk = nbd.NBD()
    disk.connect_uri(sys.argv[2])
    if sys.argv[1] == "check":
        check(disk, int(sys.argv[3]))
        return
    if sys.argv[1] == "scatter":
        scatter(disk)
        return
    full = fill(disk, 0)
    assert 40 < full < 64, full
    refused_at_once(disk, full + 60)
    check(disk, full)
    disk.flush()
    # What has its space is written as ever.
    disk.pwrite(content(3), 3 * MIB)
    disk.flush()
    check(disk, full)

    # Space is made as a guest makes it, and the writing goes on.
    disk.trim(60 * MIB, (full + 60) * MIB)
    disk.trim(10 * MIB, 20 * MIB)
    disk.flush()
    assert disk.pread(10 * MIB, 20 * MIB) == bytes(10 * MIB)
    for number in range(20, 30):
        disk.pwrite(content(number), number * MIB)
    # Full again, and nobody flushes what was written last.
    full = fill(disk, full)
    check(disk, full)
    print(full)
    disk.shutdown()


main()
