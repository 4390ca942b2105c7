#!/usr/bin/env bash
# safetensors: a transposed NumPy array is saved scrambled since 0.8.0, under the right shape
#
# One would guess: save_file() writes what the array shows, as numpy.save() and safetensors 0.7.0 do, or
# refuses arrays that are not contiguous, as safetensors.torch does.
# What happens: the numpy half of the library writes the memory as it lies, and the shape of the view.
# A transposed or Fortran-ordered array comes back with the right shape and dtype, and with its numbers
# in other places; every other column of an array comes back with numbers of the columns between. The
# docstring asks for contiguous arrays; nothing checks it.
#
# Versions: safetensors 0.7.0 and 0.8.0, numpy 2.4.6 (Python 3.11), seen on 2026-11-28:
#   0.7.0: transposed ok, Fortran order ok, every other column ok
#   0.8.0, expected the same
#   0.8.0, seen     transposed CHANGED, Fortran order CHANGED, every other column CHANGED
#
# Why it matters: converting weights from JAX, TensorFlow or MATLAB is a list of transpositions in NumPy.
# Names, shapes and dtypes of the result are all right, it loads with strict=True, and the features are
# noise. numpy.ascontiguousarray() before saving, and a comparison after it.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
cat > try.py <<'PY'
from importlib.metadata import version

import numpy as np
from safetensors.numpy import load_file, save_file

kernel = np.arange(12, dtype=np.float32).reshape(3, 4)
cases = {
    'transposed': kernel.T,
    'Fortran order': np.asfortranarray(kernel),
    'every other column': kernel[:, ::2],
}
changed = {}
for name, array in cases.items():
    save_file({'weight': array}, 'x.safetensors')
    got = load_file('x.safetensors')['weight']
    assert got.shape == array.shape and got.dtype == array.dtype
    changed[name] = not np.array_equal(got, array)
print('safetensors', version('safetensors') + ':',
      ', '.join(f'{name} {"CHANGED" if bad else "ok"}' for name, bad in changed.items()))
save_file({'weight': kernel}, 'x.safetensors')
assert np.array_equal(load_file('x.safetensors')['weight'], kernel)
assert all(bad == (version('safetensors') == '0.8.0') for bad in changed.values()), changed
PY
for release in 0.7.0 0.8.0; do
    "${PYTHON:-python3}" -m venv "$dir/$release"
    "$dir/$release/bin/pip" install --quiet --disable-pip-version-check safetensors==$release numpy==2.4.6
    "$dir/$release/bin/python" try.py
done
