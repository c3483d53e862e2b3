"""The versions of the named packages in this environment, printed as JSON.

    python -m benchmarks.engines.versions torch numpy

For a package that is installed from a folder it adds a digest of its Python files, because they may
differ from the version.
"""

import hashlib
import json
import sys
from importlib import metadata
from pathlib import Path
from urllib.parse import unquote, urlparse


def version_of(name: str) -> str:
    """Returns the version, with " sources " and 12 hexadecimal digits if it is in a folder."""
    distribution = metadata.distribution(name)
    origin = json.loads(distribution.read_text("direct_url.json") or "{}")
    if "dir_info" not in origin:
        return distribution.version
    folder = Path(unquote(urlparse(origin["url"]).path)) / name
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        digest.update(str(path.relative_to(folder)).encode() + b"\0" + path.read_bytes())
    return f"{distribution.version} sources {digest.hexdigest()[:12]}"


if __name__ == "__main__":
    print(json.dumps({name: version_of(name) for name in sys.argv[1:]}))
