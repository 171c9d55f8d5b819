"""Writes Spotify."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import asdict
from statistics import mean

from prost_lightning.miniworld.contents import Contents
from prost_lightning.miniworld.writers.tables import SEARCH, Row, Tables, ago, midnight


def write_spotify(tables: Tables, contents: Contents) -> None:
    """Writes the catalogue and everybody's library."""
    _write_catalogue(tables, contents)
    accounts = [(person.id, contents.of(person).spotify) for person in contents.supervisors]
    tables.save(
        "UserLibrarySong",
        [
            {"user_id": user_id, "song_id": song.id, "created_at": ago(100 - place)}
            for user_id, account in accounts
            for place, song in enumerate(account.library)
        ],
    )
    tables.save(
        "UserLibraryAlbum",
        [
            {"user_id": user_id, "album_id": album.id, "created_at": ago(100 - place)}
            for user_id, account in accounts
            for place, album in enumerate(account.albums)
        ],
    )
    tables.save(
        "SongLike",
        [
            {"user_id": user_id, "song_id": song.id, "liked_at": ago(3 + place)}
            for user_id, account in accounts
            for place, song in enumerate(account.liked)
        ],
    )
    tables.save(
        "UserDownloadedSong",
        [
            {"user_id": user_id, "song_id": song.id, "downloaded_at": ago(3 + place)}
            for user_id, account in accounts
            for place, song in enumerate(account.downloaded)
        ],
    )
    playlists = [(user_id, playlist) for user_id, account in accounts for playlist in account.playlists]
    tables.save(
        "Playlist",
        [
            {
                "title": playlist.title,
                "user_id": user_id,
                "is_public": playlist.public,
                "created_at": playlist.created_at,
            }
            for user_id, playlist in playlists
        ],
    )
    tables.save(
        "PlaylistSong",
        [
            {"playlist_id": playlist.id, "song_id": song.id, "added_at": playlist.created_at}
            for _, playlist in playlists
            for song in playlist.songs
        ],
    )
    tables.save(
        "UserArtistFollowing",
        [
            {"user_id": user_id, "artist_id": artist.id, "created_at": ago(60 - place)}
            for user_id, account in accounts
            for place, artist in enumerate(account.followed)
        ],
    )
    tables.save(
        "SongReview",
        [
            {
                "song_id": review.song.id,
                "user_id": user_id,
                "rating": review.rating,
                "title": review.title,
                "created_at": review.created_at,
            }
            for user_id, account in accounts
            for review in account.reviews
        ],
    )
    tables.save(
        "MusicPlayer",
        [
            {"user_id": user_id, "queue_song_ids": [song.id for song in account.queue], "cursor_position": 0}
            for user_id, account in accounts
        ],
    )
    tables.save(
        "PaymentCard",
        [{"user_id": person.id, **asdict(card)} for person in contents.supervisors for card in person.cards],
    )


def _write_catalogue(tables: Tables, contents: Contents) -> None:
    catalogue = contents.catalogue
    artist_ids = {artist.name: artist.id for artist in catalogue.artists}
    album_ids = {album.title: album.id for album in catalogue.albums}
    likes: dict[int, int] = defaultdict(int)
    ratings: dict[int, list[int]] = defaultdict(list)
    for person in contents.supervisors:
        account = contents.of(person).spotify
        for song in account.liked:
            likes[song.id] += 1
        for review in account.reviews:
            ratings[review.song.id].append(review.rating)
    tables.save("Artist", [{"name": artist.name, "genre": artist.genre} for artist in catalogue.artists])
    tables.save(
        "Album",
        [
            {
                "title": album.title,
                "artist_ids": [artist_ids[album.artist]],
                "genre": album.genre,
                "release_date": midnight(album.release_date),
                SEARCH: f"{album.title} {album.genre} {album.artist}",
            }
            for album in catalogue.albums
        ],
    )
    songs: list[Row] = [
        {
            "title": song.title,
            "artist_ids": [artist_ids[song.artist]],
            "album_id": album_ids[song.album] if song.album else None,
            "genre": song.genre,
            "duration": song.duration,
            "play_count": song.play_count,
            "release_date": midnight(song.release_date),
            SEARCH: f"{song.title} {song.genre} {song.artist}",
            "like_count": likes[song.id],
            "review_count": len(ratings[song.id]),
            "rating": mean(ratings[song.id]) if ratings[song.id] else 0.0,
        }
        for song in catalogue.songs
    ]
    tables.save("Song", songs)
