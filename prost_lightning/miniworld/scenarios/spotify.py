"""Scenarios about Spotify alone."""

from __future__ import annotations

from random import Random

from prost_lightning.miniworld import words
from prost_lightning.miniworld.apps.spotify import LONG_SECONDS, Song
from prost_lightning.miniworld.contents import Contents
from prost_lightning.miniworld.people import Person
from prost_lightning.miniworld.scenarios.base import Draft, beyond_first_page, template
from prost_lightning.miniworld.scenarios.expectations import added, side
from prost_lightning.miniworld.scenarios.steps import (
    call,
    collect_step,
    for_each,
    keep,
    login_step,
    quoted,
    step,
    write_each,
)
from prost_lightning.miniworld.script import ScriptStep


def collect_library(library: tuple[Song, ...]) -> ScriptStep:
    """The sub-task that leaves all songs of the library in ``songs``."""
    return collect_step("spotify", "show_song_library", "songs", len(library), "songs of the Spotify song library")


def by_artist(artist: str) -> str:
    """The line that leaves an artist's songs in ``matches``."""
    return keep("songs", f's["artists"][0]["name"] == {quoted(artist)}')


@template(1, "spotify")
def spotify_extreme_song(world: Contents, person: Person, random: Random) -> Draft | None:
    """Asks for the longest or shortest song by an artist."""
    library = world.of(person).spotify.library
    artist, extreme = random.choice(words.ARTISTS), random.choice(("longest", "shortest"))
    songs = sorted((song for song in library if song.artist == artist), key=lambda song: song.duration)
    if len({song.duration for song in songs}) < max(2, len(songs)):
        return None
    function, right = ("max", songs[-1]) if extreme == "longest" else ("min", songs[0])
    if not beyond_first_page(library, [right]):
        return None
    compute = step(
        "compute",
        "spotify",
        [
            f"Find the title of the {extreme} song by {artist}.",
            f"Print the title of the {extreme} song by {artist} in songs.",
        ],
        f"keep the songs whose artist is {artist}, take the {extreme} by duration",
        [by_artist(artist), f'print({function}(matches, key=lambda s: s["duration"])["title"])'],
        right.title,
    )
    return Draft(
        [
            f"What is the title of the {extreme} song by {artist} in my Spotify song library?",
            f"Which song by {artist} in my Spotify song library is the {extreme}? Give me its title.",
            f"Give me the title of the {extreme} {artist} song that I have in my Spotify song library.",
        ],
        {"artist": artist, "extreme": extreme},
        [login_step("spotify"), collect_library(library), compute],
        answer=right.title,
    )


@template(
    1, "spotify", expects=[added("spotify.SongLike", "song.title", "user.email"), side("spotify.Song", "like_count")]
)
def spotify_like_long_songs(world: Contents, person: Person, random: Random) -> Draft | None:
    """Likes all songs above a length."""
    account = world.of(person).spotify
    seconds = random.randint(LONG_SECONDS, 590)
    chosen = [song for song in account.library if song.duration > seconds]
    if not 2 <= len(chosen) <= 8 or not beyond_first_page(account.library, chosen):
        return None
    like = write_each(
        "spotify",
        "like_song",
        "songs",
        "song",
        (f's["duration"] > {seconds}', f"duration above {seconds}"),
        [
            f"Like every song longer than {seconds} seconds.",
            f"Like the songs that last more than {seconds} seconds.",
        ],
        f"{len(chosen)} songs liked",
        song_id='song["song_id"]',
    )
    return Draft(
        [
            f"Like every song in my Spotify song library that is longer than {seconds} seconds.",
            f"Give a like to all songs of my Spotify song library that last more than {seconds} seconds.",
            f"All songs in my Spotify song library with a duration above {seconds} seconds should get a like from me.",
        ],
        {"seconds": seconds},
        [login_step("spotify"), collect_library(account.library), like],
        rows={"added spotify.SongLike": [(song.title, person.email) for song in chosen]},
    )


@template(
    2,
    "spotify",
    challenge=True,
    expects=[
        added("spotify.Playlist", "title", "user.email"),
        added("spotify.PlaylistSong", "song.title", "playlist.title", "playlist.user.email"),
    ],
)
def spotify_artist_playlist(world: Contents, person: Person, random: Random) -> Draft | None:
    """Makes a playlist of an artist's songs."""
    account = world.of(person).spotify
    artist, title = random.choice(words.ARTISTS), random.choice(words.PLAYLISTS)
    songs = [song for song in account.library if song.artist == artist]
    taken = [playlist.title for playlist in account.playlists]
    if len(songs) < 2 or title in taken or not beyond_first_page(account.library, songs):
        return None
    make = step(
        "write",
        "spotify",
        [
            f"Create the playlist '{title}' with all songs by {artist}.",
            f"Make a new playlist '{title}' and add the songs by {artist}.",
        ],
        f"keep the songs by {artist}, create_playlist '{title}', add each song to it",
        [
            by_artist(artist),
            f"playlist = {call('spotify', 'create_playlist', title=quoted(title))}",
            *for_each("matches", "song", _ADD_SONG),
            'print(len(matches), "songs added")',
        ],
        f"{len(songs)} songs added",
    )
    return Draft(
        [
            f"Make a Spotify playlist called '{title}' with all songs by {artist} from my song library.",
            f"Put every song by {artist} in my Spotify song library into a new playlist named '{title}'.",
            f"I want a new Spotify playlist '{title}' that holds exactly the {artist} songs of my song library.",
        ],
        {"artist": artist, "playlist": title},
        [login_step("spotify"), collect_library(account.library), make],
        rows={
            "added spotify.Playlist": [(title, person.email)],
            "added spotify.PlaylistSong": [(song.title, title, person.email) for song in songs],
        },
    )


_ADD_SONG = call("spotify", "add_song_to_playlist", playlist_id='playlist["playlist_id"]', song_id='song["song_id"]')
