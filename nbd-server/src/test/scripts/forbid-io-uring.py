#!/usr/bin/python3
"""Runs a command for which the kernel refuses io_uring_setup(2), as container runtimes have it.

forbid-io-uring.py COMMAND [ARGUMENT...]
"""

import ctypes
import os
import struct
import sys

PR_SET_SECCOMP = 22
PR_SET_NO_NEW_PRIVS = 38
SECCOMP_MODE_FILTER = 2
SECCOMP_RET_ALLOW = 0x7FFF0000
SECCOMP_RET_ERRNO = 0x00050000
EPERM = 1
IO_URING_SETUP = 425  # The same on all architectures.


def statement(code, when_true, when_false, value):
    return struct.pack("HBBI", code, when_true, when_false, value)


program = b"".join([
    statement(0x20, 0, 0, 0),  # Load the number of the call.
    statement(0x15, 0, 1, IO_URING_SETUP),
    statement(0x06, 0, 0, SECCOMP_RET_ERRNO | EPERM),
    statement(0x06, 0, 0, SECCOMP_RET_ALLOW),
])
code = ctypes.create_string_buffer(program)
filter_ = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(code))
libc = ctypes.CDLL(None, use_errno=True)
for call in [(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), (PR_SET_SECCOMP, SECCOMP_MODE_FILTER, filter_, 0, 0)]:
    if libc.prctl(*call) != 0:
        sys.exit(f"prctl: {os.strerror(ctypes.get_errno())}")
os.execvp(sys.argv[1], sys.argv[1:])
