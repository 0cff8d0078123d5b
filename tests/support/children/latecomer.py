"""Takes its time to start: answers nothing until the file named by its argument exists."""

import sys
import time
from pathlib import Path

from tests.support.children.speaking import answer, serve

if __name__ == "__main__":
    while not Path(sys.argv[1]).exists():
        time.sleep(0.01)
    serve({"ok": lambda request: answer(request, "here")})
