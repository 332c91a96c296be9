# Child processes: their pipes are streams, and their end is something to await.
# Look at the conversation with bc(1)'s poor cousin, at communicate(), which reads and writes at the same time, and at
# the return codes: a status, or minus the signal.
import asyncio
import os
from asyncio.subprocess import PIPE


async def conversation():
    shell = ["sh", "-c", "while read a b; do echo $((a * b)); done"]
    child = await asyncio.create_subprocess_exec(*shell, stdin=PIPE, stdout=PIPE)
    for question in ("6 7\n", "11 11\n"):
        child.stdin.write(question.encode())
        answer = await child.stdout.readline()
        print(f"child: asked {question}child: answers {answer.decode()}", end="")
    child.stdin.close()
    status = await child.wait()
    print(f"child: at the end of its input it ends, with {status}")


async def communicate():
    child = await asyncio.create_subprocess_exec("sort", "-r", stdin=PIPE, stdout=PIPE)
    output, errors = await child.communicate(b"apple\npear\nfig\n")
    print(f"sort -r:\n{output.decode()}", end="")

    child = await asyncio.create_subprocess_shell("echo out; echo err >&2; exit 3", stdout=PIPE, stderr=PIPE)
    output, errors = await child.communicate()
    print(f"a shell: stdout {output.decode()}a shell: stderr {errors.decode()}a shell: status {child.returncode}")


async def killed():
    child = await asyncio.create_subprocess_exec("sleep", "10")
    try:
        await asyncio.wait_for(child.wait(), 0.1)
    except asyncio.TimeoutError:
        print("sleep 10: still running after 0.1 s; terminate()")
    child.terminate()
    status = await child.wait()
    print(f"sleep 10: return code {status}")


async def no_such_program():
    try:
        await asyncio.create_subprocess_exec("/no/such/program")
    except OSError as error:
        print(f"/no/such/program: {os.strerror(error.errno)}")


async def tour():
    await conversation()
    await communicate()
    await killed()
    await no_such_program()


asyncio.run(tour())
