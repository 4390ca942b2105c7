#!/usr/bin/env bash
# torch: a torchrun that joins a running elastic job ends it, unless a variable is set
#
# One would guess: with --nnodes=1:2 a second host may come later, or come back after it was lost: the first
# one stops its processes, both meet in the next round, and train on together.
# What happens: they meet, but the newcomer then waits for the address of the job's store, MASTER_ADDR, in the
# keys of this round. Only a torchrun of rank 0 that has no store of its own yet writes it there, and the one
# that has been there all along has one. After read_timeout (60 s) the newcomer fails, and then the others do.
# With TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 every round agrees on an address anew, and it works.
#
# Versions: torch 2.14.1 (Python 3.11), seen on 2026-11-28, two torchrun on one machine, read_timeout 10 s:
#   as it is       expected a worker of 2, seen none: "wait timeout ..., keys: /torch.rendezvous.j.1/MASTER_ADDR"
#   with the =1    workers 0 and 1 of 2
#
# Why it matters: a host that was lost and comes back, or a pod that Kubernetes replaces, does not help a long
# training but ends it, on all hosts.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
"${PYTHON:-python3}" -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.14.1 numpy==2.4.6
cd "$dir"
cat > worker.py <<'PY'
import os
import time

print('worker', os.environ['RANK'], 'of', os.environ['WORLD_SIZE'], flush=True)
time.sleep(300 if os.environ['WORLD_SIZE'] == '1' else 5)
PY

together() { # the second torchrun comes when the first one trains; prints what the second one ran
    # ranks are in the order of the addresses
    export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=$1 OMP_NUM_THREADS=1
    local port command
    port=$("$dir/venv/bin/python" -c 'import socket; s = socket.socket(); s.bind(("", 0)); print(s.getsockname()[1])')
    command=("$dir/venv/bin/torchrun" --nnodes=1:2 --nproc-per-node=1 --max-restarts=3 --rdzv-backend=c10d
        --rdzv-id=j "--rdzv-endpoint=127.0.0.1:$port" --rdzv-conf=read_timeout=10,last_call_timeout=2)
    timeout 100 "${command[@]}" --local-addr=127.0.0.1 worker.py > "first$1" 2>&1 &
    until grep -q 'worker 0 of 1' "first$1"; do sleep 0.5; done
    timeout 100 "${command[@]}" --local-addr=127.0.0.2 worker.py > "second$1" 2>&1 || true
    wait
    grep -oh 'worker . of 2\|keys: .*' "second$1" | sort -u
}

"$dir/venv/bin/python" -c 'import torch; print("torch", torch.__version__.split("+")[0])'
shared=$(together 0) alone=$(together 1)
echo "as it is             expected a worker of 2, seen $shared"
echo "without shared store seen $alone"
grep -q 'keys: /torch.rendezvous.j.1/MASTER_ADDR' <<< "$shared"
grep -q 'worker . of 2' <<< "$alone"
