#!/bin/sh
# Pins what the programs are made of, to the newest versions: requirements.txt and browsers.txt with hashes,
# package-lock.json, go.sum. Needs uv (pip install uv), npm and go.
set -eu
cd "$(dirname "$0")"

for list in requirements browsers; do
    uv pip compile --quiet --universal --upgrade --python-version 3.11 --generate-hashes --only-binary :all: \
        --no-header "$list.in" --output-file "$list.txt"
done
(cd node && npm install --omit-lockfile-registry-resolved --package-lock-only ws@latest playwright-core@latest)
(cd go && go get -u ./... && go mod tidy)
