"""A root of its own for a process: Linux namespaces without network, in which all but one folder is read-only.

What bubblewrap does, for an ordinary user and without an installed tool. In the new root are the interpreter, its
packages and the system's libraries, read-only; a copy of the submission, which alone can be written; and nothing else:
no other submission, no home, no other process. Afterwards the process has no capabilities.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import stat
import sys
from pathlib import Path

import mintad

HOME = "/submission"  # of the student's process, in the new root
SYSTEM = (
    "/usr /bin /sbin /lib /lib32 /lib64 /etc/ld.so.cache /etc/ld.so.conf /etc/ld.so.conf.d /etc/alternatives "
    "/etc/localtime /dev/null /dev/zero /dev/full /dev/random /dev/urandom /sys/devices/system/cpu"
).split()
CHECKS = Path(mintad.__file__).parent / "course" / "checks"  # where the reference functions are
READY = b"ready\n"  # what a sandbox writes when it has imported what it needs
DISK_MB = 256  # that a submission may write
USER = 1000  # number of the user in the new root
_NEW = {"NS": 0x00020000, "IPC": 0x08000000, "USER": 0x10000000, "PID": 0x20000000, "NET": 0x40000000}
_BIND, _RECURSIVE, _PRIVATE, _DETACH = 0x1000, 0x4000, 0x40000, 2
_READ_ONLY, _NO_SUID, _NO_DEV, _AT_RECURSIVE, _AT_FDCWD = 1, 2, 4, 0x8000, -100
_NO_NEW_PRIVILEGES, _DROP_BOUND, _DEATH_SIGNAL, _CAPABILITIES = 38, 24, 1, 0x20080522
_MOUNT_SETATTR, _PIVOT_ROOT = 442, {"x86_64": 155, "aarch64": 41}


class NotPossible(Exception):
    """Raised where this system does not let an ordinary user make namespaces."""


def enter(folder: Path, root: Path) -> None:
    """Move this process to a new root that holds a copy of the folder at `HOME`; its next children are in it, alone.

    Args:
        folder: of the submission; links and special files are not copied.
        root: an empty folder, on which the new root is mounted.

    Raises:
        NotPossible: the system refuses a step; the process must not go on.
    """
    if sys.platform != "linux" or os.uname().machine not in _PIVOT_ROOT:
        raise NotPossible("namespaces need Linux on x86-64 or ARM64")
    user, group = os.getuid(), os.getgid()
    _call("unshare", ctypes.c_int(sum(_NEW.values())))
    for file, text in ("setgroups", "deny"), ("uid_map", f"{USER} {user} 1"), ("gid_map", f"{USER} {group} 1"):
        Path(f"/proc/self/{file}").write_text(text)
    with contextlib.suppress(OSError):  # in a container whose /proc/sys is read-only
        Path("/proc/sys/user/max_user_namespaces").write_text("0")  # of this one: the student's code makes no others
    _mount(None, "/", None, _RECURSIVE | _PRIVATE)
    _mount("tmpfs", root, "tmpfs", _NO_SUID, f"size={2 * DISK_MB}m")
    for path in visible():
        _bind(path, root)
    if (root / CHECKS.relative_to("/")).is_dir():
        _mount("tmpfs", root / CHECKS.relative_to("/"), "tmpfs", _NO_SUID, "size=4k")
    home = root / HOME[1:]
    home.mkdir()
    (root / "proc").mkdir(exist_ok=True)
    if not (root / "tmp").exists():  # it does if the package lies in it
        (root / "tmp").symlink_to(f"{HOME}/.tmp")
    _set_attributes(root, add=_READ_ONLY | _NO_SUID, recursive=True)
    _mount("tmpfs", home, "tmpfs", _NO_SUID | _NO_DEV, f"size={DISK_MB}m")
    copy_files(folder, home)
    os.chdir(root)
    _check(_libc().syscall(_PIVOT_ROOT[os.uname().machine], b".", b"."), "pivot_root")
    _call("umount2", b".", ctypes.c_int(_DETACH))
    os.chdir(HOME)


def seal() -> None:
    """End the moving, in the first child: mount its /proc, give up all capabilities, die with the parent."""
    try:
        _mount("proc", "/proc", "proc", _NO_SUID | _NO_DEV | _READ_ONLY)
    except NotPossible:  # in a container; then there is none
        pass
    prctl = _libc().prctl
    for capability in range(64):
        prctl(_DROP_BOUND, capability, 0, 0, 0)
    header, nothing = (ctypes.c_uint32 * 2)(_CAPABILITIES, 0), (ctypes.c_uint32 * 6)()
    _call("capset", ctypes.byref(header), ctypes.byref(nothing))
    _check(prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0), "no new privileges")
    die_with_parent()


def die_with_parent() -> None:
    """Ask the system to kill this process when its parent ends, where the system can do that."""
    if sys.platform == "linux":
        _libc().prctl(_DEATH_SIGNAL, 9, 0, 0, 0)


def visible() -> list[Path]:
    """Return what the new root shows of this machine, outer folders first."""
    package = Path(mintad.__file__).parent
    search = [Path(entry) for entry in sys.path if entry and os.path.isabs(entry)]
    paths = [Path(path) for path in SYSTEM] + [Path(sys.prefix), Path(sys.base_prefix), Path(sys.exec_prefix)]
    # The checkout also holds the notebooks with their solutions, so only its packages are shown.
    paths += [path for path in search if path != package.parent or path.name == "site-packages"]
    paths += [package, package.parent / "toy"]
    shown: list[Path] = []
    for path in sorted({path for path in paths if os.path.lexists(path)}, key=lambda path: len(path.parts)):
        if path != Path("/") and not any(path.is_relative_to(outer) for outer in shown if not outer.is_symlink()):
            shown.append(path)
    return shown


def copy_files(source: Path, target: Path) -> None:
    """Copy a folder's regular files and folders into another folder, and make `.tmp` there; leave the rest."""
    for folder, folders, files in os.walk(source):
        inside = target / os.path.relpath(folder, source)
        inside.mkdir(exist_ok=True)
        folders[:] = [name for name in folders if not os.path.islink(os.path.join(folder, name))]
        for name in files:
            path = os.path.join(folder, name)
            if stat.S_ISREG(os.lstat(path).st_mode) and inside / name != target / ".tmp":
                shutil.copyfile(path, inside / name)
    (target / ".tmp").mkdir(exist_ok=True)


