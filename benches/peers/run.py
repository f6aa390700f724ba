#!/usr/bin/env python3
"""Runs our engine and its peers on the same rows, in turn, and prints a table.

    python3 benches/peers/run.py [ROW ...] [--engines busbar,skip,event-ruler] [--rounds 5]

ROW is a name that `cargo bench -p rule-engine --bench matching -- --bench --list` prints, or what
stands before its slash, or its first word; none means the rows of `docs/benchmarks.md`.

Every engine is a process that has added its rules and is warm; then each in turn takes one reading
of its own processor time, ROUNDS times over, while the others wait. A figure is the median. An
engine whose total of matches is not what it must be is named and has no figure. `-` is an engine
that refuses the rules, is not set up here (the reason is printed), or was not ready in time.
"""
import argparse
import json
import os
import selectors
import shutil
import statistics
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
TARGET = os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target"))
DATA = os.environ.get("BUSBAR_BENCH_DATA", os.path.join(ROOT, "target", "bench-data"))
BUILT = os.path.join(TARGET, "peers")

OURS = ("busbar", "busbar-whole", "validate", "skip")
PEERS = ("quamina-rs", "quamina-go", "event-ruler")
SECONDS = "0.3"  # of processor time for one reading
ANSWER_SECONDS_MAX = 120  # of wall time for one answer; a pass over `lots` takes a peer seconds

TABLE = """uniq-1/one uniq-1/zero uniq-1/small uniq-100/one uniq-100/zero uniq-100/small
uniq-10000/one uniq-10000/zero uniq-100000/one uniq-100000/zero uniq-1000000/one
fan-100/hundred fan-10000/hundred fan-100000/hundred
mix-100/mixed mix-10000/mixed mix-100000/mixed mixq-100/mixed mixq-10000/mixed mixq-100000/mixed
lots hard""".split()


def build(engines):
    """The command that starts each engine; one that cannot be built is left out, with its reason."""
    built = os.path.join(ROOT, "Cargo.toml")
    out = run(["cargo", "bench", "--manifest-path", built, "-p", "rule-engine", "--bench", "matching",
               "--no-run", "--message-format", "json"])
    artifacts = (json.loads(line) for line in out.splitlines() if line.startswith("{"))
    ours = [a["executable"] for a in artifacts if a.get("target", {}).get("name") == "matching" and a.get("executable")][-1]
    commands = {engine: [ours, "--bench"] for engine in OURS}
    makers = {"quamina-rs": build_rust, "quamina-go": build_go, "event-ruler": build_java}
    for engine in PEERS:
        if engine in engines:
            try:
                commands[engine] = makers[engine]()
            except (OSError, subprocess.CalledProcessError) as error:
                said = ((getattr(error, "stdout", "") or "") + (getattr(error, "stderr", "") or "")).splitlines()
                why = next((line for line in said if "ERROR" in line), said[-1] if said else error)
                print("%s is not set up: %s" % (engine, why), file=sys.stderr)
    return ours, commands


def build_rust():
    folder = os.path.join(BUILT, "rust")
    run(["cargo", "build", "--release", "--locked", "--manifest-path", os.path.join(HERE, "rust", "Cargo.toml"),
         "--target-dir", folder])
    return [os.path.join(folder, "release", "peer")]


def build_go():
    """Built from a copy, so that the newest module can be added to it."""
    folder = os.path.join(BUILT, "go")
    shutil.copytree(os.path.join(HERE, "go"), folder, dirs_exist_ok=True)
    run(["go", "get", "quamina.net/go/quamina/v2@latest"], cwd=folder)
    run(["go", "build", "-o", "peer", "."], cwd=folder)
    return [os.path.join(folder, "peer")]


def build_java():
    folder = os.path.join(BUILT, "java")
    run(["mvn", "-B", "-q", "-f", os.path.join(HERE, "java", "pom.xml"), "-Dbuild.folder=" + folder, "compile"])
    classes = os.path.join(folder, "classes") + ":" + os.path.join(folder, "dependency", "*")
    return ["java", "-XX:+UseSerialGC", "-Xms2g", "-Xmx12g", "-cp", classes, "Peer"]


def run(command, cwd=None):
    return subprocess.run(command, cwd=cwd, check=True, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE).stdout


class Engine:
    """One engine on one row: a process that answers each line with a reading."""

    def __init__(self, name, command, row):
        workload, rules, category, events, _ = row
        if name in OURS:
            command = command + ["--turns", name, workload, "1"]
        else:
            command = command + [workload, os.path.join(DATA, rules), category, os.path.join(DATA, events), SECONDS]
        self.name = name
        self.readings = []
        # One core is enough for a Go program that is asked for its own processor time.
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, env=dict(os.environ, GOMAXPROCS="1"))
        os.set_blocking(self.process.stdout.fileno(), False)
        self.rest = b""

    def line(self, seconds):
        """The next line, or why there is none."""
        until = time.monotonic() + seconds
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            while b"\n" not in self.rest:
                if not selector.select(max(0, until - time.monotonic())):
                    return "refused %s not ready in time" % self.name
                more = os.read(self.process.stdout.fileno(), 65536)
                if not more:
                    error = self.process.stderr.read().decode(errors="replace").strip().splitlines()
                    return "refused %s %s" % (self.name, error[-1] if error else "ended")
                self.rest += more
        line, self.rest = self.rest.split(b"\n", 1)
        return line.decode()

    def read(self, expected):
        """Takes one reading. False when there is none or its matches are wrong."""
        self.process.stdin.write(b"\n")
        self.process.stdin.flush()
        line = self.line(ANSWER_SECONDS_MAX)
        words = line.split()
        good = len(words) == 7 and words[0] == self.name
        if good and self.name not in ("validate", "skip") and words[6] != expected:
            good, line = False, "%s %s has %s matches, not %s" % (self.name, words[1], words[6], expected)
        if not good:
            print(line, file=sys.stderr)
            return False
        self.readings.append(float(words[5]))
        return True

    def stop(self):
        self.process.stdin.close()
        try:
            self.process.wait(2)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        self.process.stderr.close()


