# ruff: noqa: F821
# Runs first in each hostile episode: what a snippet may use. AppWorld's guard against imports is no obstacle.
os = __import__("os")
posix = __import__("posix")
ctypes = __import__("ctypes")
net = __import__("socket")
libc = ctypes.CDLL(None, use_errno=True)
SCRATCH = os.environ["TMPDIR"]
CHANNEL = requester.client._channel._connection.fileno()


def call(name, *arguments):
    if name not in NUMBERS:
        raise OSError(f"no system call {name} here")
    return libc.syscall(ctypes.c_long(NUMBERS[name]), *arguments)


def read(path):
    handle = posix.open(path, 0)
    try:
        parts = []
        while part := posix.read(handle, 1 << 20):
            parts.append(part)
        return b"".join(parts).decode(errors="replace")
    finally:
        posix.close(handle)


def write(path, content):
    handle = posix.open(path, posix.O_WRONLY | posix.O_CREAT)
    try:
        return posix.write(handle, content)
    finally:
        posix.close(handle)


def attempt(action):
    """Says ESCAPED if something that must not work gives anything but nothing."""
    try:
        result = action()
    except Exception as error:
        builtins.print("held:", type(error).__name__, str(error)[:200])
    else:
        builtins.print("ESCAPED:" if result else "held: nothing", str(result)[:200] if result else "")


def show(action):
    """Prints what can be read; a canary in it gives an escape away."""
    try:
        builtins.print(action())
    except Exception as error:
        builtins.print("held:", type(error).__name__, str(error)[:200])
