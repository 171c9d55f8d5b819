"""What an operating system can add to keep code that a model wrote away from the machine, by name."""

from __future__ import annotations

from typing import Literal

#: How much of it to use: what is there (and say what is missing), all or nothing, or none.
Sandbox = Literal["auto", "strict", "off"]

#: What an operating system has to offer, by name, and what is lost without it. Besides these there is always: an engine
#: in another process than the code, an environment without secrets, resource limits, deadlines.
PROTECTIONS = {
    "namespaces": "it could see other processes and which files there are",
    "landlock": "it could open files that the namespaces' root directory shows by mistake",
    "seccomp": "it could start processes and threads, and reach for more of the kernel",
}
