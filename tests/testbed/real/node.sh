#!/usr/bin/env bash
# A real node on this machine: kubelet, containerd and runc in namespaces of their own, reached over
# a veth. It lives until standard input ends, a signal comes or a part of it dies, and leaves nothing
# behind: mounts, network and processes end with the namespaces, the rest is removed here. Whatever a
# SIGKILL of this script leaves (a blackhole route, empty cgroups), the next start removes. It says
# `connected` once the machine has the address NODE_HOST, where the node expects the API server.
#
#   node.sh NAME KUBECONFIG TOOLS KUBELET IMAGES.tar LOGS
#
# Needs root. One at a time on a machine: a second one waits for the first to end.
set -euo pipefail
cd "$(dirname "$0")"

export NODE_NAME=$1 NODE_KUBECONFIG=$2 NODE_TOOLS=$3 NODE_KUBELET=$4 NODE_IMAGES=$5 NODE_LOGS=$6

# All of the node's addresses. The API server is reached at NODE_HOST.
export NODE_PODS=10.231.0.0/24 NODE_FIRST_POD=10.231.0.10
export NODE_IP=10.231.0.1 NODE_HOST=10.231.1.1 NODE_UPLINK=10.231.1.2
export NODE_CGROUP=reveille-node

fail() {
    echo "tests/testbed/real/node.sh: $*" >&2
    exit 1
}

main() {
    [ "$(id -u)" = 0 ] || fail "the real node needs root: it mounts, and makes namespaces"
    for tool in ip unshare nsenter setpriv flock; do
        command -v "$tool" >/dev/null || fail "$tool is missing (Debian: apt-get install iproute2 util-linux)"
    done
    exec 9>/run/reveille-node.lock
    flock -w 60 9 || fail "another real node runs on this machine"

    trap clean EXIT
    trap 'exit 0' INT TERM HUP
    clean
    make_cgroups
    # A packet to a pod that is gone must never leave the machine, whatever else becomes of the route.
    ip route replace blackhole "$NODE_PODS" metric 4000

    exec 8</proc/self/ns/net
    # The death of this script, even by SIGKILL, is the death of unshare, and that of the namespaces.
    setpriv --pdeathsig KILL unshare --mount --pid --net --ipc --uts --fork --kill-child --mount-proc \
        bash ./init.sh 9>&- </dev/null &
    node=$!
    cat <&0 >/dev/null 8<&- 9>&- &
    lifeline=$!
    wait -n "$node" "$lifeline" || true
}

# The node's processes, then its cgroups and the route.
clean() {
    trap '' INT TERM HUP
    for process in "${node:-}" "${lifeline:-}"; do
        if [ -n "$process" ]; then
            kill -KILL "$process" 2>/dev/null || true
            wait "$process" 2>/dev/null || true
        fi
    done
    # The last processes leave their cgroups, and the network goes, a moment after the namespaces end.
    for _ in $(seq 100); do
        remove_cgroups && [ ! -e /sys/class/net/reveille-node ] && break
        sleep 0.1
    done
    ip route del blackhole "$NODE_PODS" metric 4000 2>/dev/null || true
    trap 'exit 0' INT TERM HUP
}

remove_cgroups() {
    local left=0
    for root in /sys/fs/cgroup/{,*/}"$NODE_CGROUP"; do
        [ ! -d "$root" ] || find "$root" -depth -type d -exec rmdir {} + 2>/dev/null || left=1
    done
    return "$left"
}

# A cgroup for all pods. On v1 one in every hierarchy; cpuset's is empty, and so unusable, until it
# is told its processors.
make_cgroups() {
    if [ -f /sys/fs/cgroup/cgroup.controllers ]; then
        # The kubelet insists on those that the machine has; most are on already.
        for controller in $(cat /sys/fs/cgroup/cgroup.controllers); do
            echo "+$controller" >/sys/fs/cgroup/cgroup.subtree_control
        done
        mkdir "/sys/fs/cgroup/$NODE_CGROUP"
        return
    fi
    for hierarchy in /sys/fs/cgroup/*/; do
        [ -f "$hierarchy/cgroup.procs" ] || continue
        mkdir "$hierarchy$NODE_CGROUP"
        for file in cpuset.cpus cpuset.mems; do
            [ ! -f "$hierarchy$file" ] || cat "$hierarchy$file" >"$hierarchy$NODE_CGROUP/$file"
        done
    done
}

main
