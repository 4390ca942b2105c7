"""What the processor can do."""

import platform
import re
from functools import cache
from pathlib import Path

# AVX512-BF16 or AMX on x86, BF16 on Arm, as Linux names them.
BFLOAT16 = frozenset({'avx512_bf16', 'amx_bf16', 'bf16'})


def cpu_flags() -> frozenset[str] | None:
    """The instruction sets of the processor, as Linux names them; None if it does not say."""
    text = _cpuinfo()
    found = re.search(r'^(?:flags|Features)\s*:(.*)$', text, flags=re.MULTILINE)
    return frozenset(found[1].split()) if found else None


def cpu_name() -> str:
    """The processor's own name, or its architecture."""
    found = re.search(r'^model name\s*:\s*(.*)$', _cpuinfo(), flags=re.MULTILINE)
    return found[1].strip() if found else platform.machine()


@cache
def cpu_has_bfloat16() -> bool | None:
    """Whether the processor computes in bfloat16; None where that cannot be found out.

    Without such instructions each operation converts to float32 and back.
    """
    flags = cpu_flags()
    return None if flags is None else bool(BFLOAT16 & flags)


@cache
def cpu_is_amd_avx512() -> bool:
    """Whether it is a processor of AMD with AVX-512, on which MKL is slow."""
    flags = cpu_flags() or frozenset()
    return 'avx512f' in flags and bool(
        re.search(r'^vendor_id\s*:\s*AuthenticAMD', _cpuinfo(), re.M)
    )


def _cpuinfo() -> str:
    try:
        return Path('/proc/cpuinfo').read_text()
    except OSError:
        return ''