def measure(row, commands, engines, rounds, patience):
    """Nanoseconds for each event by engine, and what adding cost."""
    running, added = [], {}
    try:
        running = [Engine(name, commands[name], row) for name in engines if name in commands]
        until = time.monotonic() + patience
        for engine in list(running):
            line = engine.line(until - time.monotonic())
            words = line.split()
            if words[:1] == ["added"]:
                added[engine.name] = (float(words[3]), float(words[4]))
            else:
                print("%s: %s: %s" % (row[0], engine.name, line[:200]), file=sys.stderr)
                running.remove(engine)
                engine.stop()
        for _ in range(rounds):
            for engine in list(running):
                if not engine.read(row[4]):
                    running.remove(engine)
                    engine.readings = []
                    engine.stop()
    finally:
        for engine in running:
            engine.stop()
    for engine in running:
        print("%s %s %.1f [%.1f-%.1f] ns/event" % (engine.name, row[0], statistics.median(engine.readings),
                                                  min(engine.readings), max(engine.readings)), file=sys.stderr, flush=True)
    return {engine.name: statistics.median(engine.readings) for engine in running}, added


def thousands(ns):
    """Thousand events a second, to three digits."""
    rate = 1e6 / ns
    return "%.0f" % rate if 100 <= rate else "%.3g" % rate


def table(rows, engines, figures):
    """Ours and skip in thousand events a second; each peer with how many times slower than ours it is."""
    out = ["| row | " + " | ".join(engines) + " |", "| --- |" + " ---: |" * len(engines)]
    for row in rows:
        cells = []
        for engine in engines:
            ns = figures[row[0]].get(engine)
            cell = "-" if ns is None else thousands(ns)
            ours = figures[row[0]].get("busbar")
            if ns is not None and ours is not None and engine != "busbar":
                cell += " (%.2g×)" % (ns / ours) if ns / ours < 100 else " (%.0f×)" % (ns / ours)
            cells.append(cell)
        out.append("| %s | %s |" % (row[0], " | ".join(cells)))
    return "\n".join(out)


def adding(rows, engines, costs):
    """Rules added a second and bytes a rule, for each rule set of 10,000 rules and more."""
    out = ["| rules | " + " | ".join("%s adds/s | bytes" % e for e in engines) + " |", "| --- |" + " ---: |" * 2 * len(engines)]
    seen = set()
    for row in rows:
        name = row[0].split("/")[0]
        count = name.rsplit("-", 1)[-1]
        if name in seen or not count.isdigit() or int(count) < 10000 or not costs[row[0]]:
            continue
        seen.add(name)
        cells = ["%.0f | %.0f" % costs[row[0]][e] if e in costs[row[0]] else "- | -" for e in engines]
        out.append("| %s | %s |" % (name, " | ".join(cells)))
    return "\n".join(out) if seen else ""


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("rows", nargs="*", metavar="ROW")
    parser.add_argument("--engines", default="busbar,skip," + ",".join(PEERS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--patience", type=int, default=300, help="seconds for an engine to add its rules and warm up")
    options = parser.parse_args()
    engines = options.engines.split(",")
    unknown = set(engines) - set(OURS) - set(PEERS)
    if unknown:
        parser.error("no such engine: " + ", ".join(sorted(unknown)))
    ours, commands = build(engines)
    every = [line.split() for line in run([ours, "--bench", "--list"]).splitlines()]
    wanted = options.rows or TABLE

    def is_wanted(name):
        return any(w in (name, name.split("/")[0], name.replace("/", "-").split("-")[0]) for w in wanted)

    rows = [row for row in every if is_wanted(row[0])]
    if not rows:
        parser.error("no row of this name")
    missing = sorted({f for row in rows for f in (row[1], row[3]) if not os.path.exists(os.path.join(DATA, f))})
    if missing:
        sys.exit("not in %s: %s\n`just bench-data` makes them" % (DATA, ", ".join(missing)))
    figures, costs = {}, {}
    for row in rows:
        figures[row[0]], costs[row[0]] = measure(row, commands, engines, options.rounds, options.patience)
    print("Thousand events a second of processor time (in brackets: time for an event, ours = 1)\n")
    print(table(rows, engines, figures))
    costs_table = adding(rows, [e for e in engines if e not in ("validate", "skip")], costs)
    if costs_table:
        print("\n" + costs_table)


if __name__ == "__main__":
    main()
