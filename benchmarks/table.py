"""The tables of the page on benchmarks, from the stored results.

    python benchmarks/table.py

Reads ``bench_*.json`` and ``gpu.json`` in ``book/results``, and writes ``benchmarks*.md`` there.
What was not measured stands there as not measured.
"""

from collections.abc import Iterator

from ddgan_lite.files import results

Row = tuple[str, str, str, str, str]  # what, bar, measured, machine, when


def stored(name: str) -> dict | None:
    """A result of :func:`ddgan_lite.files.results.store`, None if it is not there."""
    try:
        return results.load(name)
    except FileNotFoundError:
        return None


def row(result: dict, name: str, bar: str, measured: str, met: bool = True) -> Row:
    about = result["provenance"]
    commit = "" if " " in about["commit"] else f", `{about['commit']}`"
    verdict = "" if met else " (**missed**)"
    return (name, bar, f"{measured}{verdict}", about["hardware"], f"{about['date']}{commit}")


def missing(name: str, bar: str, why: str) -> Row:
    return (name, bar, f"not measured: {why}", "", "")


def lettered(rows: list[Row]) -> tuple[list[Row], str]:
    """The rows with a letter for each machine, and the list that says what it is."""
    machines = list(dict.fromkeys(machine for *_, machine, _ in rows if machine))
    letters = {machine: chr(ord("A") + number) for number, machine in enumerate(machines)}
    short = [(*first, letters.get(machine, ""), when) for *first, machine, when in rows]
    return short, "".join(f"- **{letter}**: {machine}\n" for machine, letter in letters.items())


def image_networks() -> Iterator[Row]:
    """A training step and a batch sampled on a CPU."""
    published, step = stored("bench_published"), stored("bench_train_step")
    small, full = published["rows"] if published else ({}, {})  # measured once, and not from here
    for name, most, hoped, found in (
        ("Training step / the published code's", 0.36, ", hoped for 0.25", small.get("step")),
        ("The same, one fake for both updates", None, "", small.get("shared_fake_step")),
        ("The same with the paper's networks, batch 4", None, "", full.get("step")),
        ("R1 step with the paper's networks / the published code's", None, "", full.get("r1_step")),
        ("Sampling / the published code's", 0.6, "", small.get("sample")),
        ("Sampling with the paper's networks / the published code's", None, "", full.get("sample")),
    ):
        bar = f"≤ {most}{hoped}" if most else "none"
        if published is None:
            yield missing(name, bar, "the published code is not run from here")
        else:
            yield row(published, name, bar, f"{found:.3g}", most is None or found <= most)
    name, bar = "Training step, 32 pixels, batch 8, one thread", "none"
    if step is None:
        yield missing(name, bar, "`python benchmarks/train_step.py --compare --store`")
    else:
        seconds = f"{step['plain_step_s']:.2f} CPU s; with R1 {step['r1_step_s']:.2f}"
        yield row(step, name, bar, seconds)
        if step["compare"]:
            ratio = f"{step['ratio_plain_step_s']:.2f}; sampling {step['ratio_sample_s']:.2f}"
            yield row(step, "The same / the long way round", "none", ratio)

    profile, name = stored("bench_profile"), "The least a step could take"
    if profile is None:
        yield missing(name, "none", "`python benchmarks/profile_step.py --store`")
    else:
        sums, rate = profile["plain_step_gflop"], max(profile["gflop_per_cpu_s"].values())
        text = f"{sums / rate:.2f} CPU s: {sums:.0f} GFLOP at {rate:.0f} a second"
        yield row(profile, name, "none", text)


def recipe() -> Iterator[Row]:
    """The preset of the 25 Gaussians, on them and on data it was not made for: the worst runs."""
    stored_runs = stored("bench_gaussians")
    if stored_runs is None:
        yield missing("25 Gaussians", "HQ3 ≥ 95 %", "`python benchmarks/gaussians.py --store`")
        return
    names = {
        "grid": "25 Gaussians, to the end of the recipe",
        "turned": "the same grid, turned by 30°",
        "ring": "8 Gaussians on a ring",
        "unequal": "25 Gaussians of unequal weight",
        "two_scales": "36 Gaussians, near and far",
    }
    kinds = dict.fromkeys((r["data"], r["hardware"]) for r in stored_runs["rows"])
    for data, hardware in kinds:
        rows = [r for r in stored_runs["rows"] if (r["data"], r["hardware"]) == (data, hardware)]
        full = data == "grid"
        bar = "HQ3 ≥ 95 %, all modes, KL ≤ 0.01, ≤ 60 CPU s" if full else "HQ3 ≥ 90 %"
        text = (
            f"{100 * min(r['hq3'] for r in rows):.1f} %, {min(r['modes50'] for r in rows)} of "
            f"{rows[0]['of_modes']} modes, KL {max(r['kl'] for r in rows):.3f}, width "
            f"{min(r['sd_ratio_median'] for r in rows):.2f} to "
            f"{max(r['sd_ratio_median'] for r in rows):.2f}, "
            f"{max(r['cpu_seconds'] for r in rows):.0f} CPU s (the worst of {len(rows)} seeds)"
        )
        met = all(r["hq3"] >= (0.95 if full else 0.9) for r in rows)
        if full:
            met = met and all(
                r["modes50"] == r["of_modes"] and r["kl"] <= 0.01 and r["cpu_seconds"] <= 60
                for r in rows
            )
        machine = {"provenance": stored_runs["provenance"] | {"hardware": hardware}}
        yield row(stored_runs | machine, names[data], bar, text, met)


