"""Measures this library, its limit and every peer that is installed. Called by the targets of rules.mk; see README.md."""
import argparse
import html
import json
import math
import os
import pathlib
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
COUNTS = HERE / "counts.json"
TITLES = {
    "call_soon": ("call_soon, reschedules itself", "ns"), "queue": ("1M call_soon, then run", "ns"),
    "switch": ("sleep(0), 2 tasks", "ns"), "switch1000": ("sleep(0), 1,000 tasks", "ns"),
    "await": ("nested await, depth 10", "ns"), "create_task": ("create_task + run + await", "ns"),
    "gather": ("create_task + run + gather", "ns"), "sleep_bytes": ("memory of a sleeping task", "bytes"),
    "sleep_ns": ("create_task + sleep(1) + await", "ns"), "timers": ("call_later + cancel", "ns"),
    "late_median": ("10k timers: late, median", "µs"), "late_p99": ("10k timers: late, 99th percentile", "µs"),
    "late_early": ("10k timers: how many fired early", ""),
    "echo_protocol": ("echo of 64 bytes, Protocol", "µs"), "echo_streams": ("echo of 64 bytes, streams", "µs"),
    "echo_sock": ("echo of 64 bytes, sock_*", "µs"),
}
CONNECTIONS, MESSAGES = 100, 100_000
ECHO = [row for row in TITLES if row.startswith("echo")]


def commands(build):
    """{name: command} of the programs that run here. The Python is the first that has the module."""
    candidates = [[str(path)] for path in sorted((build / "tests/bench").glob("[lo]*")) if path.name in ("limit", "ours")]
    candidates += [[str(path)] for path in sorted((build / "tests/bench/peers").glob("*")) if os.access(path, os.X_OK)]
    pythons = [python for python in ("python3.13", "python3", "/usr/bin/python3") if shutil.which(python)]
    peers = [[[python, str(HERE / "peers/cpython.py"), peer] for python in pythons]
             for peer in ("asyncio", "uvloop", "gevent")]
    found = {}
    for options in [[candidate] for candidate in candidates] + peers:
        for command in options:
            listed = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
            if listed.returncode == 0:
                name, *rows = listed.stdout.splitlines()
                found[name] = (command, rows)
                break
    return found


