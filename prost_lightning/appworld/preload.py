"""The process that has AppWorld imported: ``python -m prost_lightning.appworld.preload DESCRIPTOR``.

It imports AppWorld and all of its apps once (some ten seconds of processor time), then forks a worker (a hundredth of a
second) for whoever asks through the control socket. It holds no secret, knows no world and runs no job, so workers with
and without ground truth may come of the same one. It ends when the training process is gone.
"""

from __future__ import annotations

import gc
import io
import os
import signal
import socket
import sys
import tokenize
import traceback
from contextlib import suppress
from datetime import datetime
from importlib import import_module
from types import ModuleType

from prost_lightning.appworld import namespaces, worker
from prost_lightning.appworld.app_code import load_apps
from prost_lightning.appworld.channel import received_with_descriptors

#: What an episode, its judge or its protections import in the middle of their work.
_IMPORTED_LATE = (
    *("appworld.evaluator", "prost_lightning.appworld.code_process", "pytest", "anyio._backends._asyncio"),
    *("landlock", "seccompy"),
)


def main() -> None:
    """Forks workers until the training process closes the control socket.

    Each message on the socket is one JSON line, a worker's settings, accompanied by the descriptor of its connection.
    """
    control = socket.socket(fileno=int(sys.argv[1]))
    status = 0
    try:
        _load()
        namespaces.adopt_orphans()
        # Workers, and what a killed one leaves behind, are buried by the kernel: nobody waits for them here.
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        for settings, descriptors in received_with_descriptors(control):
            with socket.socket(fileno=descriptors.popleft()) as connection:
                if os.fork() == 0:
                    control.close()
                    worker.run(settings, connection)
    except ConnectionError:
        pass  # The training process is gone.
    except BaseException:
        traceback.print_exc()
        status = 1
    finally:
        sys.stderr.flush()
        os._exit(status)


def _load() -> None:
    """Imports AppWorld and makes what it caches of its own code, so that a forked process finds everything loaded."""
    gc.disable()  # Nothing is thrown away here, and looking for it all the time takes a third longer.
    import dotenv

    # AppWorld reads the next .env file above its own directory into the environment: a project's secrets, if the
    # virtual environment lies in the project.
    dotenv.load_dotenv = lambda *_, **__: False
    import freezegun.api
    from appworld.apps import get_all_apps
    from appworld.common.safety_guard import DISALLOWED_MODULE_TO_FUNCTION_NAMES
    from appworld.common.utils import freeze_time
    from appworld.environment import TRUE_AVAILABLE_IMPORTS
    from appworld.requester import _get_api_name_to_doc

    load_apps()
    for app in get_all_apps():
        _get_api_name_to_doc(app, include_private_apis=True)
    exec(TRUE_AVAILABLE_IMPORTS, {})
    for module in (*_IMPORTED_LATE, *DISALLOWED_MODULE_TO_FUNCTION_NAMES):
        with suppress(ImportError):  # Another operating system's.
            import_module(module)
    list(tokenize.generate_tokens(io.StringIO("x = 1").readline))  # It keeps the patterns that it compiles.
    freezegun.api._get_module_attributes_hash = _number_of_names
    with freeze_time(datetime(2023, 5, 18)):
        pass  # Once, since the first time it looks through all modules for clocks.
    # Up to here bytecode may be kept: AppWorld's unpacked apps come without, and compiling them takes seconds.
    sys.dont_write_bytecode = True
    gc.collect()
    gc.freeze()  # What is loaded stays shared: a fork's collector does not touch, and so copy, these pages.
    gc.enable()


def _number_of_names(module: ModuleType) -> str:
    """By what the clock's stopper sees whether a module has got new names; it would sort and hash all of them."""
    return f"{id(module)}-{len(getattr(module, '__dict__', ()))}"


if __name__ == "__main__":
    main()
