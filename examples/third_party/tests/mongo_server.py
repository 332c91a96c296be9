"""Stands in for MongoDB, of which Debian has no package: mongo_server.py PORT. It speaks the real wire protocol (OP_MSG,
and OP_QUERY for the first word of old clients), keeps documents in a list, answers in an order of its own, and sends wrong
frames to who asks for them."""
import asyncio
import random
import struct
import sys

import bson

OP_REPLY, OP_QUERY, OP_MSG = 1, 2004, 2013
HELLO = {"ismaster": True, "isWritablePrimary": True, "maxBsonObjectSize": 16777216, "maxMessageSizeBytes": 48000000,
         "maxWriteBatchSize": 100000, "minWireVersion": 0, "maxWireVersion": 8, "readOnly": False}
collections = {}


def parse(body):
    """The command of an OP_MSG: one section of kind 0, and perhaps lists of documents (kind 1)."""
    command, at = {}, 4
    while at < len(body):
        kind, at = body[at], at + 1
        size = struct.unpack_from("<i", body, at)[0]
        section = body[at:at + size]
        if kind == 0:
            command.update(bson.decode(section))
        else:
            name, _, documents = section[4:].partition(b"\0")
            command[name.decode()] = bson.decode_all(documents)
        at += size
    return command


def execute(command):
    name = next(iter(command))
    documents = collections.setdefault(command[name] if isinstance(command[name], str) else "", [])
    if name.lower() in ("ismaster", "hello"):
        return HELLO
    if name in ("ping", "endSessions"):
        return {}
    if name == "echo":
        return {"echo": command["echo"]}
    if name == "insert":
        documents += command["documents"]
        return {"n": len(command["documents"])}
    if name == "delete":
        n = len(documents)
        documents.clear()
        return {"n": n}
    if name == "find":
        keys = list(command.get("sort", {}))
        found = sorted(documents, key=lambda document: [document[key] for key in keys])
        return {"cursor": {"id": bson.Int64(0), "ns": "test." + command["find"], "firstBatch": found}}
    if name == "fail":
        return {"ok": 0.0, "code": 59, "errmsg": "as you wished"}
    return {"ok": 0.0, "code": 59, "errmsg": f"no such command: '{name}'"}


def wrong_frame(kind, request):
    document = bson.encode({"ok": 1.0})
    if isinstance(kind, int):
        return struct.pack("<iiiiIb", kind, 1, request, OP_MSG, 0, 0) + document
    if kind == "document":
        document = b"\xff" + document[1:]
    opcode = 77 if kind == "opcode" else OP_MSG
    message = struct.pack("<iiiiIb", 21 + len(document), 1, request, opcode, 0, 9 if kind == "section" else 0) + document
    return message[:-3] if kind == "cut" else message


async def answer(writer, request, opcode, body):
    if opcode == OP_QUERY:
        document = bson.encode({**HELLO, "ok": 1.0})
        writer.write(struct.pack("<iiiiiqii", 36 + len(document), 1, request, OP_REPLY, 8, 0, 0, 1) + document)
        return
    command = parse(body)
    if "frame" in command:
        writer.write(wrong_frame(command["frame"], request))
        if command["frame"] == "cut":
            writer.close()
        return
    if "sleep" in command:
        await asyncio.sleep(command["sleep"] / 1000)
    elif "echo" in command:
        await asyncio.sleep(random.random() / 200)
    document = bson.encode({"ok": 1.0, **execute(command)})
    writer.write(struct.pack("<iiiiIb", 21 + len(document), 1, request, OP_MSG, 0, 0) + document)


async def serve(reader, writer):
    tasks = set()
    try:
        while True:
            length, request, _, opcode = struct.unpack("<iiii", await reader.readexactly(16))
            body = await reader.readexactly(length - 16)
            task = asyncio.create_task(answer(writer, request, opcode, body))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[1]))
    await server.serve_forever()


asyncio.run(main())
