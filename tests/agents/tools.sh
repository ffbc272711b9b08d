#!/bin/sh
# Installs what the programs of tests/agents are made of, all of it pinned, into the user's cache folder, and
# prints NAME=path lines.
#
#   tests/agents/tools.sh programs   Python, Node and Go packages of those that need no browser
#   tests/agents/tools.sh browsers   those of the others; says where Chromium is
#
# Safe to run twice, and at once.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
tools="${XDG_CACHE_HOME:-$HOME/.cache}/reveille/tools"
# Another number installs anew: for a change in how it is done, not in what is installed.
recipe=1

main() {
    case ${1:-} in
        programs)
            python=$(python_of requirements.txt)
            packages=$(node_packages)
            programs=$(go_programs)
            ;;
        browsers)
            chromium=$(command -v "${CHROMIUM:-chromium}") \
                || fail "chromium is missing; tests/agents/run installs Debian's, or: apt-get install chromium"
            python=$(python_of browsers.txt)
            packages=$(node_packages)
            programs=
            echo "CHROMIUM=$chromium"
            ;;
        *) fail "usage: tests/agents/tools.sh programs|browsers" ;;
    esac
    echo "AGENTS_PYTHON=$python"
    echo "NODE_PACKAGES=$packages"
    echo "AGENTS_BIN=$programs"
}

fail() {
    echo "tests/agents/tools.sh: $*" >&2
    exit 1
}

# The folder of what is made of some files, named by all that decides what comes out.
folder_of() {
    kind=$1
    shift
    echo "$tools/agents-$kind-$( (cat "$@"; echo "$recipe") | sha256sum | cut -c1-16)"
}

# Runs the rest of the arguments once for a folder, which is whole when its mark is there. Who comes second
# waits and finds the work done.
once() {
    folder=$1
    shift
    [ ! -e "$folder/complete" ] || return 0
    mkdir -p "$tools"
    command -v flock >/dev/null || fail "flock is missing (Debian: apt-get install util-linux)"
    (
        flock 9
        [ ! -e "$folder/complete" ] || exit 0
        rm -rf "$folder"
        mkdir "$folder"
        echo "tests/agents/tools.sh: installing into $folder (once)" >&2
        "$@" >&2
        touch "$folder/complete"
    ) 9>"$folder.lock"
}

# Once more, and again, where the network had a bad moment.
insist() {
    "$@" && return
    for pause in 5 20; do
        echo "tests/agents/tools.sh: trying again: $*" >&2
        sleep "$pause"
        "$@" && return
    done
    return 1
}

python_of() {
    command -v python3 >/dev/null || fail "python3 is missing (Debian: apt-get install python3-venv)"
    version=$(mktemp)
    python3 --version >"$version"
    folder=$(folder_of "${1%.txt}" "$here/$1" "$version")
    rm -f "$version"
    once "$folder" install_python "$folder" "$here/$1"
    echo "$folder/bin/python"
}

install_python() {
    python3 -m venv "$1" || fail "python3 cannot make a virtual environment (Debian: apt-get install python3-venv)"
    insist "$1/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes \
        --only-binary :all: -r "$2" || fail "cannot install what $2 lists"
}

node_packages() {
    command -v npm >/dev/null || fail "npm is missing (Node.js 20 or later; Debian: apt-get install npm)"
    folder=$(folder_of node "$here/node/package-lock.json")
    once "$folder" install_node "$folder"
    echo "$folder/package.json"
}

install_node() {
    cp "$here/node/package.json" "$here/node/package-lock.json" "$1"
    insist npm --prefix "$1" ci --silent --ignore-scripts --no-audit --no-fund || fail "npm ci failed"
}

go_programs() {
    command -v go >/dev/null \
        || fail "go is missing (https://go.dev/dl/, $(sed -n 's/^go //p' "$here/go/go.mod") or later)"
    # shellcheck disable=SC2046  # a list of files
    folder=$(folder_of go "$here/go/go.mod" "$here/go/go.sum" $(find "$here/go" -name '*.go' | sort))
    once "$folder" build_go "$folder"
    echo "$folder"
}

build_go() {
    cd "$here/go"
    insist env CGO_ENABLED=0 go build -trimpath -o "$1/" ./... github.com/summerwind/h2spec/cmd/h2spec \
        || fail "go build failed"
}

main "$@"
