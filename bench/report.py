"""The tables of docs/performance.md, made of bench.json's figures."""
import statistics

BEGIN = "<!-- measured by bench/run: do not edit by hand -->"
END = "<!-- end -->"
MB = 1e6


# ---- Figures of a case ---------------------------------------------------------------------------

def median(row):
    return statistics.median(run["median_ms"] for run in row["runs"])


def least(row):
    return min(run["min_ms"] for run in row["runs"])


def row_of(record, name):
    return next((row for row in record["rows"] if row["name"] == name and row["runs"]), None)


def peers(record):
    """Those that were measured, of the same net."""
    return [row for row in record["rows"]
            if row["program"] != "fovea" and row["runs"] and "smaller" not in row]


def best_peer(record):
    return min(peers(record), key=median, default=None)


def leanest_peer(record):
    return min(peers(record), key=lambda row: row["peak_bytes"], default=None)


def share_of_peak(record, row):
    """Of the multiply-adds that all threads could do, counted by the direct algorithm's."""
    return record["operations"] / median(row) / 1e6 / (record["peak_gflops"] * record["threads"])


# ---- Cells ---------------------------------------------------------------------------------------

def digits(value):
    return f"{value:,.2f}" if value < 10 else f"{value:,.1f}" if value < 100 else f"{value:,.0f}"


def megabytes(count):
    return f"{count / MB:,.0f} MB"


def times(row):
    return f"{digits(least(row))}, {digits(median(row))}"


def over_one_thread(record):
    one = row_of(record, "fovea, 1 thread")
    return f"{median(one) / median(record['rows'][0]):.2f}" if one else ""


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


# ---- Tables --------------------------------------------------------------------------------------

def speed_row(name, record):
    fovea, peer = record["rows"][0], best_peer(record)
    cells = [name, times(fovea)]
    cells += ([times(peer), peer["name"], f"**{median(peer) / median(fovea):.2f}**"] if peer
              else ["", "none", ""])
    if "operations" in record:
        cells += [f"{share_of_peak(record, fovea):.0%}",
                  f"{share_of_peak(record, peer):.0%}" if peer else "", over_one_thread(record)]
    return cells


def speed_table(records, what):
    head = ["case", f"fovea, ms {what}", "best peer", "which", "fovea is faster, times"]
    if all("operations" in record for record in records.values()):
        head += ["of the machine's peak: fovea", "that peer", "all threads over one"]
    return table(head, [speed_row(*item) for item in records.items()])


def memory_row(name, record):
    fovea, best, lean = record["rows"][0], best_peer(record), leanest_peer(record)
    cells = [name, megabytes(fovea["peak_bytes"])]
    cells += [megabytes(best["peak_bytes"]), f"{megabytes(lean['peak_bytes'])}, {lean['name']}",
              f"{lean['peak_bytes'] / fovea['peak_bytes']:.1f}"] if lean else ["", "", ""]
    if "state_bytes" in record:
        state = record["state_bytes"]
        own, other = fovea["peak_bytes"] - state, lean["peak_bytes"] - state if lean else 0
        cells += [megabytes(state), megabytes(own), megabytes(other) if lean else "",
                  f"{other / own:.1f}" if lean and own > 0 else ""]
    return cells


def memory_table(records):
    head = ["case", "peak memory: fovea", "best peer", "leanest peer", "times fovea's"]
    if all("state_bytes" in record for record in records.values()):
        head += ["weights, gradients, optimiser", "peak less these: fovea", "leanest peer",
                 "times fovea's"]
    return table(head, [memory_row(*item) for item in records.items()])


def configuration_cell(row):
    if row is None:
        return ""
    if not row["runs"]:
        return "gave up compiling" if "gave up" in row.get("error", "") else "failed"
    return f"{digits(median(row))}{'*' if 'smaller' in row else ''}, {megabytes(row['peak_bytes'])}"