def others() -> Iterator[Row]:
    """The rest that needs no GPU."""
    yield from recipe()
    memory, name, bar = stored("bench_memory"), "Memory, 16 images of 256 pixels", "< 2 GiB"
    if memory is None:
        yield missing(name, bar, "`python benchmarks/memory.py --store`")
    else:
        gib = memory["peak_gib"]
        yield row(memory, name, bar, f"{gib:.2f} GiB for {memory['n']}", gib < 2)

    imports, bar = stored("bench_imports"), "< 0.3 s beyond PyTorch"
    if imports is None:
        yield missing("Import", bar, "`python benchmarks/import_time.py --store`")
    else:
        slow = max(imports["rows"], key=lambda r: r["cpu_extra_s"])
        text = f"{slow['cpu_extra_s']:.2f} CPU s (`{slow['module']}`)"
        name = "Import, the slowest of seven modules"
        yield row(imports, name, bar, text, slow["cpu_extra_s"] < 0.3)

    book, name, bar = stored("bench_book"), "The whole book, two chapters at a time", "≤ 8 min"
    if book is None:
        yield missing(name, bar, "`make clean book`, `python benchmarks/book.py`")
    else:
        longest = max(book["chapters"], key=book["chapters"].get)
        text = f"{book['wall_s'] / 60:.1f} min; the longest, {longest[:2]}, "
        text += f"{book['chapters'][longest] / 60:.1f}"
        yield row(book, name, bar, text, book["wall_s"] <= 8 * 60)

    yield from live_pages()


def live_pages() -> Iterator[Row]:
    """How soon and how smoothly the live pages answer, and how training in one ends."""
    live = stored("bench_live") or {}
    bars = {
        "ready_ms": ("Live pages, ready", "≤ 1 s"),
        "ready_slow_ms": ("The same, a quarter of the processor, 1.6 Mbit/s", "≤ 4 s"),
        "samples_ms": ("2,000 samples in the page", "≤ 0.3 s"),
        "drag": ("Frames a second while a point is dragged", "60"),
        "training": ("Training in the page", "HQ3 ≥ 90 %, 25 of 25 modes, ≤ 60 s"),
    }
    for key in [key for key in bars if key not in live]:
        yield missing(*bars[key], "`python benchmarks/live.py --store`")
    if not live:
        return
    provenance = live["provenance"]
    if live.get("beside", "nothing") != "nothing":
        busy = f"{provenance['hardware']}, beside {live['beside']}"
        live = live | {"provenance": provenance | {"hardware": busy}}
    for key, most in (("ready_ms", 1), ("ready_slow_ms", 4)):
        if key in live:
            slowest = max(live[key], key=live[key].get)
            seconds = live[key][slowest] / 1000
            yield row(live, *bars[key], f"{seconds:.2f} s (`{slowest}`)", seconds <= most)
    samples = live["samples_ms"] / 1000
    yield row(live, *bars["samples_ms"], f"{samples:.2f} s", samples <= 0.3)
    if "drag" in live:
        fewest = min(each["frames_per_second"] for each in live["drag"].values())
        yield row(live, *bars["drag"], f"{fewest:.0f}", fewest >= 59.5)
    if "training" in live:
        runs = live["training"]
        hq3, modes, seconds = (
            worst(run[key] for run in runs)
            for key, worst in (("hq3", min), ("modes", min), ("seconds", max))
        )
        text = (
            f"{100 * hq3:.1f} %, {modes} of 25 modes, {seconds} s (the worst of {len(runs)} runs)"
        )
        met = hq3 >= 0.9 and modes == 25 and seconds <= 60
        yield row(live, *bars["training"], text, met)


def gpu() -> Iterator[Row]:
    """What benchmarks/gpu.py can judge; its bars, unmet ones too, or that none was there."""
    result, none = stored("gpu"), "no GPU was lent"
    known = {
        "Difference from the CPU, largest relative one": "at most 0.001",
        "Training, bfloat16, compiled, channels_last / float32": "at least 3",
        "100 CIFAR-10 images, ms": "at most 50",
    }
    if result is None:
        yield from (missing(f"GPU: {name}", bar, none) for name, bar in known.items())
        return
    for name, found in result.get("bars", {}).items():
        bar, met = found.get("bar", "none"), found.get("met", True)
        yield row(result, f"GPU: {name}", bar, f"{found['measured']:.3g}", met)


def lines(header: str, rows: Iterator[tuple[str, ...]]) -> str:
    head = [f"| {header} |", "|" + "---|" * (header.count("|") + 1)]
    return "\n".join(head + [f"| {' | '.join(cells)} |" for cells in rows]) + "\n"


def versions() -> Iterator[tuple[str, ...]]:
    """This library's versions against the first of them."""
    for each in (stored("bench_versions") or {"rows": []})["rows"]:
        cells = [f"{each[f'{kind}_ratio']:.2f}" for kind in ("plain_step", "r1_step", "sample")]
        yield (f"`{each['commit']}`" if each["commit"] else "", each["change"], *cells)


def costs() -> Iterator[tuple[str, ...]]:
    """The profile of a step, down to one per cent."""
    for each in (stored("bench_profile") or {"rows": []})["rows"]:
        if each["share"] >= 0.01:
            calls = f"{each['calls_per_step']:,.0f}"
            yield (each["kind"], f"{100 * each['share']:.0f} %", calls)


def tables() -> dict[str, str]:
    """File name to text."""
    first, machines = lettered([*image_networks(), *others(), *gpu()])
    header = "what | bar | measured | machine | when, commit"
    return {
        "benchmarks.md": lines(header, first) + ("\n" + machines if machines else ""),
        "benchmarks-versions.md": lines("commit | change | step | R1 step | sampling", versions()),
        "benchmarks-profile.md": lines("operation | share of a step | calls", costs()),
    }


if __name__ == "__main__":
    for name, text in tables().items():
        (results.folder() / name).write_text(text)
        print(text)
