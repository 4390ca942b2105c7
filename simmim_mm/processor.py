"""What the processor can do."""

import re
from functools import cache
from pathlib import Path


@cache
def cpu_has_bfloat16() -> bool | None:
    """Whether the processor computes in bfloat16; None where that cannot be found out.

    Without such instructions (AVX512-BF16 or AMX on x86, BF16 on Arm) each operation converts to
    float32 and back.
    """
    try:
        text = Path('/proc/cpuinfo').read_text()
    except OSError:
        return None
    found = re.search(r'^(?:flags|Features)\s*:(.*)$', text, flags=re.MULTILINE)
    if not found:
        return None
    return bool({'avx512_bf16', 'amx_bf16', 'bf16'} & set(found[1].split()))