def configuration_table(records):
    names = []
    for record in records.values():
        names += [row["name"] for row in record["rows"] if row["name"] not in names]
    find = [{row["name"]: row for row in record["rows"]} for record in records.values()]
    return table(["median ms, peak memory", *records],
                 [[name, *[configuration_cell(rows.get(name)) for rows in find]] for name in names])


def notes(records):
    lines = []
    for name, record in records.items():
        for row in record["rows"]:
            if "smaller" in row:
                lines.append(f"- \\* {name}, {row['name']}: {row['smaller']}; not compared")
            if "error" in row:
                lines.append(f"- {name}, {row['name']}: {row['error']}")
    return "\n".join(lines)


# ---- The machine ---------------------------------------------------------------------------------

def environment(record):
    machine, fovea = record["machine"], record["fovea"].removeprefix("fovea ")
    versions = ", ".join(f"{name} {version}" for name, version in record["versions"].items())
    return (f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_bytes'] / 2**30:.0f} GiB, "
            f"{machine['system']}; fovea {fovea}, instruction set {record['instruction_set']}; "
            f"{record['threads']} threads; {versions}")


def run_text(record):
    return (f"commit {record['commit']}, {record['date']}, {record['rounds']} rounds of "
            f"{record['seconds']:g} s")


def peak_text(records):
    peaks = [record["peak_gflops"] for record in records]
    low, high = min(peaks), max(peaks)
    return f"{low:.1f}" if low == high else f"{low:.1f} to {high:.1f}"


def describe(records):
    """Where and when the cases were measured; those measured alike in one entry."""
    groups = {}
    for name, record in records.items():
        groups.setdefault((environment(record), run_text(record)), []).append(name)
    places = list(dict.fromkeys(place for place, _ in groups))
    lines = []
    for place in places:
        own = [name for (where, _), names in groups.items() if where == place for name in names]
        lines.append(f"Measured on {place}. The most that a thread did in multiply-adds: "
                     f"{peak_text([records[name] for name in own])} GFLOP/s.\n")
        for (where, when), names in groups.items():
            if where == place:
                lines.append(f"- {when}: {', '.join(names)}")
        lines.append("")
    return "\n".join(lines)


# ---- The document --------------------------------------------------------------------------------

SECTIONS = [
    ("train", "Training", "a step", "Milliseconds of a step: the least of all, the median of the "
     "rounds. The lecture's nets learn by their own optimisers, the others by SGD with momentum."),
    ("inference", "Inference", "a batch", "Milliseconds of a batch: the least of all, the median of "
     "the rounds."),
    ("start", "One picture from process start", "a process", "Milliseconds from process start to "
     "the class, files in the page cache: `fovea predict resnet50.safetensors picture.png`, which "
     "decodes the picture, and `bench/start_*.py`, which get it as an array."),
]


def section(records, title, what, text):
    parts = [f"### {title}", text, speed_table(records, what), memory_table(records)]
    if any(len(record["rows"]) > 3 for record in records.values()):
        parts += ["All configurations:", configuration_table(records), notes(records)]
    return "\n\n".join(part for part in parts if part)


def render(figures):
    records = figures["cases"]
    if not records:
        return "Nothing has been measured yet."
    parts = [describe(records).rstrip()]
    for kind, title, what, text in SECTIONS:
        some = {name.split("/", 1)[1].replace("/", ", batch "): record
                for name, record in records.items() if record["kind"] == kind}
        if some:
            parts.append(section(some, title, what, text))
    return "\n\n".join(parts)


def replace_tables(document, tables):
    """The document with these tables between its two marker lines."""
    before, begin, rest = document.partition(BEGIN + "\n")
    _, end, after = rest.partition(END + "\n")
    if not begin or not end or BEGIN in after:
        raise ValueError(f"the document must have one line {BEGIN} and a line {END} after it")
    return before + begin + "\n" + tables + "\n\n" + end + after
