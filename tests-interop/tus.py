"""Hands a file in with a stock tus client, tuspy, cut in the middle and gone on with by another one.

python3 tus.py ENDPOINT FILE --name NAME [--header 'name: value']…     makes an upload at ENDPOINT
python3 tus.py --at URL FILE [--header 'name: value']…                 goes on with one that was made before
"""

import argparse
import os

from tusclient.client import TusClient

arguments = argparse.ArgumentParser()
arguments.add_argument("endpoint", nargs="?")
arguments.add_argument("file")
arguments.add_argument("--at")
arguments.add_argument("--name")
arguments.add_argument("--header", action="append", default=[])
arguments.add_argument("--chunk", type=int, default=1 << 20)
given = arguments.parse_args()

headers = dict(header.split(": ", 1) for header in given.header)
metadata = {"name": given.name} if given.name else None
length = os.path.getsize(given.file)


def uploader(url):
    client = TusClient(given.endpoint or given.at, headers=headers)
    return client.uploader(given.file, url=url, chunk_size=given.chunk, metadata=metadata)


first = uploader(given.at)
first.upload_chunk()
assert first.url and 0 < first.offset <= length, (first.url, first.offset)
# As after a crash: another client, which asks how far it is.
second = uploader(first.url)
assert second.offset == first.offset, (second.offset, first.offset)
second.upload()
assert uploader(first.url).offset == length
print(first.url)
