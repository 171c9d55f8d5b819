"""Scenarios about a Spotify song library."""

from __future__ import annotations

from random import Random
from textwrap import dedent

from prost_lightning.miniworld import words
from prost_lightning.miniworld.contents import Contents, Song
from prost_lightning.miniworld.people import Person
from prost_lightning.miniworld.scenarios.base import (
    TaskDraft,
    Template,
    beyond_first_page,
    collect_step,
    login_step,
    without_token,
)
from prost_lightning.miniworld.script import Mistake, ScriptStep


def _collect_library(library: tuple[Song, ...]) -> ScriptStep:
    return collect_step(
        "spotify",
        "show_song_library",
        "songs",
        len(library),
        [
            "Collect all songs of the Spotify song library.",
            "Get every song in the Spotify library.",
            "List the whole Spotify song library.",
        ],
    )


def _by_artist(artist: str) -> str:
    return f'matches = [s for s in songs if s["artists"][0]["name"] == "{artist}"]\n'


def _other_artist(artist: str) -> str:
    return words.ARTISTS[(words.ARTISTS.index(artist) + 1) % len(words.ARTISTS)]


def _draft_extreme_song(contents: Contents, person: Person, random: Random) -> TaskDraft | None:
    library = contents.of(person).library
    artist = random.choice(words.ARTISTS)
    extreme = random.choice(("longest", "shortest"))
    songs = sorted((song for song in library if song.artist == artist), key=lambda song: song.duration)
    if len(songs) < 2 or len({song.duration for song in songs}) < len(songs):
        return None
    function, wrong_function = ("max", "min") if extreme == "longest" else ("min", "max")
    right = songs[-1 if extreme == "longest" else 0]
    if not beyond_first_page(library, [right]):
        return None
    title = right.title

    def code(function: str) -> str:
        return _by_artist(artist) + f'print({function}(matches, key=lambda s: s["duration"])["title"])'

    wording = random.choice(
        (
            f"What is the title of the {extreme} song by {artist} in my Spotify song library?",
            f"Which song by {artist} in my Spotify song library is the {extreme}? Give me its title.",
        )
    )
    compute = ScriptStep(
        kind="compute",
        apps=["spotify"],
        goals=[
            f"Find the title of the {extreme} song by {artist}.",
            f"Print the title of the {extreme} song by {artist} in songs.",
        ],
        plans=[
            f"Keep the songs whose artist is {artist}, take the {extreme} by duration.",
            f"Filter songs by artist {artist}; use {function} over duration.",
        ],
        lookups=[("spotify", "show_song_library")],
        code=code(function),
        result=title,
        mistakes=[
            Mistake(
                "wrong_argument", code(wrong_function), f"It uses {wrong_function}; the goal asks for the {extreme}."
            ),
        ],
    )
    return TaskDraft(
        instruction=wording,
        public={"artist": artist, "extreme": extreme},
        private={},
        answer=title,
        steps=[login_step("spotify"), _collect_library(library), compute],
    )


def _draft_like_long_songs(contents: Contents, person: Person, random: Random) -> TaskDraft | None:
    library = contents.of(person).library
    seconds = random.randint(520, 590)
    chosen = [song for song in library if song.duration > seconds]
    if not 2 <= len(chosen) <= 8 or not beyond_first_page(library, chosen):
        return None
    code = (
        f'matches = [s for s in songs if s["duration"] > {seconds}]\n'
        "for song in matches:\n"
        '    apis.spotify.like_song(song_id=song["song_id"], access_token=spotify_token)\n'
        'print(len(matches), "songs liked")'
    )
    wording = random.choice(
        (
            f"Like every song in my Spotify song library that is longer than {seconds} seconds.",
            f"Give a like to all songs of my Spotify song library that last more than {seconds} seconds.",
        )
    )
    like = ScriptStep(
        kind="write",
        apps=["spotify"],
        goals=[
            f"Like every song longer than {seconds} seconds.",
            f"Like the songs that last more than {seconds} seconds.",
        ],
        plans=[
            f"Keep the songs with duration above {seconds}, call like_song for each.",
            f"Filter songs by duration > {seconds}; like each one with spotify_token.",
        ],
        lookups=[("spotify", "like_song")],
        code=code,
        result=f"{len(chosen)} songs liked",
        mistakes=[
            Mistake("missing_login", without_token(code, "spotify"), "like_song needs access_token=spotify_token."),
            Mistake(
                "wrong_api", code.replace("like_song(", "add_like("), "spotify has no API add_like; use like_song."
            ),
        ],
    )
    return TaskDraft(
        instruction=wording,
        public={"seconds": seconds},
        private={"titles": sorted(song.title for song in chosen)},
        answer=None,
        steps=[login_step("spotify"), _collect_library(library), like],
    )


