#!/usr/bin/env python3
"""Times how workers come up, go, and are replaced: gear-supervisor beside Debian's supervisord.

    cargo build --release
    python3 tests/bench/supervision.py [--workers 200 1000] [--rounds 3] [--idle 60]

Both run by turns on this machine, so that the ratios hold when the machine is busy. The last row is
what a bare spawn of as many processes takes. Times are medians, in milliseconds.
"""
import argparse
import os
import signal
import socket
import statistics
import struct
import subprocess
import tempfile
import time

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
OURS = os.environ.get("GEAR_SUPERVISOR", os.path.join(ROOT, "target", "release", "gear-supervisor"))
THEIRS = "/usr/bin/supervisord"
PATIENCE_S = 60


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def our_file(folder, pools, listen):
    path = os.path.join(folder, "workers.toml")
    with open(path, "w") as file:
        file.write(f"""[supervisor]
state_dir = "{folder}/state"
log_dir = "{folder}/log"
socket = "{folder}/s.sock"
[broker]
listen = [{listen}]
[defaults]
user = "${{USER}}"
{pools}""")
    return path


def start_ours(folder, workers):
    pools = f'[pool.sleep]\ncommand = "sleep 100000"\nprotocol = "none"\ncount = {workers}\n'
    return [OURS, "-c", our_file(folder, pools, "")]


def start_theirs(folder, workers):
    path = os.path.join(folder, "supervisord.conf")
    with open(path, "w") as file:
        file.write(f"""[supervisord]
nodaemon=true
user=root
minfds=8192
logfile={folder}/supervisord.log
pidfile={folder}/supervisord.pid
childlogdir={folder}
[program:sleep]
command=sleep 100000
process_name=%(program_name)s_%(process_num)04d
numprocs={workers}
autorestart=true
""")
    return [THEIRS, "-n", "-c", path]


def launch(command):
    environment = dict(os.environ, USER=os.environ.get("USER", "root"))
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                            env=environment)


def children(pid):
    found = []
    for task in os.listdir(f"/proc/{pid}/task"):
        try:
            with open(f"/proc/{pid}/task/{task}/children") as file:
                found += file.read().split()
        except FileNotFoundError:
            pass
    return found


def sleeps(pid):
    """Whether the process has become the worker: the daemon's own step between is over."""
    try:
        with open(f"/proc/{pid}/comm") as file:
            return file.read() == "sleep\n"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_until(seen, pause_s):
    deadline = time.monotonic() + PATIENCE_S
    while not seen():
        if time.monotonic() > deadline:
            raise SystemExit("waited in vain")
        time.sleep(pause_s)


def up_and_gone(command, workers):
    """Milliseconds until all workers run, and from SIGTERM until all and the daemon are gone."""
    begun = time.monotonic()
    daemon = launch(command)
    running = []

    def all_run():
        running[:] = children(daemon.pid)
        return len(running) >= workers and all(sleeps(pid) for pid in running)
    wait_until(all_run, 0.005)
    up = time.monotonic() - begun
    begun = time.monotonic()
    daemon.send_signal(signal.SIGTERM)
    daemon.wait(PATIENCE_S)
    wait_until(lambda: not any(sleeps(pid) for pid in running), 0.001)
    return up * 1000, (time.monotonic() - begun) * 1000


def replaced(command, kills):
    """Milliseconds from kill -9 of a healthy worker until its successor runs: one for each kill."""
    daemon = launch(command)
    wait_until(lambda: any(sleeps(pid) for pid in children(daemon.pid)), 0.005)
    time.sleep(1.5)
    times = []
    for _ in range(kills):
        before = set(children(daemon.pid))
        victim = next(pid for pid in before if sleeps(pid))
        begun = time.monotonic()
        os.kill(int(victim), signal.SIGKILL)
        wait_until(lambda: any(sleeps(pid) for pid in set(children(daemon.pid)) - before), 0)
        times.append((time.monotonic() - begun) * 1000)
        # A worker is healthy again when it has lived for a while; both count that in seconds.
        time.sleep(1.5)
    daemon.send_signal(signal.SIGTERM)
    daemon.wait(PATIENCE_S)
    return times


