"""Invented names and phrases that the world is made of. Own lists, so that a library update never changes a world."""

from __future__ import annotations


def _listed(text: str) -> tuple[str, ...]:
    return tuple(phrase.strip() for phrase in text.split(","))


FIRST_NAMES = _listed(
    """
    Alice, Brian, Carla, Derek, Elena, Frank, Grace, Henry, Irene, Jason, Karen, Lucas, Maria, Nolan, Olive,
    Peter, Ralph, Sarah, Tomas, Victor, Wendy, Diana, Ethan, Fiona
    """
)
LAST_NAMES = _listed(
    """
    Adams, Baker, Cooper, Dalton, Ellis, Foster, Grant, Hughes, Irwin, Jensen, Keller, Lambert, Mason, Norton,
    Osborn, Parker, Quinn, Reeves, Sutton, Turner, Upton, Vaughn, Walker, Yates, Zeller, Archer, Bishop, Carver,
    Draper, Farmer, Gibson, Harper
    """
)
ARTISTS = _listed(
    """
    Nova Reyes, Silver Pines, Echo Harbor, Marble Kings, Velvet Storm, Lunar Tide, Copper Field, Neon Meadow,
    Iron Lantern, Paper Foxes, Golden Hour, Winter Coast, Scarlet Road, Hollow Creek, Static Bloom, Amber Valley,
    Coral Wolves, Dusty Anthem, Glass Parade, Mellow Giants, Northern Choir, Velour Motel, Wild Orchard,
    Zenith Club
    """
)
GENRES = _listed("pop, rock, jazz, classical, indie")
TITLE_FIRST = _listed(
    """
    Broken, Silent, Endless, Burning, Distant, Frozen, Gentle, Hidden, Restless, Shining, Stolen, Wandering,
    Electric, Faded, Crimson
    """
)
TITLE_SECOND = _listed(
    "River, Mirror, Highway, Garden, Signal, Summer, Shadow, Letter, Ocean, Thunder, Window, Carousel"
)
RELATIONSHIPS = _listed("roommate, coworker, sibling, neighbor, friend")
NOTE_TITLES = _listed(
    """
    Camping List, Garden Jobs, Party Supplies, Paint Shopping, Moving Day, Bike Repair, Picnic Ideas,
    Office Errands, Attic Cleanup, Puppy Care, Wedding Tasks, School Run, Kitchen Upgrade, Beach Trip,
    Winter Prep, Movie Night, Birthday Plan, Car Checkup, Basement Fixes, Museum Visit, Yoga Week,
    Library Returns, Spring Market, Balcony Plants
    """
)
CHORES = _listed(
    """
    buy tape, call the plumber, water the plants, clean the garage, wash the car, order pizza, fix the lamp,
    pack the tent, print the tickets, charge the camera, return the drill, book a table, sweep the stairs,
    mail the package, test the alarm, find the charger, sort the photos, measure the window, pick up the keys,
    renew the pass, feed the cat, fold the laundry, sharpen the knives, check the tires, replace the filter,
    borrow a ladder, label the boxes, refill the soap, update the budget, email the landlord, trim the hedge,
    wrap the gift, copy the recipe, plan the menu, dust the shelves, oil the hinges, empty the bins,
    scan the receipts, clean the oven, hang the mirror
    """
)
PROJECTS = _listed(
    """
    Garden, Kitchen, Fitness, Travel, Website, Budget, Reading, Music, Cooking, Painting, Research, Marketing,
    Recruiting, Hiking, Photography, Language, Charity, Robotics, Podcast, Wardrobe
    """
)
PRIORITIES = _listed("high, medium, low")
PAYMENTS = _listed(
    """
    Streaming share, Team lunch, Birthday gift, Movie tickets, Concert seats, Pizza night, Taxi ride, Groceries,
    Rent share, Coffee round, Bus fare, Museum entry, Camping fee, Book club, Game night, Pet food,
    Farewell dinner, Ski pass, Snacks, Parking
    """
)
MESSAGES = _listed(
    """
    Running ten minutes late, Dinner is at seven, The package has arrived, Please bring your umbrella,
    See you at the station, The meeting moved to Monday, Happy birthday to you, Call me after work,
    Thanks for the ride, The keys are under the mat, Game starts at noon, Your book is ready, We are out of milk,
    The tickets are booked, Good luck with the exam
    """
)
PLAYLISTS = _listed(
    """
    Road Trip, Morning Run, Rainy Evening, Deep Focus, Sunday Brunch, Night Drive, Gym Session, Slow Dance,
    Campfire Mix, Study Hall, Beach Party, Train Ride, Garden Hour, Late Shift, First Snow
    """
)
SUBJECTS = _listed(
    """
    My notes, As promised, For your review, The list, Quick share, Your copy, Weekend plan, Please read,
    Shared list, For later
    """
)
FOLDERS = _listed("downloads, documents, pictures, music, backup")
EXTENSIONS = _listed("pdf, txt, jpg, csv, docx, mp3")
FILE_WORDS = _listed(
    """
    report, invoice, ticket, photo, summary, backup, draft, budget, scan, song, manual, recipe, letter, chart,
    poster, form, map, log
    """
)
TITLE_VERSIONS = _listed("Live, Acoustic, Remix")
ALBUMS = _listed(
    """
    Blue Hours, Paper Moons, Long Shadows, City Lights, Open Water, Slow Fire, Second Nature, Quiet Streets,
    High Tide, Late Bloom, Hollow Bones, Bright Side, Dark Season, First Light, Last Train, Old Maps
    """
)
SECTIONS = _listed("Planning, Shopping, Follow Up, Waiting, Ideas")
LABELS = _listed("urgent, home, work, errand, weekend")
NOTE_TAGS = _listed("family, work, health, travel, home")
GROUPS = _listed(
    "Ski Trip, Beach House, Flat Share, Road Trip, Soccer Team, Cooking Club, Lake Cabin, City Break, Film Circle"
)
EXPENSES = _listed(
    """
    Dinner, Fuel, Lift passes, Firewood, Boat rental, Cleaning, Snacks, Museum, Electricity, Internet, Taxi,
    Breakfast, Hostel, Parking, Drinks, Ferry, Concert, Tools, Laundry, Groceries
    """
)
EMAIL_TOPICS = _listed(
    """
    Budget review, Project kickoff, Garden party, Book club, Team offsite, Parent evening, Design workshop,
    Sales training, Board meeting, Choir rehearsal, Quarterly report, Hiring round, Product launch, Safety drill,
    Summer camp, Charity run
    """
)
ROOMS = _listed("Aspen, Birch, Cedar, Maple, Willow, Juniper")
BILLS = _listed("Internet, Water, Electricity, Gym, Insurance, Rent, Phone, Gas")
EMAIL_LABELS = _listed("work, personal, travel, finance")
ALARMS = _listed("Wake up, Take medicine, Yoga, Water plants, Call home, Leave for work, Stand-up meeting, Study")
SHOPS = _listed(
    "Northwind Goods, Bright Basket, Corner Depot, Urban Shelf, Summit Supply, Harbor Market, Maple Store, Pixel Bay"
)
COLORS = _listed("black, white, blue, red, green")
PRODUCTS = _listed(
    """
    Desk Lamp, Water Bottle, Yoga Mat, Backpack, Coffee Grinder, Headphones, Board Game, Rain Jacket, Toaster,
    Keyboard, Picture Frame, Hiking Boots, Tea Kettle, Phone Case, Camping Chair, Notebook Set
    """
)
BRANDS = _listed("Alpine, Lumo, Nordvik, Terra, Zephyr, Orion")
STREETS = _listed("Elm Street, Oak Avenue, Pine Road, Lake Drive, Hill Lane, Mill Street, Park Avenue, River Road")
MONTHS = _listed("January, February, March, April, May, June, July, August, September, October, November, December")
WEEKDAYS = _listed("monday, tuesday, wednesday, thursday, friday, saturday, sunday")
REVIEWS = _listed("Love it, Not for me, On repeat, A bit long, Great voice, Better live, Solid, Overrated")
