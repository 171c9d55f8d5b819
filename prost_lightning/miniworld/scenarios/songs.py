"""Scenarios about playlists, artists and lists of songs."""

from __future__ import annotations

from random import Random

from prost_lightning.miniworld import words
from prost_lightning.miniworld.apps.simple_note import Note
from prost_lightning.miniworld.apps.spotify import Catalogue, Playlist, Song
from prost_lightning.miniworld.contents import Contents
from prost_lightning.miniworld.people import Person
from prost_lightning.miniworld.scenarios.base import Draft, beyond_first_page, template
from prost_lightning.miniworld.scenarios.endings import PLAYLIST_MADE, TEXTS_SENT, make_playlist, text_contact
from prost_lightning.miniworld.scenarios.expectations import removed
from prost_lightning.miniworld.scenarios.notes import read_note
from prost_lightning.miniworld.scenarios.phone import collect_contacts
from prost_lightning.miniworld.scenarios.spotify import collect_library
from prost_lightning.miniworld.scenarios.steps import call, collect_step, keep, login_step, quoted, step, write_each
from prost_lightning.miniworld.script import ScriptStep


def listed_songs(note: Note, catalogue: Catalogue) -> list[Song]:
    """The songs that a note names, in its order."""
    return [next(song for song in catalogue.songs if song.title == title) for title in note.items]


def search_listed_songs(note: Note) -> ScriptStep:
    """The sub-task that leaves the songs that ``items`` names in ``songs``."""
    return step(
        "collect",
        "spotify",
        [
            "Find the song of exactly each title in items on Spotify.",
            "Search Spotify for every title in items and keep the exact match.",
        ],
        "call search_songs for each title in items, keep the one with exactly that title, gather them in songs",
        [
            "songs = []",
            "for title in items:",
            "    found = apis.spotify.search_songs(query=title, page_limit=20)",
            '    songs.append([f for f in found if f["title"] == title][0])',
            'print(len(songs), "songs found")',
        ],
        f"{len(note.items)} songs found",
        wrong=(
            '[f for f in found if f["title"] == title][0]',
            "found[title]",
            "found is a list of songs; choose by title.",
        ),
    )


def read_playlist(playlist: Playlist) -> ScriptStep:
    """The sub-task that leaves the songs of an own playlist in ``songs``."""
    return step(
        "read",
        "spotify",
        [f"Read all songs of the playlist '{playlist.title}'.", f"Get each song of my playlist '{playlist.title}'."],
        f"find '{playlist.title}' in show_playlist_library, call show_song for each of its song_ids, keep them in "
        "songs",
        [
            f"playlists = {call('spotify', 'show_playlist_library', page_limit='20')}",
            f'playlist = [p for p in playlists if p["title"] == {quoted(playlist.title)}][0]',
            'songs = [apis.spotify.show_song(song_id=i) for i in playlist["song_ids"]]',
            'print(len(songs), "songs")',
        ],
        f"{len(playlist.songs)} songs",
    )


@template(1, "spotify", expects=[removed("spotify.UserArtistFollowing", "artist.name", "user.email")])
def spotify_unfollow_genre(world: Contents, person: Person, random: Random) -> Draft | None:
    """Unfollows the artists of a genre, except one."""
    followed = world.of(person).spotify.followed
    genre = random.choice(words.GENRES)
    spared = random.choice(followed)
    chosen = [artist for artist in followed if artist.genre == genre and artist is not spared]
    if len(chosen) < 2 or spared.genre != genre:
        return None
    unfollow = write_each(
        "spotify",
        "unfollow_artist",
        "artists",
        "artist",
        (f'a["genre"] == "{genre}" and a["name"] != {quoted(spared.name)}', f"genre {genre} except {spared.name}"),
        [
            f"Unfollow every {genre} artist except {spared.name}.",
            f"Unfollow the artists of the genre {genre}, but not {spared.name}.",
        ],
        f"{len(chosen)} artists unfollowed",
        artist_id='artist["artist_id"]',
    )
    collect = collect_step(
        "spotify", "show_following_artists", "artists", len(followed), "artists that are followed on Spotify"
    )
    return Draft(
        [
            f"Unfollow all {genre} artists that I follow on Spotify, except {spared.name}.",
            f"Of the {genre} artists that I follow on Spotify I only want to keep {spared.name}; unfollow the others.",
            f"On Spotify, stop following every artist of the genre {genre} apart from {spared.name}.",
        ],
        {"genre": genre, "spared": spared.name},
        [login_step("spotify"), collect, unfollow],
        rows={"removed spotify.UserArtistFollowing": [(artist.name, person.email) for artist in chosen]},
    )


@template(2, "spotify")
def spotify_playlist_seconds(world: Contents, person: Person, random: Random) -> Draft | None:
    """Adds up the durations of a playlist's songs by artists that are not named."""
    playlist = random.choice(world.of(person).spotify.playlists)
    left_out = random.choice(playlist.songs).artist
    seconds = [song.duration for song in playlist.songs if song.artist != left_out]
    if len(seconds) < 2:
        return None
    add_up = step(
        "compute",
        "spotify",
        [f"Add up the durations of the songs not by {left_out}.", f"Print the duration of all songs but {left_out}'s."],
        f"keep the songs whose artist is not {left_out}, sum their durations",
        [keep("songs", f's["artists"][0]["name"] != {quoted(left_out)}'), 'print(sum(m["duration"] for m in matches))'],
        str(sum(seconds)),
    )
    return Draft(
        [
            f"How many seconds do the songs of my Spotify playlist '{playlist.title}' last together, without those by "
            f"{left_out}?",
            f"Add up the durations in seconds of all songs in my Spotify playlist '{playlist.title}' that are not by "
            f"{left_out}.",
            f"If I skip every song by {left_out}, how long is my Spotify playlist '{playlist.title}' in seconds?",
        ],
        {"playlist": playlist.title, "left_out": left_out},
        [login_step("spotify"), read_playlist(playlist), add_up],
        answer=sum(seconds),
    )


