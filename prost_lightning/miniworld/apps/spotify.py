"""Spotify: a catalogue for all, and what each person has of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from random import Random
from typing import TypeVar

from prost_lightning.miniworld import words
from prost_lightning.miniworld.apps.ids import Ids
from prost_lightning.miniworld.dates import NOW, moments
from prost_lightning.miniworld.people import Person

# Above two pages, so that reading only the first page gives a wrong result.
_LIBRARY_SONGS = 56
_LIKED_SONGS = 26
_LIKED_OF_LIBRARY = 8
LONG_SECONDS = 500
"""Songs of a library that are longer than this are not liked yet."""
_DOWNLOADED_SONGS = 24
_LIBRARY_ALBUMS = 8
_PLAYLISTS = 5
_FOLLOWED = 8
_SONG_REVIEWS = 5
_QUEUE = 6
_ALBUM_SONGS = 6
_VERSION_SHARE = 0.12


@dataclass(frozen=True)
class Artist:
    """An artist."""

    id: int
    name: str
    genre: str


@dataclass(frozen=True)
class Album:
    """An album of one artist."""

    id: int
    title: str
    artist: str
    genre: str
    release_date: date


@dataclass(frozen=True)
class Song:
    """A song of the catalogue; ``duration`` is in seconds, ``album`` its album's title or None."""

    id: int
    title: str
    artist: str
    genre: str
    duration: int
    play_count: int
    release_date: date
    album: str | None

    @property
    def year(self) -> int:
        """Year of release."""
        return self.release_date.year


@dataclass(frozen=True)
class Playlist:
    """A person's own playlist."""

    id: int
    title: str
    public: bool
    songs: tuple[Song, ...]
    created_at: datetime


@dataclass(frozen=True)
class SongReview:
    """A person's review of a song, 1 to 5 stars."""

    id: int
    song: Song
    rating: int
    title: str
    created_at: datetime


Row = TypeVar("Row", Song, Album, Artist)


@dataclass(frozen=True)
class Catalogue:
    """What Spotify offers to all."""

    artists: tuple[Artist, ...]
    albums: tuple[Album, ...]
    songs: tuple[Song, ...]


@dataclass(frozen=True)
class SpotifyAccount:
    """What one person has in Spotify.

    Attributes:
        library: The song library, in the order in which the app lists it.
        liked: Liked songs, the latest first, as the app lists them.
        downloaded: Downloaded songs, the latest first.
        albums: The album library.
        playlists: Own playlists; some songs of them are not in the library.
        followed: Artists that the person follows.
        reviews: Own song reviews.
        queue: Songs of the player's queue; the first is the present one.
    """

    library: tuple[Song, ...]
    liked: tuple[Song, ...]
    downloaded: tuple[Song, ...]
    albums: tuple[Album, ...]
    playlists: tuple[Playlist, ...]
    followed: tuple[Artist, ...]
    reviews: tuple[SongReview, ...]
    queue: tuple[Song, ...]


def make_catalogue(random: Random, ids: Ids) -> Catalogue:
    """Invents artists, albums and songs; some titles differ only in their version."""
    artists = tuple(
        Artist(ids.next("Artist"), name, words.GENRES[index % len(words.GENRES)])
        for index, name in enumerate(words.ARTISTS)
    )
    albums = tuple(
        Album(ids.next("Album"), title, artist.name, artist.genre, _release(random))
        for title, artist in zip(words.ALBUMS, artists, strict=False)
    )
    titles = [f"{first} {second}" for first in words.TITLE_FIRST for second in words.TITLE_SECOND]
    random.shuffle(titles)
    songs: list[Song] = []
    room = {album.artist: _ALBUM_SONGS for album in albums}
    for index, title in enumerate(titles):
        if index and random.random() < _VERSION_SHARE:
            title = f"{titles[index - 1]} ({random.choice(words.TITLE_VERSIONS)})"
        artist = artists[index % len(artists)]
        album = next((album for album in albums if album.artist == artist.name and room[artist.name]), None)
        if album:
            room[artist.name] -= 1
        songs.append(
            Song(
                id=ids.next("Song"),
                title=title,
                artist=artist.name,
                genre=artist.genre,
                duration=random.randint(120, 600),
                play_count=random.randint(100, 9_999),
                release_date=album.release_date if album else _release(random),
                album=album.title if album else None,
            )
        )
    return Catalogue(artists, albums, tuple(songs))


def make_account(random: Random, ids: Ids, catalogue: Catalogue, person: Person) -> SpotifyAccount:
    """Invents what a person has in Spotify."""
    library = random.sample(catalogue.songs, _LIBRARY_SONGS)
    others = [song for song in catalogue.songs if song not in library]
    # Not the longest of the library, since liking a song again is an error.
    short = [song for song in library if song.duration < LONG_SECONDS]
    liked = random.sample(short, _LIKED_OF_LIBRARY) + random.sample(others, _LIKED_SONGS - _LIKED_OF_LIBRARY)
    random.shuffle(liked)
    playlists = tuple(
        Playlist(
            id=ids.next("Playlist"),
            title=title,
            public=random.random() < 0.3,
            songs=tuple(random.sample(library, random.randint(4, 7)) + random.sample(others, random.randint(1, 4))),
            created_at=created_at,
        )
        for title, created_at in zip(
            random.sample(words.PLAYLISTS, _PLAYLISTS), reversed(moments(random, _PLAYLISTS)), strict=True
        )
    )
    return SpotifyAccount(
        library=_by_id(library),
        liked=tuple(liked),
        downloaded=tuple(random.sample(library, _DOWNLOADED_SONGS)),
        albums=_by_id(random.sample(catalogue.albums, _LIBRARY_ALBUMS)),
        playlists=playlists,
        followed=_by_id(random.sample(catalogue.artists, _FOLLOWED)),
        reviews=tuple(
            SongReview(ids.next("SongReview"), song, random.randint(1, 5), random.choice(words.REVIEWS), created_at)
            for song, created_at in zip(
                random.sample(library, _SONG_REVIEWS), moments(random, _SONG_REVIEWS), strict=True
            )
        ),
        queue=tuple(random.sample(library, _QUEUE)),
    )


def _by_id(rows: list[Row]) -> tuple[Row, ...]:
    """The order in which the database's index gives a person's rows back."""
    return tuple(sorted(rows, key=lambda row: row.id))


def _release(random: Random) -> date:
    return (NOW - timedelta(days=random.randint(200, 3_000))).date()