def _draft_artist_playlist(contents: Contents, person: Person, random: Random) -> TaskDraft | None:
    library = contents.of(person).library
    artist = random.choice(words.ARTISTS)
    playlist = random.choice(words.PLAYLISTS)
    chosen = [song for song in library if song.artist == artist]
    if len(chosen) < 2 or not beyond_first_page(library, chosen):
        return None
    code = (
        _by_artist(artist)
        + f'playlist = apis.spotify.create_playlist(title="{playlist}", access_token=spotify_token)\n'
        + "for song in matches:\n"
        + '    apis.spotify.add_song_to_playlist(playlist_id=playlist["playlist_id"], song_id=song["song_id"], '
        + "access_token=spotify_token)\n"
        + 'print(len(matches), "songs added")'
    )
    wording = random.choice(
        (
            f"Make a Spotify playlist called '{playlist}' with all songs by {artist} from my song library.",
            f"Put every song by {artist} in my Spotify song library into a new playlist named '{playlist}'.",
        )
    )
    make = ScriptStep(
        kind="write",
        apps=["spotify"],
        goals=[
            f"Create the playlist '{playlist}' with all songs by {artist}.",
            f"Make a new playlist '{playlist}' and add the songs by {artist}.",
        ],
        plans=[
            f"Keep the songs by {artist}, create_playlist '{playlist}', add each song to it.",
            f"Filter songs by artist {artist}; create '{playlist}'; add_song_to_playlist for each.",
        ],
        lookups=[("spotify", "create_playlist"), ("spotify", "add_song_to_playlist")],
        code=code,
        result=f"{len(chosen)} songs added",
        mistakes=[
            Mistake(
                "missing_login", without_token(code, "spotify"), "create_playlist needs access_token=spotify_token."
            ),
            Mistake(
                "wrong_argument",
                code.replace(f'create_playlist(title="{playlist}"', f'create_playlist(name="{playlist}"'),
                "create_playlist takes title, not name.",
            ),
        ],
    )
    return TaskDraft(
        instruction=wording,
        public={"artist": artist, "playlist": playlist},
        private={"titles": sorted(song.title for song in chosen)},
        answer=None,
        steps=[login_step("spotify"), _collect_library(library), make],
    )


TEMPLATES = (
    Template(
        name="spotify_extreme_song",
        difficulty=1,
        apps=("spotify",),
        draft=_draft_extreme_song,
    ),
    Template(
        name="spotify_like_long_songs",
        difficulty=1,
        apps=("spotify",),
        draft=_draft_like_long_songs,
        changes=("spotify.SongLike", "spotify.Song"),
        checks=dedent(
            """
            me = models.start.spotify.User.find_from(main_user).id
            added, updated, removed = models.changed_records("spotify.SongLike")
            with test("only the right songs were liked, by the supervisor"):
                test.case(sorted(like.song.title for like in added), "==", list(private_data.titles))
                test.case([like.user_id for like in added], "all ==", me)
                test.case(len(updated) + len(removed), "==", 0)
            added, updated, removed = models.changed_records("spotify.Song")
            with test("no song changed in anything but its number of likes"):
                test.case(len(added) + len(removed), "==", 0)
                for song in updated:
                    test.case(models.changed_field_names("spotify.Song", song.id), "==", {"like_count"})
            """
        ),
    ),
    Template(
        name="spotify_artist_playlist",
        difficulty=2,
        apps=("spotify",),
        draft=_draft_artist_playlist,
        changes=("spotify.Playlist", "spotify.PlaylistSong"),
        checks=dedent(
            """
            me = models.start.spotify.User.find_from(main_user).id
            added, updated, removed = models.changed_records("spotify.Playlist")
            with test("one playlist with the right title was made for the supervisor"):
                test.case([playlist.title for playlist in added], "==", [public_data.playlist])
                test.case([playlist.user_id for playlist in added], "==", [me])
                test.case(len(updated) + len(removed), "==", 0)
            playlist_ids = [playlist.id for playlist in added]
            added, updated, removed = models.changed_records("spotify.PlaylistSong")
            with test("the new playlist has exactly the right songs"):
                test.case(sorted(entry.song.title for entry in added), "==", list(private_data.titles))
                test.case(sorted({entry.playlist_id for entry in added}), "==", playlist_ids)
                test.case(len(updated) + len(removed), "==", 0)
            """
        ),
        challenge=True,
    ),
)
