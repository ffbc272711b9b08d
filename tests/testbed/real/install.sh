#!/usr/bin/env bash
# Builds what a real node runs besides the kubelet (containerd, its shim, ctr, runc, the CNI plugins
# and the pause program) and prints the folder they are in, under the user's cache folder. The
# versions are those of go/go.mod. Safe to run twice, and at once.
set -euo pipefail
cd "$(dirname "$0")"

# Part of the folder's name; counts up when the commands below change.
recipe=2

fail() {
    echo "tests/testbed/real/install.sh: $*" >&2
    exit 1
}

hash=$(cat go/go.mod go/go.sum pause.c <(echo "$recipe") | sha256sum | cut -c1-12)
cache="${XDG_CACHE_HOME:-$HOME/.cache}/reveille/tools"
tools="$cache/node-$hash"

if [ -x "$tools/runc" ]; then
    echo "$tools"
    exit 0
fi

command -v go >/dev/null || fail "go is missing; it builds containerd and runc (https://go.dev/dl)"
command -v gcc >/dev/null || fail "gcc is missing; runc and pause need it (Debian: apt-get install gcc libc6-dev)"

mkdir -p "$cache"
work=$(mktemp -d "$cache/.node.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

# The kubelet runs every pod under a seccomp profile, so runc needs libseccomp. Where its development
# files are not installed, Debian's package is unpacked aside, and `go build` told where it is.
if ! { command -v pkg-config >/dev/null && pkg-config --exists libseccomp; }; then
    command -v apt-get >/dev/null || fail "libseccomp's development files and pkg-config are missing; install them"
    mkdir "$work/seccomp"
    (cd "$work/seccomp" && apt-get -qq -o APT::Sandbox::User=root download libseccomp-dev && dpkg -x libseccomp-dev_*.deb .) >&2 \
        || fail "cannot fetch libseccomp-dev; install it (apt-get update && apt-get install libseccomp-dev pkg-config)"
    library=$(dirname "$(find "$work/seccomp" -name libseccomp.a)")
    cat >"$work/seccomp/pkg-config" <<SCRIPT
#!/bin/sh
case " \$* " in
    *" --cflags "*) echo "-I$work/seccomp/usr/include" ;;
    *" --libs "*) echo "-L$library -lseccomp" ;;
esac
SCRIPT
    chmod +x "$work/seccomp/pkg-config"
    export PKG_CONFIG="$work/seccomp/pkg-config"
    export CGO_LDFLAGS_ALLOW='-L.*'
fi

cd go
echo "building containerd, runc and the CNI plugins; this takes a minute or two" >&2
CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o "$work/" \
    github.com/containerd/containerd/v2/cmd/containerd \
    github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2 \
    github.com/containerd/containerd/v2/cmd/ctr \
    github.com/containernetworking/plugins/plugins/ipam/host-local \
    github.com/containernetworking/plugins/plugins/main/bridge \
    github.com/containernetworking/plugins/plugins/main/loopback >&2
CGO_ENABLED=1 go build -trimpath -ldflags '-s -w -extldflags -static' -tags 'seccomp netgo osusergo' -o "$work/" \
    github.com/opencontainers/runc >&2
gcc -Os -static -s -o "$work/pause" ../pause.c

# A rename: whoever installs at the same time finds either nothing or all of it.
rm -rf "$work/seccomp"
chmod 755 "$work"
mv -T "$work" "$tools" 2>/dev/null || [ -x "$tools/runc" ] || fail "cannot write $tools"
echo "$tools"
