# A descriptor that is no socket: a serial line, through serial_asyncio. A pseudo-terminal stands in for the cable, and a
# coroutine for the device.
# Look at Instrument.answer_to: nobody can hang up a cable to be in step again, so every command has a number.
import asyncio
import os
import tty

import common
import serial
import serial_asyncio


class Disconnected(Exception):
    """The line is gone: the cable was pulled, or the device switched off."""


class Instrument:
    """A device that answers each line "number command" with a line "number answer"."""

    def __init__(self, streams):
        self.reader, self.writer = streams
        self.lock = asyncio.Lock()
        self.last = self.dropped = 0

    async def ask(self, command):
        async with self.lock:
            return await self.answer_to(command)

    async def answer_to(self, command):
        self.last += 1
        number = f"{self.last} ".encode()
        try:
            self.writer.write(number + command.encode() + b"\n")
            await self.writer.drain()
            while True:
                line = await self.reader.readline()
                if not line.endswith(b"\n"):
                    raise Disconnected
                if line.startswith(number):
                    return line[len(number):-1].decode()
                self.dropped += 1
        except (OSError, serial.SerialException):
            raise Disconnected


class Cable:
    """A device, and the program's end of its cable. pull() takes the cable away."""

    async def plug_in(self):
        self.device, program = os.openpty()
        tty.setraw(program)
        path = os.ttyname(program)
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader()
        self.pipe, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), open(self.device, "rb", buffering=0))
        self.serving = asyncio.create_task(self.serve(reader))
        streams = await serial_asyncio.open_serial_connection(url=path, baudrate=115200)
        os.close(program)
        return streams

    async def serve(self, reader):
        while (line := await reader.readline()).endswith(b"\n"):
            number, command = line[:-1].split(b" ", 1)
            await self.answer(number, command)

    async def answer(self, number, command):
        if command == b"SLOW?":
            await asyncio.sleep(0.15)
        if command == b"MUTE?":
            return
        if command == b"NOISE?":
            os.write(self.device, b"\x01\xff##\n")
        text = number + (b" thermometer, series 7" if command == b"ID?" else b" 21.5") + b"\n"
        os.write(self.device, text[:4])  # in two pieces, as slow lines have it
        if command == b"ID?":
            await asyncio.sleep(0.01)
        os.write(self.device, text[4:])

    def pull(self):
        self.serving.cancel()
        self.pipe.close()


async def show(instrument, command):
    print(command, await instrument.ask(command))


async def demonstrate():
    cable = Cable()
    instrument = Instrument(await cable.plug_in())
    for command in "ID?", "TEMP?", "NOISE?":
        await show(instrument, command)
    late = await common.error_of(asyncio.wait_for(instrument.ask("SLOW?"), 0.05))
    print(f"SLOW? and nobody waits so long: {late}")
    await show(instrument, "TEMP?")
    print(f"lines that nobody waited for: {instrument.dropped}")
    waiting = asyncio.create_task(common.error_of(asyncio.wait_for(instrument.ask("MUTE?"), 5)))
    await asyncio.sleep(0.05)
    cable.pull()
    pulled = await waiting
    after = await common.error_of(asyncio.wait_for(instrument.ask("TEMP?"), 5))
    print(f"the cable is pulled: {pulled}, and then: {after}")


async def measure():
    cable = Cable()
    instrument = Instrument(await cable.plug_in())
    stopwatch = common.Stopwatch()
    for _ in range(2000):
        await instrument.ask("TEMP?")
    stopwatch.report("commands", 2000)
    instrument.writer.close()
    cable.pull()


asyncio.run(measure() if common.MODE == "bench" else demonstrate())
