"""What operating systems, NAS and archives leave in folders: ignored wherever it lies, and counted."""

from __future__ import annotations

LITTER = "left by an operating system, a NAS or an archive: ignored"
"""The text of the note that every such file or folder gets."""
_NAMES = frozenset(
    {
        *(".ds_store", ".appledouble", ".fseventsd", ".spotlight-v100", ".trashes", "__macosx", "icon\r"),
        *("thumbs.db", "ehthumbs.db", "desktop.ini", "$recycle.bin", "system volume information"),
        *("@eadir", "@tmp", "#recycle", "#snapshot", "@recycle", ".@__thumb", ".thumbnails", "lost+found"),
    }
)


def is_litter(name: str) -> bool:
    """Return whether a file or folder of this name is litter: ``._x``, Thumbs.db, @eaDir, $RECYCLE.BIN and the like."""
    lower = name.lower()
    return lower in _NAMES or lower.startswith(("._", ".trash-", ".nfs"))
