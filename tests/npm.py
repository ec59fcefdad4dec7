"""Packages from npm, at the versions that a lock file in this tree pins."""

import hashlib
import os
import pathlib
import shutil
import subprocess
import unittest

import tree


def install(folder):
    """Installs what ROOT/`folder`/package-lock.json names into .work.

    Needs the network only the first time, and again when the lock changes.

    Returns:
      The folder that holds node_modules.

    Raises:
      unittest.SkipTest: there is no npm, or it reached no registry.
    """
    source = tree.ROOT / folder
    lock = (source / "package-lock.json").read_bytes()
    version = hashlib.sha256(lock).hexdigest()
    target = tree.ROOT / ".work" / "npm" / folder.replace("/", "-")
    stamp = target / "installed"
    if stamp.is_file() and stamp.read_text() == version:
        return target
    if not shutil.which("npm"):
        raise unittest.SkipTest("no npm")
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(source / name, target)
    run = subprocess.run(
        ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
        cwd=target, capture_output=True, text=True, timeout=300, check=False,
        env={**os.environ, "NO_UPDATE_NOTIFIER": "1"})
    if run.returncode != 0:
        unreachable = ("ENOTFOUND", "ECONNREFUSED", "ETIMEDOUT", "EAI_AGAIN",
                       "ENETUNREACH")
        if any(word in run.stderr for word in unreachable):
            raise unittest.SkipTest("no npm registry within reach")
        raise RuntimeError(f"npm ci in {folder}:\n{run.stderr}")
    stamp.write_text(version)
    return target


def buf():
    """Path of the buf program."""
    return str(pathlib.Path(install("tests/lint")) /
               "node_modules/.bin/buf")
