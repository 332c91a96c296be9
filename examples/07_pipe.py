# add_reader: the loop asks the kernel which descriptors are ready, and calls whoever waits for them.
# Look at the reads: while bytes are left in the pipe, every iteration calls the reader again.
import asyncio
import os


def main():
    loop = asyncio.new_event_loop()
    read_end, write_end = os.pipe()

    texts = [b"bye", b"hello, event loop"]  # the next one is the last

    def write_more():
        if not texts:
            return os.close(write_end)
        text = texts.pop()
        print(f'writer: "{text.decode()}"')
        os.write(write_end, text)

    def on_readable():
        data = os.read(read_end, 6)
        if data:
            print(f'reader: "{data.decode()}"')
            if len(data) < 6:
                loop.call_later(0.1, write_more)  # the pipe is empty
        else:
            print("reader: nothing, which means the end: the other side was closed")
            loop.remove_reader(read_end)
            loop.stop()

    loop.add_reader(read_end, on_readable)
    loop.call_later(0.1, write_more)
    print("main: a reader that takes 6 bytes at a time")

    loop.run_forever()
    loop.close()
    os.close(read_end)


main()
