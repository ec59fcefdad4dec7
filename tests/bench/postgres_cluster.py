"""A PostgreSQL 15 of a benchmark's own, in a folder, on a Unix socket."""

import os
import pathlib
import pwd
import shutil
import subprocess

BIN = pathlib.Path("/usr/lib/postgresql/15/bin")

# For a machine with 16 GiB or more that does nothing else. Durability is left
# out: nothing is written while questions are timed.
SETTINGS = {
    "shared_buffers": "4GB",
    "effective_cache_size": "12GB",
    "work_mem": "64MB",
    "maintenance_work_mem": "1GB",
    "max_wal_size": "8GB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "fsync": "off",
    "jit": "off",
    "random_page_cost": "1.1",
    "autovacuum": "off",
    "default_statistics_target": "1000",
    "max_parallel_workers_per_gather": "0",
    "listen_addresses": "''",
}


def is_installed():
    return (BIN / "postgres").is_file()


def install():
    """From Debian, if this user may; the package's own cluster stays unused."""
    subprocess.run(["apt-get", "install", "-y", "-q",
                    "--no-install-recommends", "postgresql-15"], check=True,
                   env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
                   stdout=subprocess.DEVNULL)


class Cluster:
    """Started on entry, stopped and removed on exit."""

    def __init__(self, folder, settings=None):
        self.folder = pathlib.Path(folder)
        self.settings = {**SETTINGS, **(settings or {})}
        # The server refuses to run as root.
        self.user = "nobody" if os.getuid() == 0 else None

    @property
    def connection(self):
        return f"host={self.folder} user=bench dbname=postgres"

    def _run(self, *arguments):
        subprocess.run([str(a) for a in arguments], check=True, user=self.user,
                       cwd="/", stdin=subprocess.DEVNULL,
                       stdout=subprocess.DEVNULL)

    def start(self):
        self._run(BIN / "pg_ctl", "start", "-w", "-t", "120", "-D",
                  self.folder / "data", "-l", self.folder / "log", "-o",
                  f"-k {self.folder}")

    def stop(self):
        self._run(BIN / "pg_ctl", "stop", "-w", "-m", "fast", "-D",
                  self.folder / "data")

    def __enter__(self):
        self.folder.mkdir(parents=True)
        if self.user is not None:
            entry = pwd.getpwnam(self.user)
            os.chown(self.folder, entry.pw_uid, entry.pw_gid)
        try:
            self._run(BIN / "initdb", "-D", self.folder / "data", "-U",
                      "bench", "-A", "trust", "-E", "UTF8", "--locale=C",
                      "--no-sync")
            with open(self.folder / "data/postgresql.conf", "a",
                      encoding="utf-8") as file:
                for name, value in self.settings.items():
                    file.write(f"{name} = {value}\n")
            self.start()
        except BaseException:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise
        return self

    def __exit__(self, *_):
        try:
            self.stop()
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)
