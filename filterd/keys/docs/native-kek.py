#!/usr/bin/python3
"""Derives a key-encryption key of filterd's native provider, without any of filterd's own code.

For recovery, and for checking the format that native-provider.md describes. Prints the key and its
check value. Needs Debian's python3-cryptography, and python3-argon2 to open a file.

    native-kek.py --file STATE-OR-BACKUP --passphrase-file FILE --key-id ID
    native-kek.py --derivation-key HEX --key-id ID
"""

import argparse
import hmac
import sys

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

KEYS = [
    "format", "version", "kind", "id", "created", "backedUp", "kdf", "memoryKib", "iterations",
    "parallelism", "salt", "cipher", "sealedKey",
]
FIXED = {
    "format": "filterd-native-provider", "version": "1", "kdf": "argon2id", "cipher": "AES-256-GCM",
}


def derivation_key(path, passphrase_path):
    """The key-derivation key that a state file or a backup holds."""
    try:
        from argon2.low_level import Type, hash_secret_raw
    except ImportError:
        sys.exit("native-kek: install python3-argon2 to open a file")
    with open(path, "rb") as file:
        text = file.read(4096)
    fields = dict(line.partition("=")[::2] for line in text.decode("latin-1").splitlines())
    if list(fields) != KEYS:
        sys.exit(f"native-kek: {path}: not a native provider's file")
    for name, value in FIXED.items():
        if fields[name] != value:
            sys.exit(f"native-kek: {path}: {name}: {fields[name]} (expected: {value})")
    with open(passphrase_path, "rb") as file:
        passphrase = file.read(4096)
    if passphrase.endswith(b"\n"):
        passphrase = passphrase[:-1]
        if passphrase.endswith(b"\r"):
            passphrase = passphrase[:-1]
    wrapping_key = hash_secret_raw(
        passphrase,
        bytes.fromhex(fields["salt"]),
        time_cost=int(fields["iterations"]),
        memory_cost=int(fields["memoryKib"]),
        parallelism=int(fields["parallelism"]),
        hash_len=32,
        type=Type.ID,
    )
    sealed = bytes.fromhex(fields["sealedKey"])
    header = text[: text.index(b"sealedKey=")]
    try:
        return AESGCM(wrapping_key).decrypt(sealed[:12], sealed[12:], header)
    except InvalidTag:
        sys.exit(f"native-kek: {path}: the passphrase does not open it, or the file was changed")


def main():
    """Reads the arguments, prints the key."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--file", help="a state file or a backup")
    source.add_argument("--derivation-key", metavar="HEX", help="the unsealed key-derivation key")
    parser.add_argument("--passphrase-file", help="what seals the file")
    parser.add_argument("--key-id", required=True, help="the key-encryption key's id")
    arguments = parser.parse_args()
    if arguments.file:
        if not arguments.passphrase_file:
            parser.error("--file needs --passphrase-file")
        secret = derivation_key(arguments.file, arguments.passphrase_file)
    else:
        secret = bytes.fromhex(arguments.derivation_key)
    kek = HKDF(
        algorithm=SHA256(),
        length=32,
        salt=arguments.key_id.encode("utf-8"),
        info=b"filterd-native-kek-v1",
    ).derive(secret)
    check_value = hmac.new(kek, b"filterd-kcv-v1", "sha256").digest()[:8]
    print("kek=" + kek.hex())
    print("checkValue=" + check_value.hex())


if __name__ == "__main__":
    main()
