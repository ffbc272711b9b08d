#!/bin/sh
# Installs the sandbox SDK of one version into the user's cache folder, and prints the path of the Python
# that has it.
#
#   tests/kubernetes/sdk/install.sh 1.0.8
#
# Safe to run twice, and at once.
set -eu

version=$1
tools="${XDG_CACHE_HOME:-$HOME/.cache}/reveille/tools"
home="$tools/agent-sandbox-sdk-$version"

fail() {
    echo "tests/kubernetes/sdk/install.sh: $*" >&2
    exit 1
}

if [ ! -e "$home/complete" ]; then
    command -v python3 >/dev/null || fail "python3 is missing; the SDK is written in it"
    mkdir -p "$tools"
    # Who comes second waits and finds the work done: a virtual environment cannot be renamed into place.
    exec 9>"$tools/.sdk.lock"
    command -v flock >/dev/null || fail "flock is missing (Debian: apt-get install util-linux)"
    flock 9
    if [ ! -e "$home/complete" ]; then
        rm -rf "$home"
        python3 -m venv "$home" >&2 \
            || fail "python3 cannot make a virtual environment (Debian: apt-get install python3-venv)"
        "$home/bin/python" -m pip install --quiet --disable-pip-version-check \
            "k8s-agent-sandbox[async]==$version" >&2 || fail "cannot install k8s-agent-sandbox $version"
        touch "$home/complete"
    fi
fi
echo "$home/bin/python"
