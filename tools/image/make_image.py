#!/usr/bin/env python3
"""Make Milena's container image without a container engine: an OCI archive, or the same files in a folder.

usage: make_image.py --binaries FOLDER --ref NAME:TAG --out FILE.tar
       make_image.py --binaries FOLDER --root FOLDER

The programs in it are stripped; beside them are the libraries that they load, Debian's CA certificates, the licences of the
packages that all this comes from, and nothing else: no shell. There are two layers, libraries and programs, so that an
upgrade moves only the second. Same programs and packages, same bytes.
"""
import argparse
import gzip
import hashlib
import io
import json
import os
import platform
import subprocess
import sys
import tarfile
import tempfile

PROGRAMS = ("milena-controller", "milena-broker", "milena-group-coordinator", "milena")
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
USER = 65532
PASSWD = f"root:x:0:0:root:/:/sbin/nologin\nmilena:x:{USER}:{USER}:milena:/:/sbin/nologin\n"
GROUP = f"root:x:0:\nmilena:x:{USER}:\n"
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def output(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def libraries_of(programs):
    """{path in the image: path here} of all that the programs load, their loader included."""
    found = {}
    for line in output("ldd", *programs).splitlines():
        words = line.split()
        if "=>" in words:
            path = words[words.index("=>") + 1]
            if path == "not":
                sys.exit(f"make_image: {words[0]} is not installed: run ./dev setup")
        elif words and words[0].startswith("/") and not words[0].endswith(":"):
            path = words[0]
        else:
            continue
        found[path] = os.path.realpath(path)
    return found


def stripped(path):
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, "program")
        subprocess.run(["strip", "--strip-all", "-o", out, path], check=True)
        return read(out)


def read(path):
    with open(path, "rb") as file:
        return file.read()


def packages_of(paths):
    """Debian's packages that own the files, sorted, each with its version."""
    names = {"ca-certificates"}  # makes its file when it is installed
    for path in paths:
        # Since /usr was merged a file may be registered under either name.
        for name in (path, path.removeprefix("/usr"), "/usr" + path):
            result = subprocess.run(["dpkg", "-S", name], capture_output=True, text=True)
            if result.returncode == 0:
                names.add(result.stdout.split(": ")[0].split(",")[0])
                break
    lines = output("dpkg-query", "-W", "-f", "${Package} ${Version}\n", *sorted(names))
    return sorted(set(lines.splitlines()))


def licences(packages):
    files = {}
    for line in packages:
        name = line.split()[0]
        path = f"/usr/share/doc/{name}/copyright"
        if os.path.exists(path):
            files[path] = (read(path), 0o644)
    files["/usr/share/doc/milena/packages"] = ("".join(line + "\n" for line in packages).encode(), 0o644)
    return files


def layers_of(folder):
    """The files of the two layers: {path: (bytes, mode)}."""
    programs = [os.path.join(folder, name) for name in PROGRAMS]
    for path in programs:
        if not os.path.exists(path):
            sys.exit(f"make_image: there is no {path}: run ./dev build")
    libraries = libraries_of(programs)
    base = {path: (read(real), 0o755) for path, real in libraries.items()}
    base |= licences(packages_of(sorted(libraries.values())))
    base[CERTIFICATES] = (read(CERTIFICATES), 0o644)
    base["/etc/passwd"] = (PASSWD.encode(), 0o644)
    base["/etc/group"] = (GROUP.encode(), 0o644)
    base["/etc/nsswitch.conf"] = (b"hosts: files dns\n", 0o644)
    return [base, {f"/usr/bin/{name}": (stripped(path), 0o755) for name, path in zip(PROGRAMS, programs)}]


def entry(name, mode, size=0, kind=tarfile.REGTYPE):
    info = tarfile.TarInfo(name)
    info.mode, info.size, info.type, info.mtime = mode, size, kind, 0
    return info


