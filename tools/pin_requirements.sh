#!/usr/bin/env bash
# Pin what pyproject.toml asks for, with hashes: requirements/producer.txt for acquisition hosts, worker.txt for the
# worker's image, dev.txt for everything. No registry host is written. zeroc-ice is left out: see tools/build_ice.py.
set -euo pipefail
cd "$(dirname "$0")/.."
python=.venv/bin/python
"$python" -m uv --version >/dev/null 2>&1 || "$python" -m pip install --quiet "uv>=0.9"
wheels=$(dirname "$("$python" tools/build_ice.py)")
pin() { # pin FILE ARGUMENT...
    local file=$1
    shift
    "$python" -m uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
        --no-emit-find-links --no-emit-package zeroc-ice --find-links "$wheels" --no-annotate \
        --custom-compile-command "make requirements" --output-file "requirements/$file" pyproject.toml "$@"
}
pin producer.txt
pin worker.txt --extra worker
pin dev.txt --extra worker --group dev --group build --group sbom
# What the images build the distribution and the list of their parts with; nothing of the project itself.
for group in build sbom; do
    "$python" -m uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
        --no-annotate --custom-compile-command "make requirements" --output-file "requirements/$group.txt" \
        --group "pyproject.toml:$group"
done
