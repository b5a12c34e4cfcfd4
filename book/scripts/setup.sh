#!/usr/bin/env bash
# Create .venv with the first Python >= 3.11 found, and install `.[all]` of pyproject.toml into it.
set -euo pipefail
cd "$(dirname "$0")/../.."

find_python() {
    local candidate
    for candidate in "${PYTHON:-python3}" python3.13 python3.12 python3.11; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    echo "No Python >= 3.11 found (tried ${PYTHON:-python3}, python3.13, python3.12, python3.11)." >&2
    echo "Install one, or name it: make PYTHON=/path/to/python3.12 setup" >&2
    return 1
}

if ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
    python=$(find_python)
    echo "Creating .venv with $("$python" --version) ..."
    "$python" -m venv --clear .venv || {
        echo "Could not create .venv. On Debian and Ubuntu: apt-get install python3-venv" >&2
        exit 1
    }
fi

echo "Installing .[all] into .venv (about 5 GB, a few minutes the first time) ..."
.venv/bin/python -m pip install --disable-pip-version-check --no-input --progress-bar off -e '.[all]' |
    awk '/Downloading .*([0-9]{3}\.[0-9] MB|GB)/ || /^Installing collected/ { print "  " substr($0, 1, 100); fflush() }'
echo "Installed."
