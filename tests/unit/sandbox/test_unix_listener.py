"""The sandbox's unix socket: for its user only, and in a folder of any depth."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

from clary.sandbox.http import _unix_listener


def test_a_deep_folder_holds_a_private_socket(tmp_path: Path) -> None:
    folder = tmp_path / ("deep" * 40)
    folder.mkdir()
    with _unix_listener(folder / "sandbox.sock") as listener, socket.socket(socket.AF_UNIX) as client:
        listener.listen()
        assert stat.S_IMODE((folder / "sandbox.sock").stat().st_mode) == 0o600
        descriptor = os.open(folder, os.O_PATH)
        try:
            client.connect(f"/proc/self/fd/{descriptor}/sandbox.sock")
        finally:
            os.close(descriptor)
        listener.accept()[0].close()
