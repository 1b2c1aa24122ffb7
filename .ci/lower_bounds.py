"""Print the lower bounds of the dependencies of the package and its tests, as constraints for pip."""

import re
import sys
import tomllib
from pathlib import Path

declared = tomllib.loads(Path("pyproject.toml").read_text("utf-8"))
for requirement in [*declared["project"]["dependencies"], *declared["dependency-groups"]["test"]]:
    form = re.fullmatch(r"([\w-]+)(?:\[\w+\])?>=([\d.]+)", requirement)
    if not form:
        sys.exit(f"{requirement}: write name>=version")
    sys.stdout.write(f"{form[1]}=={form[2]}\n")
