#!/usr/bin/env bash
# Find a Python >= 3.11 and let it set up the environment (environment.py, which says the rest).
set -euo pipefail
cd "$(dirname "$0")/../.."

# The interpreter behind the first good candidate: an active environment may be the one to be made.
base='import sys; sys.version_info < (3, 11) and sys.exit(1); print(sys._base_executable)'
for candidate in "${PYTHON:-python3}" python3.14 python3.13 python3.12 python3.11; do
    if python=$("$candidate" -I -c "$base" 2>/dev/null); then
        exec "$python" -I book/scripts/environment.py "$@"
    fi
done
echo "error: Python 3.11 or newer is needed; ${PYTHON:-python3} is" \
    "$("${PYTHON:-python3}" --version 2>&1 | tail -n 1). Install one, or name it:" \
    "make PYTHON=/path/to/python3.12 setup" >&2
exit 1