@template(2, "spotify", expects=[removed("spotify.UserLibrarySong", "song.title", "user.email")])
def spotify_tidy_library(world: Contents, person: Person, random: Random) -> Draft | None:
    """Removes the library's songs by an artist that are below a length and not liked."""
    account = world.of(person).spotify
    artist, seconds = random.choice(words.ARTISTS), random.randint(250, 590)
    short = [song for song in account.library if song.artist == artist and song.duration < seconds]
    chosen = [song for song in short if song not in account.liked]
    if not 2 <= len(chosen) <= 6 or len(chosen) == len(short) or not beyond_first_page(account.library, chosen):
        return None
    liked = collect_step("spotify", "show_liked_songs", "liked", len(account.liked), "liked songs of Spotify")
    by_artist = f's["artists"][0]["name"] == {quoted(artist)} and s["duration"] < {seconds}'
    not_liked = 's["song_id"] not in [l["song_id"] for l in liked]'
    remove = write_each(
        "spotify",
        "remove_song_from_library",
        "songs",
        "song",
        (f"{by_artist} and {not_liked}", f"the artist {artist}, a duration below {seconds} and no like"),
        [
            f"Remove the songs by {artist} below {seconds} seconds that are not liked.",
            f"Take every song by {artist} that is shorter than {seconds} seconds and not liked out of the library.",
        ],
        f"{len(chosen)} songs removed",
        song_id='song["song_id"]',
    )
    return Draft(
        [
            f"Remove all songs by {artist} that are shorter than {seconds} seconds from my Spotify song library, but "
            "not those that I have liked.",
            f"Take every {artist} song below {seconds} seconds out of my Spotify song library unless I like it.",
            f"In my Spotify song library, {artist} songs of less than {seconds} seconds may stay only if they are "
            "among my liked songs; remove the others.",
        ],
        {"artist": artist, "seconds": seconds},
        [login_step("spotify"), collect_library(account.library), liked, remove],
        rows={"removed spotify.UserLibrarySong": [(song.title, person.email) for song in chosen]},
    )


@template(3, "simple_note", "spotify", expects=PLAYLIST_MADE)
def note_to_playlist(world: Contents, person: Person, random: Random) -> Draft | None:
    """Makes a playlist of the songs that a note names."""
    note = random.choice([note for note in world.of(person).notes if note.kind == "songs"])
    taken = [playlist.title for playlist in world.of(person).spotify.playlists]
    title = random.choice([name for name in words.PLAYLISTS if name not in taken])
    find_songs = [login_step("spotify"), search_listed_songs(note)]
    return Draft(
        [
            f"Make a Spotify playlist '{title}' with the songs that my Simple Note note '{note.title}' lists.",
            f"My note '{note.title}' in Simple Note names songs, one a line. Put them into a new Spotify playlist "
            f"called '{title}'.",
            f"I want the song titles of the Simple Note note '{note.title}' as a new Spotify playlist '{title}', "
            "nothing else in it.",
        ],
        {"note": note.title, "playlist": title},
        [login_step("simple_note"), read_note(note), *find_songs, make_playlist(title, len(note.items))],
        rows={
            "added spotify.Playlist": [(title, person.email)],
            "added spotify.PlaylistSong": [(song, title, person.email) for song in note.items],
        },
    )


@template(3, "simple_note", "spotify", "phone", challenge=True, expects=TEXTS_SENT)
def text_listed_artists(world: Contents, person: Person, random: Random) -> Draft | None:
    """Texts a contact who sings the songs that a note names."""
    note = random.choice([note for note in world.of(person).notes if note.kind == "songs"])
    contacts = world.of(person).phone.contacts
    receiver = random.choice(contacts).person
    artists = sorted({song.artist for song in listed_songs(note, world.catalogue)})
    name_artists = step(
        "compute",
        "spotify",
        [
            "Join the artists of songs in names: each once, sorted.",
            "Put the sorted artists of songs, each once, in names.",
        ],
        "gather the first artist's name of each song, each once, sort them, join them by ', ' in names",
        ['names = ", ".join(sorted({s["artists"][0]["name"] for s in songs}))', 'print(names.split(", ")[0])'],
        artists[0],
        wrong=('s["artists"][0]["name"]', 's["artist"]', "A song has a list of artists, not one artist."),
    )
    read = [login_step("simple_note"), read_note(note)]
    find_names = [login_step("spotify"), search_listed_songs(note), name_artists]
    how = "each once, in alphabetical order, separated by ', '"
    return Draft(
        [
            f"My Simple Note note '{note.title}' lists songs. Text {receiver.name} from my phone contacts the names "
            f"of their artists on Spotify, {how}.",
            f"Look up the artist of each song in the Simple Note note '{note.title}' on Spotify and send "
            f"{receiver.name} (in my phone contacts) a text message with the names: {how}.",
            f"{receiver.name}, a phone contact of mine, wants to know who sings the songs in my Simple Note note "
            f"'{note.title}'. Text the artists' names as Spotify has them, {how}.",
        ],
        {"note": note.title, "name": receiver.name},
        [*read, *find_names, login_step("phone"), collect_contacts(contacts), text_contact(receiver, "names")],
        rows={
            "added phone.GlobalTextMessage": [(person.phone_number, receiver.phone_number, ", ".join(artists))],
            "added phone.UserTextMessage": [(person.phone_number,), (receiver.phone_number,)],
        },
    )
