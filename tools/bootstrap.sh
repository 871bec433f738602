#!/usr/bin/env bash
# Make the environment: Debian packages that only the environment needs, the Ice wheel, pinned packages, this project.
# Works on a Debian 12 with nothing but git, make and Python 3.11; run again, it does only what is missing.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
venv=${VENV:-.venv}

missing=()
command -v g++ >/dev/null || missing+=(g++)
[ -e /usr/include/openssl/ssl.h ] || missing+=(libssl-dev)
[ -e /usr/include/bzlib.h ] || missing+=(libbz2-dev)
"$python" -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
if [ "$("$python" -c 'import sysconfig; print(sysconfig.get_path("include").startswith("/usr/include"))')" = True ]; then
    [ -e "$("$python" -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h" ] || missing+=(python3-dev)
fi
if [ ${#missing[@]} -gt 0 ]; then
    if [ "$(id -u)" -ne 0 ]; then
        echo "bootstrap: have root run: apt-get install ${missing[*]}" >&2
        exit 1
    fi
    echo "  Debian packages: ${missing[*]}"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
echo "  zeroc-ice for omero-py (built once, about 2 minutes on 2 cores)"
wheel=$("$venv/bin/python" tools/build_ice.py)
"$venv/bin/python" -m pip install --quiet --no-deps "$wheel"
echo "  pinned packages"
# --no-deps: the list is complete, and zeroc-ice comes from the wheel above.
"$venv/bin/python" -m pip install --quiet --no-deps --require-hashes -r requirements/dev.txt
"$venv/bin/python" -m pip install --quiet --no-deps --no-build-isolation --editable .
"$venv/bin/python" -m pip check