def layer_tar(files, first):
    """Folders before what is in them, everything sorted, no times, root's."""
    folders = {os.path.dirname(path) for path in files}
    for folder in list(folders):
        while folder != "/":
            folders.add(folder)
            folder = os.path.dirname(folder)
    folders.discard("/")
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for folder in sorted(folders):
            tar.addfile(entry(folder.lstrip("/"), 0o755, kind=tarfile.DIRTYPE))
        if first:
            tar.addfile(entry("tmp", 0o1777, kind=tarfile.DIRTYPE))
        for path in sorted(files):
            content, mode = files[path]
            tar.addfile(entry(path.lstrip("/"), mode, len(content)), io.BytesIO(content))
    return out.getvalue()


class Archive:
    """Blobs by their digest."""

    def __init__(self):
        self.blobs = {}

    def add(self, content, media_type):
        digest = hashlib.sha256(content).hexdigest()
        self.blobs[digest] = content
        return {"mediaType": media_type, "digest": "sha256:" + digest, "size": len(content)}

    def add_json(self, value, media_type):
        return self.add(json.dumps(value, sort_keys=True).encode(), media_type)

    def write(self, path, index):
        files = {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}', "index.json": index}
        files |= {"blobs/sha256/" + digest: content for digest, content in self.blobs.items()}
        with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
            for name in sorted(files):
                tar.addfile(entry(name, 0o644, len(files[name])), io.BytesIO(files[name]))


def write_archive(layers, ref, version, path, entrypoint=None):
    archive, diff_ids, descriptors = Archive(), [], []
    title = ref.rsplit("/", 1)[-1].split(":")[0]
    for number, files in enumerate(layers):
        tar = layer_tar(files, number == 0)
        diff_ids.append("sha256:" + hashlib.sha256(tar).hexdigest())
        packed = gzip.compress(tar, compresslevel=6, mtime=0)
        descriptors.append(archive.add(packed, "application/vnd.oci.image.layer.v1.tar+gzip"))
    config = archive.add_json(
        {
            "architecture": ARCHITECTURES[platform.machine()],
            "os": "linux",
            "config": {
                "User": f"{USER}:{USER}",
                "Env": ["PATH=/usr/bin"],
                "Labels": {"org.opencontainers.image.title": title, "org.opencontainers.image.version": version},
                **({"Entrypoint": entrypoint} if entrypoint else {}),
            },
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        },
        "application/vnd.oci.image.config.v1+json",
    )
    manifest_type = "application/vnd.oci.image.manifest.v1+json"
    manifest = archive.add_json(
        {"schemaVersion": 2, "mediaType": manifest_type, "config": config, "layers": descriptors}, manifest_type
    )
    manifest["annotations"] = {
        "io.containerd.image.name": ref,
        "org.opencontainers.image.ref.name": ref.rsplit(":", 1)[-1],
    }
    index = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [manifest]}
    archive.write(path, json.dumps(index, sort_keys=True).encode())
    return manifest["digest"]


def write_root(layers, root):
    for files in layers:
        for path, (content, mode) in files.items():
            target = root + path
            os.makedirs(os.path.dirname(target), exist_ok=True)
            with open(target, "wb") as file:
                file.write(content)
            os.chmod(target, mode)
    os.makedirs(root + "/tmp", exist_ok=True)
    os.chmod(root + "/tmp", 0o1777)


def main():
    parser = argparse.ArgumentParser(description="Make Milena's container image.")
    parser.add_argument("--binaries", required=True, help="folder of the built programs")
    parser.add_argument("--ref", default="milena:dev", help="the image's name and tag")
    parser.add_argument("--out", help="the OCI archive to write")
    parser.add_argument("--root", help="write the files into this folder instead")
    options = parser.parse_args()
    if (options.out is None) == (options.root is None):
        parser.error("give one of --out and --root")
    layers = layers_of(options.binaries)
    content = sum(len(data) for files in layers for data, _ in files.values())
    if options.root:
        write_root(layers, options.root)
        print(f"{options.root}: {content / 2**20:.1f} MiB")
        return
    version = output(os.path.join(options.binaries, "milena"), "--version").split()[-1]
    digest = write_archive(layers, options.ref, version, options.out)
    size = os.path.getsize(options.out)
    print(f"{options.out}: {options.ref} {digest}, {size / 2**20:.1f} MiB, {content / 2**20:.1f} MiB unpacked")


if __name__ == "__main__":
    main()
