#!/usr/bin/env python3
"""Sends 1 GB from one worker into its rotated log: gear-supervisor beside Debian's supervisord.

    cargo build --release
    python3 tests/bench/logs.py [--megabytes 1000] [--rounds 3] [--line 100]

Both run by turns on this machine, so that the ratios hold when the machine is busy; ours with a
follower attached (`attach`), supervisord without one, and with --followed with one, too (`supervisorctl
tail -f`, which may slow it down to a few MB/s). The rate is from the first byte to the last byte in the
file, the CPU time is the daemon's alone. Every line is looked for afterwards: in the files, and in
what the follower got or was told that it missed.
"""
import argparse
import glob
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time

from supervision import OURS, THEIRS, launch, our_file, wait_until

SIZE_MAX = 50 * 1000 * 1000
KEEP = 100
WRITER = """
import os, sys, time
line, blocks = int(sys.argv[1]), int(sys.argv[2])
block = (b"x" * (line - 1) + b"\\n") * (65536 // line)
while not os.path.exists("go"):
    time.sleep(0.01)
begun = time.time()
for _ in range(blocks):
    rest = block
    while rest:
        rest = rest[os.write(1, rest):]
with open("begun.tmp", "w") as file:
    file.write(str(begun))
os.rename("begun.tmp", "begun")
time.sleep(100000)
"""


def ours(form):
    def prepare(folder, command):
        quoted = ", ".join(f'"{word}"' for word in command)
        pools = f"""[pool.loud]
command = [{quoted}]
protocol = "none"
directory = "{folder}"
log = {{ max_size = "{SIZE_MAX}B", keep = {KEEP}, format = "{form}" }}
"""
        file = our_file(folder, pools, "")
        return ([OURS, "-c", file], [OURS, "-c", file, "attach", "-n", "0", "--json", "loud:1"],
                f"{folder}/log/loud.log")
    return prepare


def theirs(folder, command):
    path = os.path.join(folder, "supervisord.conf")
    with open(path, "w") as file:
        file.write(f"""[supervisord]
nodaemon=true
user=root
logfile={folder}/supervisord.log
pidfile={folder}/supervisord.pid
[unix_http_server]
file={folder}/s.sock
[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
[supervisorctl]
serverurl=unix://{folder}/s.sock
[program:loud]
command={" ".join(command)}
directory={folder}
redirect_stderr=true
stdout_logfile={folder}/loud.log
stdout_logfile_maxbytes={SIZE_MAX}
stdout_logfile_backups={KEEP}
""")
    return [THEIRS, "-n", "-c", path], ["true"], f"{folder}/loud.log"


def theirs_followed(folder, command):
    daemon, _, log = theirs(folder, command)
    return daemon, ["supervisorctl", "-c", daemon[-1], "tail", "-f", "loud"], log


def cpu_s(pid):
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def text_lines(log, line):
    """Whole lines of the writer in the log and its older files, and bytes that are none of them."""
    lines, strange = 0, 0
    text = b"x" * (line - 1)
    for path in glob.glob(f"{log}*"):
        with open(path, "rb") as file:
            for found in file:
                if found.rstrip(b"\n").endswith(text) or b'"text":"' + text + b'"' in found:
                    lines += 1
                elif b" mark| " not in found and b'"mark"' not in found:
                    strange += len(found)
    return lines, strange


def warm(folder, megabytes):
    """Has the kernel touch as much memory as the log's pages will take, and free it.

    A virtual machine may have given it back to its host, and to get it again costs more than to copy
    into it, whoever copies.
    """
    block = bytes(1000 * 1000)
    with open(f"{folder}/followed/warm", "wb") as file:
        for _ in range(megabytes):
            file.write(block)
    os.unlink(f"{folder}/followed/warm")


def sizes(log):
    return sum(os.path.getsize(path) for path in glob.glob(f"{log}*") if os.path.exists(path))


