#!/usr/bin/env bash
# Builds, proves and measures atrous on a machine with one GPU, in ten parts inside ten minutes: bash benchmarks/gpu.sh OUTDIR [--dry-run]
set -euo pipefail
exec "${PYTHON:-python3}" "$(dirname "${BASH_SOURCE[0]}")/gpu_parts.py" "$@"
