"""Where a folder lies: SQLite's WAL needs memory that all who use a database share; a network file system has none."""

from __future__ import annotations

import re
from pathlib import Path

MOUNTS = Path("/proc/mounts")
NETWORK = {
    *("9p", "afs", "beegfs", "ceph", "cifs", "coda", "gpfs", "lustre"),
    *("ncpfs", "nfs", "nfs4", "orangefs", "pvfs2", "smb3", "smbfs"),
}
FUSE = {
    *("blobfuse", "blobfuse2", "gcsfuse", "glusterfs", "goofys", "juicefs"),
    *("mount-s3", "mountpoint-s3", "rclone", "s3fs", "seaweedfs", "sshfs"),
}
"""What mounts a network file system in user space."""


def network_kind(folder: Path) -> str:
    """The type of the network file system that a folder lies on, or would; '' on a local disk, or if nobody can say.

    The root counts as local: sandboxes serve it over 9p, to one machine alone.
    """
    try:
        lines = MOUNTS.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    place = folder.resolve()
    best, kind, source = Path(), "", ""
    for line in lines:
        device, point, type_, *_ = line.split(" ")
        mounted = Path(re.sub(r"\\(\d{3})", lambda found: chr(int(found[1], 8)), point))
        if mounted != Path("/") and place.is_relative_to(mounted) and len(mounted.parts) >= len(best.parts):
            best, kind, source = mounted, type_, device
    if kind in NETWORK or (kind.startswith("fuse.") and kind.removeprefix("fuse.") in FUSE):
        return kind
    return source if kind == "fuse" and source in FUSE else ""