def followed(path):
    """Lines that the follower got, and those that it was told it missed."""
    got, missed = 0, 0
    with open(path, "rb") as file:
        for line in file:
            if line.startswith(b'{"missed"'):
                missed += int(line[line.index(b":") + 1:line.index(b"}")])
            elif b'"stream":"stdout"' in line:
                got += 1
    return got, missed


def run(prepare, options):
    per_block = 65536 // options.line
    blocks = options.megabytes * 1000 * 1000 // (per_block * options.line) + 1
    lines, megabytes = blocks * per_block, blocks * per_block * options.line / 1e6
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        with open(f"{folder}/writer.py", "w") as file:
            file.write(WRITER)
        command = [sys.executable, f"{folder}/writer.py", str(options.line), str(blocks)]
        daemon_command, follow, log = prepare(folder, command)
        daemon = launch(daemon_command)
        wait_until(lambda: os.path.exists(f"{folder}/s.sock"), 0.01)
        time.sleep(2)
        # Not in the folder of our file, which is watched.
        os.mkdir(f"{folder}/followed")
        with open(f"{folder}/followed/output", "wb") as output:
            follower = subprocess.Popen(follow, stdout=output, stderr=subprocess.DEVNULL)
        # Python takes a while to start.
        time.sleep(3)
        warm(folder, 2 * options.megabytes)
        before = cpu_s(daemon.pid)
        open(f"{folder}/go", "w").close()
        wait_until(lambda: os.path.exists(f"{folder}/begun"), 0.005, 600)
        wait_until(lambda: sizes(log) >= megabytes * 1e6, 0.005, 600)
        with open(f"{folder}/begun") as file:
            seconds = time.time() - float(file.read())
        # What the daemon still does for the follower is its work, too.
        time.sleep(1)
        cpu = cpu_s(daemon.pid) - before
        daemon.send_signal(signal.SIGTERM)
        daemon.wait(60)
        follower.send_signal(signal.SIGINT)
        follower.wait(60)
        written, strange = text_lines(log, options.line)
        if written != lines or strange:
            raise SystemExit(f"{lines} lines were printed, {written} are in {log}*, "
                             f"and {strange} bytes of something else")
        got, missed = followed(f"{folder}/followed/output")
        if prepare not in (theirs, theirs_followed) and got + missed != lines:
            raise SystemExit(f"{lines} lines were printed, the follower got {got} and "
                             f"missed {missed}")
        if prepare is theirs_followed:
            got = os.path.getsize(f"{folder}/followed/output") // options.line
    return megabytes / seconds, cpu * 1000 / megabytes, got, missed


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--megabytes", type=int, default=1000)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--line", type=int, default=100, help="bytes in a line")
    arguments.add_argument("--formats", nargs="*", default=["raw", "text", "json"])
    arguments.add_argument("--followed", action="store_true")
    options = arguments.parse_args()
    rivals = {}
    if os.path.exists(THEIRS):
        rivals["supervisord"] = theirs
        if options.followed:
            rivals["supervisord, followed"] = theirs_followed
    else:
        print("supervisord is not installed: apt-get install supervisor")
    rivals.update({f"ours, {form}": ours(form) for form in options.formats})
    results = {name: [] for name in rivals}
    for _ in range(options.rounds):
        for name, prepare in rivals.items():
            results[name].append(run(prepare, options))
            rate, cpu, got, missed = results[name][-1]
            print(f"  {name:22}{rate:8.0f} MB/s {cpu:7.2f} s of CPU per GB, follower: "
                  f"{got} lines, {missed} missed", flush=True)
    middle = {name: [statistics.median(column) for column in zip(*runs)]
              for name, runs in results.items()}
    theirs_rate, theirs_cpu = middle.get("supervisord", (None, None, 0, 0))[:2]
    for name, (rate, cpu, _, _) in middle.items():
        ratios = ""
        if theirs_rate and not name.startswith("supervisord"):
            ratios = f"   rate x {rate / theirs_rate:.2f}, CPU x {cpu / theirs_cpu:.2f}"
        print(f"{name:24}{rate:8.0f} MB/s {cpu:7.2f} s/GB{ratios}")


if __name__ == "__main__":
    main()
