"""Memory that is freed block by block while other things stay."""

import subprocess
import sys

import pytest

PROGRAM = """
import psutil
from contextlib import nullcontext
from satseg.scenes.raster import blocks_given_back

def resident():
    return psutil.Process().memory_info().rss // 2**20

large = bytearray(30 * 2**20)
del large  # from now on glibc takes whatever is smaller from its heap
with {context}:
    blocks, between = [], []
    for _ in range(400):
        blocks.append(b'x' * (256 * 1024 + 512))
        between.append(b'x' * 32_768)
    full = resident()
    blocks.clear()
    print(full - resident())
"""


def given_back_mib(context: str) -> int:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(context=context)], capture_output=True, text=True, check=True
    )
    return int(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="other C libraries have no mallopt")
def test_blocks_go_back_to_the_operating_system_as_soon_as_they_are_freed():
    assert given_back_mib("nullcontext()") < 20  # of 100: the heap keeps the gaps
    assert given_back_mib("blocks_given_back()") > 90
