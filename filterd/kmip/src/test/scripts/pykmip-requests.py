"""Reads lines "MAJOR MINOR HEX" of request messages, and has PyKMIP read and write each of them.

Answers a line for each: the bytes PyKMIP writes of what it read, in hexadecimal, and what it read;
or "error" and why it could not.
"""
import sys

from kmip.core import enums, primitives, utils
from kmip.core.messages import messages


def version(major, minor):
    return enums.KMIPVersion["KMIP_%s_%s" % (major, minor)]


read_text = primitives.TextString.read_value


def read_text_without_needless_padding(self, *args, **kwargs):
    # PyKMIP takes 8 bytes for the padding of a text that needs none, and writes them.
    read_text(self, *args, **kwargs)
    self.padding_length %= 8


primitives.TextString.read_value = read_text_without_needless_padding


def shown(payload):
    # Not every payload has a text of its own.
    values = [str(value) for value in vars(payload).values()]
    return " ".join([repr(payload)] + values).replace("\n", " ")


for line in sys.stdin:
    major, minor, text = line.split()
    try:
        request = messages.RequestMessage()
        request.read(utils.BytearrayStream(bytes.fromhex(text)), version(major, minor))
        out = utils.BytearrayStream()
        request.write(out, version(major, minor))
        payloads = [shown(item.request_payload) for item in request.batch_items]
        print(out.buffer.hex(), " ".join(payloads))
    except Exception as error:  # whatever it is, the test shows it
        print("error", type(error).__name__, str(error).replace("\n", " "))
