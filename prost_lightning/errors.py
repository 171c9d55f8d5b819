"""The one exception that a user is meant to read."""

from __future__ import annotations


class UserError(Exception):
    """Something the user can put right: a bad file, a wrong key, a missing world.

    The message is one clear sentence that says what is wrong, where (``file:line`` or the config key) and what to
    do about it. The command line prints it without a traceback and exits with code 2.
    """
