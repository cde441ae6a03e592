#!/usr/bin/env python3
"""The pause container's image, from its one static program.

usage: pause_image.py PROGRAM OUT.tar
"""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../../../tools/image"))
import make_image  # noqa: E402

with open(sys.argv[1], "rb") as file:
    layer = {"/pause": (file.read(), 0o755)}
print(make_image.write_archive([layer], "localhost/pause:3.10", "3.10", sys.argv[2], entrypoint=["/pause"]))
