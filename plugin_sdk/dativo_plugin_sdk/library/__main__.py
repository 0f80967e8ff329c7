"""Print the folder of dativo_plugin.h, for a compiler's -I."""

from __future__ import annotations

import sys

from . import header_folder

sys.stdout.write(f"{header_folder()}\n")