def _bind(path: Path, root: Path) -> None:
    target = root / path.relative_to("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    if path.is_symlink():  # /lib -> usr/lib
        target.symlink_to(os.readlink(path))
        return
    if path.is_dir():
        target.mkdir(exist_ok=True)
    else:
        target.touch()
    _mount(path, target, None, _BIND | _RECURSIVE)


def _mount(source: object, target: object, kind: str | None, flags: int, options: str | None = None) -> None:
    encoded = [None if text is None else os.fsencode(str(text)) for text in (source, target, kind, options)]
    _check(_libc().mount(*encoded[:3], ctypes.c_ulong(flags), encoded[3]), f"mounting {target}")


def _set_attributes(path: Path, *, add: int, recursive: bool) -> None:
    attributes = (ctypes.c_uint64 * 4)(add, 0, 0, 0)
    flags = _AT_RECURSIVE if recursive else 0
    arguments = _AT_FDCWD, os.fsencode(path), flags, ctypes.byref(attributes), ctypes.sizeof(attributes)
    _check(_libc().syscall(_MOUNT_SETATTR, *arguments), "making mounts read-only")


def _call(name: str, *arguments: object) -> None:
    _check(getattr(_libc(), name)(*arguments), name)


def _check(result: int, step: str) -> None:
    if result != 0:
        raise NotPossible(f"{step}: {os.strerror(ctypes.get_errno())}")


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
