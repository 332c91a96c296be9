"""In which event of which recorded run is a function of the library at work?"""
import json
import pathlib
import re

import make_page

FUNCTIONS = json.loads(make_page.read(f"{make_page.HERE}/functions.json"))
NO_EVIDENCE = ("fd", "unread")  # transports and sock_ methods watch descriptors by themselves; an `unread` is found afterwards


def record_of(page: pathlib.Path) -> dict | None:
    """The recording in a page that make_page.py has made."""
    found = re.search(r'<script type="application/json" id="record">(.*?)</script>', page.read_text(encoding="utf-8"), re.S)
    return json.loads(found[1]) if found else None


def kind_of_function(event: list) -> str:
    """The twin of words.js's, but for NO_EVIDENCE."""
    kind, _, _, place, *arguments = event
    if kind == "soon" and place < 0:
        return "soon, selector"
    if kind == "cancels" and arguments[1] == 0:
        return "cancels, zero"
    return kind


def at_work(record: dict):
    """(number of the event, functions) of each event, as page.html#number shows them: what called the recorder; where that is not
    recorded, what functions.json says; and the library's coroutines in the await stack of a task that begins to wait."""
    for number, event in enumerate(record["events"], 1):
        kind, _, _, place, *arguments = event
        names = list(record["calls"][place]) if place >= 0 else []
        if place < 0 and kind not in NO_EVIDENCE and (kind != "woke" or arguments[0]):
            names.append(FUNCTIONS[kind_of_function(event)][0])
        if kind == "wait":
            names += [make_page.name_in_notes(name) for name, path, _ in record["stacks"][arguments[2]] if path.startswith(make_page.LIBRARY)]
        yield number, names


def first_events(folder: pathlib.Path) -> dict[str, tuple[str, int]]:
    """Function that has a row in NOTES: (page, number of the first event in which it is at work). Of several pages the first in the order
    of their names."""
    found = {}
    for page in sorted(folder.glob("*.html")):
        record = record_of(page)
        if not record or "calls" not in record:
            continue  # of an older page, or of a program that is not C++
        for number, names in at_work(record):
            for name in set(names) & set(record["notes"]):
                found.setdefault(name, (page.name, number))
    return found