def serve(command, row, load, messages, wrapped=()):
    """Runs an echo server and its clients, each on a core of its own; the server's CPU time in microseconds."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(1024)
    listener.setblocking(False)
    server = subprocess.Popen([*wrapped, *command, row, str(listener.fileno())], pass_fds=[listener.fileno()],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(server.pid, {cores[0]})
    port = listener.getsockname()[1]
    listener.close()
    clients = subprocess.Popen([str(load), str(port), str(CONNECTIONS), str(messages)])
    os.sched_setaffinity(clients.pid, {cores[-1]})
    if clients.wait(timeout=300) != 0:
        server.kill()
        raise RuntimeError(f"{row}: the clients of {command} failed")
    _, _, usage = os.wait4(server.pid, 0)
    server.returncode = 0
    return 1e6 * (usage.ru_utime + usage.ru_stime)


def measure(command, row, load):
    if row in ECHO:
        return serve(command, row, load, MESSAGES) / MESSAGES
    return float(subprocess.run([*command, row], stdout=subprocess.PIPE, check=True, text=True).stdout)


def table(build, only, repetitions):
    """Every cell in a process of its own; limit, ours and peers in turn, so that a slow moment meets all of them."""
    programs, load = commands(build), build / "tests/bench/load"
    rows = [row for row in TITLES if not only or row in only]
    if unknown := set(only) - set(TITLES):
        sys.exit(f"bench: no such row: {', '.join(sorted(unknown))}; there are {', '.join(TITLES)}")
    values = {row: {} for row in rows}
    for row in rows:
        for repetition in range(repetitions):
            for name, (command, has) in programs.items():
                source = "echo_protocol" if row in ECHO and name == "limit" else row
                if source not in has:
                    continue
                print(f"\r{row}: {repetition + 1} of {repetitions}, {name}\033[K", end="", file=sys.stderr, flush=True)
                values[row].setdefault(name, []).append(measure(command, source, load))
    print("\r\033[K", end="", file=sys.stderr)
    result = {row: {name: statistics.median(numbers) for name, numbers in cells.items()} for row, cells in values.items()}
    names = list(programs)
    print(f"{'median of ' + str(repetitions):38}" + "".join(f"{name:>18}" for name in names))
    for row, cells in result.items():
        title = "{} ({})".format(*TITLES[row]).replace(" ()", "")
        print(f"{title:38}" + "".join(f"{cells[name]:18,.2f}" if name in cells else f"{'-':>18}" for name in names))
    (build.parent / "bench.json").write_text(json.dumps(values, indent=1))
    page = "".join(bars("{} ({})".format(*TITLES[row]).replace(" ()", ""), cells) for row, cells in result.items())
    write_page(build.parent / "bench.html", "What it costs", "CPU time of one operation, medians; shorter is better.", page)


def write_page(path, title, text, body):
    path.write_text(f"""<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width"><style>
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 60em; margin: 2em auto; padding: 0 1em; color: #222; background: #fff }}
svg {{ width: 100%; height: auto }} h2 {{ font-size: 1em; margin: 1.5em 0 .3em }}
</style><h1>{title}</h1><p>{text}</p>{body}</html>
""")
    print(f"written: {path}")


def bars(title, cells):
    most = max([*cells.values(), 1e-9])
    parts = []
    for i, (name, value) in enumerate(sorted(cells.items(), key=lambda cell: cell[1])):
        color = {"limit": "#999", "asyncio-cpp": "#d94801"}.get(name, "#4a7fb5")
        y, width = 22 * i, max(1, 560 * value / most)
        parts.append(f'<text x="150" y="{y + 15}" text-anchor="end">{html.escape(name)}</text>'
                     f'<rect x="160" y="{y + 3}" width="{width:.1f}" height="16" fill="{color}"/>'
                     f'<text x="{165 + width:.1f}" y="{y + 15}">{value:,.1f}</text>')
    return (f'<h2>{html.escape(title)}</h2><svg viewBox="0 0 820 {22 * len(cells) + 4}" font-size="13" '
            f'role="img" aria-label="{html.escape(title)}">{"".join(parts)}</svg>')


# ---- Instructions and system calls: the same in every run

COUNTED = {"call_soon": 20_000, "queue": 40_000, "switch": 20_000, "switch1000": 20_000, "await": 40_000,
           "create_task": 20_000, "gather": 20_000, "timers": 20_000}


def instructions(command, row, n, load):
    with tempfile.NamedTemporaryFile("r") as log, tempfile.NamedTemporaryFile() as profile:
        valgrind = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={profile.name}", f"--log-file={log.name}"]
        if row in ECHO:
            serve(command, row, load, n, valgrind)
        else:
            subprocess.run([*valgrind, *command, row, str(n)], stdout=subprocess.DEVNULL, check=True)
        return int(re.search(r"Collected : (\d+)", log.read())[1])


def system_calls(command, row, n, load):
    with tempfile.NamedTemporaryFile("r") as log:
        strace = ["strace", "-f", "-c", "-o", log.name]
        if row in ECHO:
            serve(command, row, load, n, strace)
        else:
            subprocess.run([*strace, *command, row, str(n)], stdout=subprocess.DEVNULL, check=True)
        *_, total = log.read().splitlines()  # 100.00  seconds  [usecs/call]  calls  [errors]  total
        return max(int(word) for word in total.split() if word.isdigit())


def count(programs, rows, load, with_calls):
    """{row: {name: [instructions, system calls]}} of one operation: the difference of two sizes, so that what happens
    once does not count."""
    result = {}
    for row in rows:
        for name, (command, has) in programs.items():
            if row not in has:
                continue
            print(f"\r{row}: {name}\033[K", end="", file=sys.stderr, flush=True)
            few = 1_000 if row in ECHO else COUNTED[row]
            each = [round((instructions(command, row, 3 * few, load) - instructions(command, row, few, load)) / (2 * few))]
            if with_calls:
                calls = system_calls(command, row, 3 * few, load) - system_calls(command, row, few, load)
                each.append(round(calls / (2 * few), 2))
            result.setdefault(row, {})[name] = each
    print("\r\033[K", end="", file=sys.stderr)
    return result


def counts(build, only, update, ours_only):
    """Of the C++ programs; callgrind would count the interpreter of the others."""
    load = build / "tests/bench/load"
    programs = {name: entry for name, entry in commands(build).items()
                if len(entry[0]) == 1 and (name == "asyncio-cpp" or not ours_only)}
    result = count(programs, [row for row in [*COUNTED, *ECHO] if not only or row in only], load, True)
    print(f"{'instructions / system calls':38}" + "".join(f"{name:>18}" for name in programs))
    for row, cells in result.items():
        texts = [f"{cells[name][0]:,} / {cells[name][1]:g}" if name in cells else "-" for name in programs]
        print(f"{TITLES[row][0]:38}" + "".join(f"{text:>18}" for text in texts))
    if update:
        known = json.loads(COUNTS.read_text()) if COUNTS.exists() else {}
        known.update({row: cells["asyncio-cpp"] for row, cells in result.items() if "asyncio-cpp" in cells})
        COUNTS.write_text("{\n" + ",\n".join(f'  "{row}": {json.dumps(each)}' for row, each in known.items()) + "\n}\n")


def check(build):
    """Fails where a count has grown by over 3% since it was written down; by 10% for an echo, where it depends on how many
    messages come at once. On a busy machine fewer do, so an echo is counted up to four times."""
    ours = {name: entry for name, entry in commands(build).items() if name == "asyncio-cpp"}
    known = json.loads(COUNTS.read_text())
    now, rows = {}, list(known)
    for _ in range(4):
        for row, cells in count(ours, rows, build / "tests/bench/load", False).items():
            now[row] = min(now.get(row, math.inf), cells["asyncio-cpp"][0])
        grown = [row for row, n in now.items() if n > (1.1 if row in ECHO else 1.03) * known[row][0]]
        rows = [row for row in grown if row in ECHO]
        if not rows:
            break
    for row, n in now.items():
        print(f"{row:16}{known[row][0]:8,} -> {n:8,}{'   has grown' if row in grown else ''}")
    sys.exit(1 if grown else 0)


# ---- How cost grows

def growth(build):
    """CPU time of one operation against the size, and the exponent that fits: 0 is flat."""
    program = [str(build / "tests/bench/growth")]
    rows = subprocess.run(program, stdout=subprocess.PIPE, check=True, text=True).stdout.splitlines()[1:]
    page = []
    print(f"{'how cost grows':28}{'exponent':>10}   cost of one at each size")
    for row in rows:
        name, most, *sizes = row.split()
        points = []
        for size in map(int, sizes):
            print(f"\r{name}: {size}\033[K", end="", file=sys.stderr, flush=True)
            runs = [float(subprocess.run([*program, name, str(size)], stdout=subprocess.PIPE, check=True, text=True).stdout)
                    for _ in range(3)]
            points.append((size, min(runs)))
        logs = [(math.log(size), math.log(max(cost, 1e-9))) for size, cost in points]
        exponent = statistics.linear_regression(*zip(*logs)).slope
        print("\r\033[K", end="", file=sys.stderr)
        verdict = "" if exponent <= float(most) else f"   over {most}"
        print(f"{name:28}{exponent:10.2f}   " + "  ".join(f"{size:,}: {cost:,.0f} ns" for size, cost in points) + verdict)
        page.append(line_chart(f"{name}: exponent {exponent:.2f}, at most {most}", points))
    write_page(build.parent / "bench-growth.html", "How cost grows",
               "CPU nanoseconds of one operation (vertical) against the size (horizontal), both axes logarithmic.", "".join(page))


def line_chart(title, points):
    low, high = min(cost for _, cost in points), max(cost for _, cost in points)
    low, high = math.log(low / 2), math.log(high * 2)
    first, last = math.log(points[0][0]), math.log(points[-1][0])
    at = [(60 + 680 * (math.log(size) - first) / (last - first), 150 - 130 * (math.log(cost) - low) / (high - low))
          for size, cost in points]
    marks = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="#d94801"/><text x="{x:.1f}" y="{y - 9:.1f}" '
                    f'text-anchor="middle">{cost:,.0f}</text><text x="{x:.1f}" y="172" text-anchor="middle">{size:,}</text>'
                    for (x, y), (size, cost) in zip(at, points))
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in at)
    return (f'<h2>{html.escape(title)}</h2><svg viewBox="0 0 800 180" font-size="12" role="img" aria-label="{html.escape(title)}">'
            f'<line x1="40" y1="155" x2="760" y2="155" stroke="#999"/>'
            f'<polyline points="{line}" fill="none" stroke="#d94801" stroke-width="2"/>{marks}</svg>')


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["table", "counts", "check", "growth"])
    parser.add_argument("--build", type=pathlib.Path, required=True)
    parser.add_argument("--rows", default="", help="some rows only, separated by spaces")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--update", action="store_true", help="counts: write ours down in counts.json")
    parser.add_argument("--ours", action="store_true", help="counts: of this library only")
    options = parser.parse_args()
    rows = options.rows.split()
    if options.what == "table":
        table(options.build, rows, options.repetitions)
    elif options.what == "counts":
        counts(options.build, rows, options.update, options.ours)
    elif options.what == "check":
        check(options.build)
    else:
        growth(options.build)


main()
