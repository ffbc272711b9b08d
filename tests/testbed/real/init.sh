#!/usr/bin/env bash
# Process 1 of the real node (see node.sh): everything it mounts and listens to is in namespaces that
# end with it. It ends as soon as containerd or the kubelet does.
set -euo pipefail

main() {
    exec 7<"$NODE_LOGS"
    make_file_system
    keep_sysctls
    connect
    echo connected

    /run/bin/containerd --config /run/etc/containerd.toml >/proc/self/fd/7/containerd.log 2>&1 8<&- &
    until /run/bin/ctr version >/dev/null 2>&1; do
        kill -0 $! || exit 1
        sleep 0.05
    done
    /run/bin/ctr --namespace k8s.io images import /run/images.tar >/dev/null 2>&1

    /run/kubelet-program --config /run/etc/kubelet.yaml --kubeconfig /run/etc/kubeconfig \
        --hostname-override "$NODE_NAME" --node-ip "$NODE_IP" --root-dir /run/kubelet --cert-dir /run/kubelet-certs \
        --cgroup-root "/$NODE_CGROUP" >/proc/self/fd/7/kubelet.log 2>&1 8<&- &
    wait -n
}

# One tmpfs, assembled aside and then moved over /run, holds all the node has: what it runs, its
# configuration, images, containers, volumes. /var/lib and /var/log are hidden, because the kubelet
# and the CNI library write there whatever they are told.
make_file_system() {
    mount --no-mtab -t tmpfs -o mode=755 node /mnt
    mkdir -p /mnt/bin /mnt/etc/cni /mnt/log/pods
    mount --no-mtab --bind "$NODE_TOOLS" /mnt/bin
    bind "$NODE_KUBELET" /mnt/kubelet-program
    bind "$NODE_IMAGES" /mnt/images.tar
    cp "$NODE_KUBECONFIG" /mnt/etc/kubeconfig
    cp config/containerd.toml config/kubelet.yaml /mnt/etc/
    : >/mnt/etc/resolv.conf
    sed -e "s|@PODS@|$NODE_PODS|" -e "s|@FIRST_POD@|$NODE_FIRST_POD|" config/cni.conflist.in >/mnt/etc/cni/10-pods.conflist
    mount --no-mtab --move /mnt /run
    mount --no-mtab -t tmpfs -o mode=755 node /var/lib
    mount --no-mtab -t tmpfs -o mode=755 node /var/log
    cd /
    export PATH="/run/bin:$PATH"
}

bind() {
    : >"$2"
    mount --no-mtab --bind "$1" "$2"
}

# The kubelet sets these for the whole machine. It gets copies to write to.
keep_sysctls() {
    mkdir /run/sysctl
    for name in vm/overcommit_memory vm/panic_on_oom kernel/panic kernel/panic_on_oops \
        kernel/keys/root_maxkeys kernel/keys/root_maxbytes; do
        cat "/proc/sys/$name" >"/run/sysctl/${name##*/}"
        mount --no-mtab --bind "/run/sysctl/${name##*/}" "/proc/sys/$name"
    done
}

# A bridge for the pods, and a veth to the machine's own network (descriptor 8), from where the pods'
# addresses are routed here.
connect() {
    ip link set lo up
    echo 1 >/proc/sys/net/ipv4/ip_forward
    ip link add pods0 type bridge
    ip addr add "$NODE_IP/24" dev pods0
    ip link set pods0 up
    ip link add uplink type veth peer name reveille-node netns /proc/self/fd/8
    ip addr add "$NODE_UPLINK/30" dev uplink
    ip link set uplink up
    ip route add default via "$NODE_HOST"
    nsenter --net=/proc/self/fd/8 ip addr add "$NODE_HOST/30" dev reveille-node
    nsenter --net=/proc/self/fd/8 ip link set reveille-node up
    nsenter --net=/proc/self/fd/8 ip route add "$NODE_PODS" via "$NODE_UPLINK"
    exec 8<&-
}

main
