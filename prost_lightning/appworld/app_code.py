"""Loads all of AppWorld's apps ahead of their use. Imports ``appworld`` when called: for subprocesses only."""

from __future__ import annotations


def load_apps() -> None:
    """Imports all apps, which takes some seconds, and keeps the application that serves them; forks then have both."""
    from appworld import requester
    from appworld.apps import build_main_app, get_all_apps
    from appworld.common.utils import get_name_to_apis
    from sqlalchemy.orm import configure_mappers

    served = build_main_app(tuple(sorted(get_all_apps())))
    requester.build_main_app = lambda _: served
    for app in get_all_apps():
        get_name_to_apis(app, ignore_private_apis=True)
    configure_mappers()