def bare(workers):
    begun = time.monotonic()
    spawned = [subprocess.Popen(["sleep", "100000"], stdin=subprocess.DEVNULL)
               for _ in range(workers)]
    up = (time.monotonic() - begun) * 1000
    begun = time.monotonic()
    for child in spawned:
        child.terminate()
    for child in spawned:
        child.wait()
    return up, (time.monotonic() - begun) * 1000


def usage(pid):
    """CPU seconds, context switches of all threads that waited, and RSS in MiB."""
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rsplit(") ", 1)[1].split()
    cpu_s = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    switches = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/status") as file:
            for line in file:
                if line.startswith("voluntary_ctxt_switches"):
                    switches += int(line.split()[1])
    with open(f"/proc/{pid}/status") as file:
        rss = next(int(line.split()[1]) for line in file if line.startswith("VmRSS"))
    return cpu_s, switches, rss / 1024


def packet(kind, body=b""):
    return b"\0REQ" + struct.pack(">II", kind, len(body)) + body


def idle(folder, seconds):
    """200 workers that have printed 1 MB each and 200 connections that wait: what the daemon takes."""
    port = free_port()
    pools = """[pool.loud]
command = ["sh", "-c", "yes 'a line of a worker that has much to say' | head -c 1000000; exec sleep 100000"]
protocol = "none"
count = 200
"""
    command = [OURS, "-c", our_file(folder, pools, f'"127.0.0.1:{port}"')]
    daemon = launch(command)
    wait_until(lambda: sum(sleeps(pid) for pid in children(daemon.pid)) == 200, 0.05)
    can_do, pre_sleep = 1, 4
    connections = []
    for n in range(200):
        connection = socket.create_connection(("127.0.0.1", port))
        connection.sendall(packet(can_do, b"idle%d" % n) + packet(pre_sleep))
        connections.append(connection)
    time.sleep(10)
    before = usage(daemon.pid)
    time.sleep(seconds)
    after = usage(daemon.pid)
    daemon.send_signal(signal.SIGTERM)
    daemon.wait(PATIENCE_S)
    print(f"idle, 200 workers and 200 connections over {seconds} s: "
          f"{100 * (after[0] - before[0]) / seconds:.2f} % CPU, "
          f"{(after[1] - before[1]) / seconds:.1f} wake-ups/s, {after[2]:.1f} MiB RSS")


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--workers", type=int, nargs="*", default=[200, 1000])
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--kills", type=int, default=15)
    arguments.add_argument("--idle", type=int, default=0, metavar="SECONDS")
    options = arguments.parse_args()
    rivals = {"gear-supervisor": start_ours}
    if os.path.exists(THEIRS):
        rivals["supervisord"] = start_theirs
    else:
        print("supervisord is not installed: apt-get install supervisor")
    print(f"{'':24}{'':>9}{'median':>10}{'min':>10}{'max':>10}   (ms)")

    def row(name, what, times):
        print(f"{name:18}{what:>15}{statistics.median(times):10.1f}"
              f"{min(times):10.1f}{max(times):10.1f}", flush=True)
    for workers in options.workers:
        results = {name: [] for name in [*rivals, "bare spawn"]}
        for _ in range(options.rounds):
            for name, start in rivals.items():
                with tempfile.TemporaryDirectory() as folder:
                    results[name].append(up_and_gone(start(folder, workers), workers))
            results["bare spawn"].append(bare(workers))
        for name, times in results.items():
            row(name, f"{workers} up", [up for up, _ in times])
            row(name, f"{workers} gone", [gone for _, gone in times])
    for name, start in rivals.items():
        with tempfile.TemporaryDirectory() as folder:
            row(name, "kill, replaced", replaced(start(folder, 4), options.kills))
    if options.idle:
        # Folders on the way to the file are watched, and /tmp is often busy.
        with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
            idle(folder, options.idle)


if __name__ == "__main__":
    main()
