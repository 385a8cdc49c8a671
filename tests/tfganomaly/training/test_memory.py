import subprocess
import sys

import pytest

CODE = """
import resource
from tfganomaly.training.memory import keep_freed_memory
if {keep}:
    print(keep_freed_memory())
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(4):
        bytearray(80_000_000)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults()
print(faults())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's allocator")
def test_a_large_block_is_taken_from_the_system_once():
    def run(keep):
        done = subprocess.run(
            [sys.executable, "-c", CODE.format(keep=keep)], capture_output=True, text=True, check=True, timeout=60
        )
        return done.stdout.split()

    (usual,) = run(keep=False)
    taken, kept = run(keep=True)
    if taken != "True":
        pytest.skip("another C library than glibc")
    assert int(kept) < int(usual) / 10
