"""The section that tests/bench/tag_index adds to RESULTS.md."""

import os
import platform
import sqlite3
import subprocess

import postgres_cluster


def machine():
    cpu = next((line.split(":", 1)[1].strip()
                for line in open("/proc/cpuinfo", encoding="utf-8")
                if line.startswith("model name")), "unknown")
    memory_kib = next(int(line.split()[1])
                      for line in open("/proc/meminfo", encoding="utf-8")
                      if line.startswith("MemTotal"))
    versions = {"SQLite": sqlite3.sqlite_version}
    if postgres_cluster.is_installed():
        versions["PostgreSQL"] = subprocess.run(
            [postgres_cluster.BIN / "postgres", "--version"], text=True,
            capture_output=True, check=True).stdout.split()[2]
    return {"machine": f"{os.cpu_count()} × {cpu}, "
                       f"{round(memory_kib / 2**20)} GiB, "
                       f"Linux {platform.release()}",
            "versions": versions}


def _fastest(ways, system, shape):
    """The smallest p50 and the smallest p99 of a system's ways, and whose."""
    timings = [(timing[shape], way) for way, timing in ways.items()
               if way.startswith(system + ": ") and shape in timing]
    if not timings:
        return None
    p50 = min(timings, key=lambda t: t[0]["p50_us"])
    p99 = min(timings, key=lambda t: t[0]["p99_us"])
    return p50[0]["p50_us"], p99[0]["p99_us"], p50[1].split(": ", 1)[1]


def _pair(timing):
    if timing is None:
        return "–"
    return f"{timing['p50_us']:.0f} / {timing['p99_us']:.0f}"


def _peer(peer, ours):
    if peer is None:
        return "–"
    times = f"{peer[0]:.0f} / {peer[1]:.0f}"
    if ours is None:
        return times
    return (f"{times} ({peer[0] / ours['p50_us']:.1f} / "
            f"{peer[1] / ours['p99_us']:.1f} ×)")


def _table(figures):
    ways = figures["ways"]
    lines = ["| question | rows, or the count | search | Catalog | over gRPC | PostgreSQL | "
             "SQLite |", "|---|---|---|---|---|---|---|"]
    for shape, rows in figures["rows"].items():
        search = ways.get("Diptych: search in process", {}).get(shape)
        catalog = ways.get("Diptych: Catalog in process", {}).get(shape)
        wire = ways.get("Diptych: over gRPC with TLS", {}).get(shape)
        ours = search or catalog
        if shape.startswith("count by"):
            rows_text = f"{rows:.0f} groups"
        else:
            rows_text = f"{rows:.0f}"
        lines.append(" | ".join(
            [f"| {shape}", rows_text, _pair(search), _pair(catalog),
             _pair(wire), _peer(_fastest(ways, "PostgreSQL", shape), ours),
             _peer(_fastest(ways, "SQLite", shape), ours)]) + " |")
    return "\n".join(lines)


def _alone(figures):
    ways = figures["ways"]
    lines = ["| question | search | Catalog |", "|---|---|---|"]
    catalog = ways["Diptych: Catalog in process"]
    search = ways["Diptych: search in process"]
    for shape, timing in catalog.items():
        lines.append(f"| {shape} | {_pair(search.get(shape))} | "
                     f"{_pair(timing)} |")
    return f"""
## The tag index alone, {figures['date']}

`{figures['command']}` on {figures['machine']}. \
{figures['sizes']['segments']} segments, seed {figures['seed']}, fed in \
{figures['feed']['seconds']:.0f} s without a log; p50 / p99 µs. Postings: \
{figures['sizes']['bytes_per_posting']:.2f} bytes each.

{chr(10).join(lines)}

{_sizes(figures)}
"""


def _winners(figures):
    lines = []
    for system in ("PostgreSQL", "SQLite"):
        names = [f[2] for f in (_fastest(figures["ways"], system, shape)
                                for shape in figures["rows"]) if f]
        counted = sorted({(names.count(n), n) for n in names}, reverse=True)
        if counted:
            lines.append(f"{system}'s fastest way at p50: " + ", ".join(
                f"{name} ({count})" for count, name in counted) + ".")
    return "\n".join(lines)


def _sizes(figures):
    sizes = figures["sizes"]
    lines = ["| on disk | MB | bytes per segment |", "|---|---|---|"]
    segments = sizes["segments"]

    def line(name, size):
        lines.append(f"| {name} | {size / 1e6:.1f} | {size / segments:.1f} |")
    line("Diptych, all", sizes["all_bytes"])
    for family, size in sizes["family_bytes"].items():
        if size:
            line(f"Diptych, {family}", size)
    for system in ("postgres", "sqlite"):
        for name, size in figures.get(system, {}).get("bytes", {}).items():
            line(f"{'PostgreSQL' if system == 'postgres' else 'SQLite'}, "
                 f"{name}", size)
    return "\n".join(lines)


def section(figures):
    if "feed" in figures:
        return _alone(figures)
    log, rebuild = figures["log"], figures["rebuild"]
    cold = figures["ways"].get("Diptych, cold: search in process", {})
    sync = figures.get("fdatasync")
    sustained = figures.get("sustained")
    facts = [
        f"Rebuild from a log of {log['log_bytes'] / 1e9:.2f} GB "
        f"({log['records']} records, no chunks): {rebuild['seconds']:.1f} s, "
        f"{rebuild['cpu_s']:.1f} s of CPU, "
        f"{rebuild['segments'] / rebuild['seconds']:.0f} segments/s.",
        f"Postings: {figures['sizes']['postings']} in "
        f"{figures['sizes']['posting_blocks']} blocks, "
        f"{figures['sizes']['bytes_per_posting']:.2f} bytes each.",
    ]
    for shape, timing in cold.items():
        facts.append(f"Cold, {shape}: {_pair(timing)} µs.")
    if sync:
        facts.append("One durable append of 4 KiB on this disk, which an "
                     f"access record costs: {_pair(sync)} µs.")
    if sustained:
        facts.append(
            f"Taking in {sustained['segments']} segments on one core: "
            f"{sustained['segments_per_s']:.0f} segments/s; meanwhile "
            f"{sustained['shape']}: {_pair(sustained['busy'])} µs, idle "
            f"{_pair(sustained['idle'])} µs.")
    versions = ", ".join(f"{k} {v}" for k, v in figures["versions"].items())
    return f"""
## The tag index, {figures['date']}

`{figures['command']}` on {figures['machine']}; {versions}. \
{log['segments']} segments, {log['sessions']} sessions, seed \
{figures['seed']}, up to {figures['questions']} questions of each kind; p50 / \
p99 µs. All answers are the same in all systems. Of a system with several ways \
the fastest counts, at p50 and at p99 by itself; in brackets how many times \
longer it takes than the search.

{_table(figures)}

{_winners(figures)}

{chr(10).join('- ' + fact for fact in facts)}

{_sizes(figures)}
"""
