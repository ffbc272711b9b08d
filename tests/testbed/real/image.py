#!/usr/bin/env python3
"""Writes container images from scratch: one OCI archive with the image of `reveille` (the program,
the shared libraries it is linked against, /etc/passwd, /tmp) and the one of `pause`.

    image.py REVEILLE PAUSE OUT.tar

The program is stripped first where `strip` is there: a debug build is four fifths symbols."""

import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile

REVEILLE = "docker.io/library/reveille:0.1.0"
PAUSE = "docker.io/library/pause:1"


def main(reveille, pause, out):
    with tempfile.TemporaryDirectory() as work:
        files = {"usr/bin/reveille": stripped(reveille, work)}
        files |= {path.lstrip("/"): path for path in libraries(reveille)}
        blobs = {}
        manifests = [
            image(blobs, REVEILLE, layer(files, passwd()), ["reveille", "--help"]),
            image(blobs, PAUSE, layer({"pause": pause}, {}), ["/pause"]),
        ]
        partial = f"{out}.{os.getpid()}"
        with tarfile.open(partial, "w") as archive:
            add(archive, "oci-layout", json_bytes({"imageLayoutVersion": "1.0.0"}))
            index = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": manifests}
            add(archive, "index.json", json_bytes(index))
            for digest, data in blobs.items():
                add(archive, f"blobs/sha256/{digest}", data)
        os.replace(partial, out)


def stripped(program, work):
    """The program without symbols."""
    if not shutil.which("strip"):
        return program
    copy = os.path.join(work, "program")
    subprocess.run(["strip", "-o", copy, program], check=True)
    return copy


def libraries(program):
    """Paths of the loader and of all shared libraries the program needs, as ldd finds them."""
    listing = subprocess.run(["ldd", program], check=True, capture_output=True, text=True).stdout
    found = re.findall(r"(/\S+) \(0x", listing)
    if not found:
        sys.exit(f"{program}: ldd names no libraries: {listing}")
    return found


def passwd():
    """The files that say who runs the program (root, as volumes of hostPath belong to it), and where it may write."""
    return {
        "etc/passwd": "root:x:0:0::/:\nagent:x:1000:1000::/tmp:\n".encode(),
        "etc/group": "root:x:0:\nagent:x:1000:\n".encode(),
        "etc/nsswitch.conf": b"hosts: files dns\n",
        "tmp/": None,
    }


def layer(files, texts):
    """A tar of `files` (path in the image -> path here) and `texts` (path -> content, None: folder)."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for path, content in texts.items():
            add(tar, path, content, 0o644)
        for path, source in sorted(files.items()):
            with open(source, "rb") as file:
                add(tar, path, file.read(), 0o755)
    return buffer.getvalue()


def image(blobs, name, tar, command):
    """Adds an image of one layer and gives its descriptor for the index."""
    config = {
        "architecture": {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine),
        "os": "linux",
        "config": {"Env": ["PATH=/usr/bin", "HOME=/tmp"], "Cmd": command, "WorkingDir": "/"},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest(tar)}"]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": blob(blobs, json_bytes(config), "application/vnd.oci.image.config.v1+json"),
        "layers": [blob(blobs, tar, "application/vnd.oci.image.layer.v1.tar")],
    }
    descriptor = blob(blobs, json_bytes(manifest), manifest["mediaType"])
    return descriptor | {"annotations": {"io.containerd.image.name": name}}


def blob(blobs, data, media):
    """Adds content and gives its descriptor."""
    blobs[digest(data)] = data
    return {"mediaType": media, "digest": f"sha256:{digest(data)}", "size": len(data)}


def add(tar, path, data, mode=0o644):
    """Adds a file, or a folder anyone may write to. All dates are 0, so that the same files give the same digest."""
    entry = tarfile.TarInfo(path.rstrip("/"))
    if data is None:
        entry.type, entry.mode = tarfile.DIRTYPE, 0o1777
        tar.addfile(entry)
    else:
        entry.size, entry.mode = len(data), mode
        tar.addfile(entry, io.BytesIO(data))


def digest(data):
    return hashlib.sha256(data).hexdigest()


def json_bytes(value):
    return json.dumps(value, sort_keys=True).encode()


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
