"""Scenarios about the bills that lie as text files in the file system app."""

from __future__ import annotations

from random import Random

from prost_lightning.miniworld import words
from prost_lightning.miniworld.apps.file_system import BILLS_FOLDER, File
from prost_lightning.miniworld.contents import Contents
from prost_lightning.miniworld.people import Person
from prost_lightning.miniworld.scenarios.base import Draft, template
from prost_lightning.miniworld.scenarios.endings import NOTE_CREATED, create_note, send_email
from prost_lightning.miniworld.scenarios.expectations import added, removed, side
from prost_lightning.miniworld.scenarios.file_system import list_files
from prost_lightning.miniworld.scenarios.notes import EMAIL_SENT
from prost_lightning.miniworld.scenarios.phone import collect_contacts
from prost_lightning.miniworld.scenarios.steps import call, keep, login_step, quoted, step, write_each
from prost_lightning.miniworld.scenarios.venmo import PAYMENTS_MADE
from prost_lightning.miniworld.script import ScriptStep

FILES_MOVED = (
    added("file_system.File", "path", "content", "user.email"),
    removed("file_system.File", "path", "user.email"),
    added("file_system.Directory", "path", "user.email"),
    side("file_system.Directory", "updated_at"),
)
"""What moving files to a new directory changes."""

_AMOUNT = 'split("$")[1].split()[0]'


def bills_of(world: Contents, person: Person, random: Random) -> tuple[str, list[File]]:
    """Chooses a service; returns its name and its bills, sorted by month."""
    files = [file for file in world.of(person).file_system.files if file.kind == "bill"]
    service = random.choice(files).service
    return service, sorted((file for file in files if file.service == service), key=lambda file: file.month)


def list_bills(world: Contents, person: Person) -> ScriptStep:
    """The sub-task that leaves the paths of all bills in ``paths``."""
    return list_files(BILLS_FOLDER, len(world.of(person).file_system.inside(person, BILLS_FOLDER)))


def read_bills(service: str, bills: list[File]) -> ScriptStep:
    """The sub-task that leaves the texts of a service's bills of 2023 in ``bills``, sorted by month."""
    recent = [bill for bill in bills if bill.month.startswith("2023")]
    show = call("file_system", "show_file", file_path="p")
    return step(
        "read",
        "file_system",
        [f"Read the {service} bills of 2023.", f"Get the text of every {service} bill of the year 2023."],
        f"keep the sorted paths with {service.lower()}_2023 in them, read each with show_file, keep the contents in "
        "bills",
        [
            f'bills = [{show}["content"] for p in sorted(paths) if "{service.lower()}_2023" in p]',
            f'print(len(bills), "{service} bills")',
        ],
        f"{len(recent)} {service} bills",
        wrong=("_2023", "_", "It reads the bills of earlier years too; only those of 2023 are asked for."),
    )


def read_latest_bill(service: str, bills: list[File]) -> ScriptStep:
    """The sub-task that leaves the text of a service's latest bill in ``bill``."""
    show = call("file_system", "show_file", file_path="path")
    return step(
        "read",
        "file_system",
        [f"Read the latest {service} bill.", f"Get the text of the {service} bill of the latest month."],
        f"take the last of the sorted paths with {service.lower()}_ in them, read it with show_file, keep its content "
        "in bill",
        [
            f'path = sorted(p for p in paths if "/{service.lower()}_" in p)[-1]',
            f'bill = {show}["content"]',
            "print(bill.splitlines()[1])",
        ],
        f"Month: {bills[-1].month}",
        value=bills[-1].month,
        wrong=("[-1]", "[0]", "That is the oldest bill; the latest is asked for."),
    )


def _wrong_status(status: str) -> tuple[str, str, str]:
    """The mistake of taking the bills of the other status."""
    other = "unpaid" if status == "paid" else "paid"
    return f"Status: {status}", f"Status: {other}", f"It takes the {other} bills; the {status} ones are asked for."


def take_amount(amount: int) -> ScriptStep:
    """The sub-task that leaves the dollars of ``bill`` in ``amount``."""
    return step(
        "compute",
        "file_system",
        ["Take the amount out of bill.", "Print the dollars that bill asks for."],
        "keep the number after the $ of bill in amount",
        [f"amount = int(bill.{_AMOUNT})", "print(amount)"],
        str(amount),
        wrong=('split("$")[1]', 'split("$")[0]', "The amount stands behind the $, not before it."),
    )


def create_folder(name: str) -> ScriptStep:
    """The sub-task that makes a directory below the home directory."""
    return step(
        "write",
        "file_system",
        [f"Create the directory ~/{name}.", f"Make a new directory ~/{name}."],
        f"call create_directory with ~/{name}",
        [call("file_system", "create_directory", directory_path=quoted(f"~/{name}")), f'print("~/{name} created")'],
        f"~/{name} created",
    )


@template(2, "file_system")
def bills_total(world: Contents, person: Person, random: Random) -> Draft | None:
    """Adds up a service's bills of this year that are paid, or unpaid."""
    service, bills = bills_of(world, person, random)
    status = random.choice(("paid", "unpaid"))
    amounts = [bill.amount for bill in bills if bill.month.startswith("2023") and bill.paid == (status == "paid")]
    if not 2 <= len(amounts) <= 4:
        return None
    add_up = step(
        "compute",
        "file_system",
        [f"Add up the amounts of the {status} bills.", f"Print the total of all bills whose status is {status}."],
        f"keep the bills that say 'Status: {status}', sum the numbers after the $",
        [keep("bills", f'"Status: {status}" in b'), f"print(sum(int(m.{_AMOUNT}) for m in matches))"],
        str(sum(amounts)),
        wrong=_wrong_status(status),
    )
    return Draft(
        [
            f"What is the total in dollars of my {status} {service} bills of 2023? They lie in ~/{BILLS_FOLDER} of my "
            "file system.",
            f"Add up the amounts of all {service} bills of the year 2023 in ~/{BILLS_FOLDER} of my file system whose "
            f"status is {status}.",
            f"In ~/{BILLS_FOLDER} of my file system there are {service} bills. How many dollars do those of 2023 come "
            f"to that are {status}?",
        ],
        {"service": service, "status": status},
        [login_step("file_system"), list_bills(world, person), read_bills(service, bills), add_up],
        answer=sum(amounts),
    )


@template(1, "file_system", expects=FILES_MOVED)
def sort_out_files(world: Contents, person: Person, random: Random) -> Draft | None:
    """Moves the files of a kind from a folder to a new one."""
    folder, extension = random.choice(words.FOLDERS), random.choice(words.EXTENSIONS)
    name = f"{extension}_{random.choice(('archive', 'sorted', 'shared', 'keep'))}"
    files = world.of(person).file_system.inside(person, folder)
    chosen = [file for file in files if file.path.endswith(f".{extension}")]
    if not 2 <= len(chosen) <= 4:
        return None
    move = write_each(
        "file_system",
        "move_file",
        "paths",
        "path",
        (f'p.endswith(".{extension}")', f"the ending .{extension}"),
        [f"Move every .{extension} file to ~/{name}.", f"Move the files that end with .{extension} into ~/{name}."],
        f"{len(chosen)} files moved",
        source_file_path="path",
        destination_file_path=f'"~/{name}/" + path.split("/")[-1]',
    )
    return Draft(
        [
            f"Create a folder ~/{name} in my file system and move all .{extension} files that lie directly in "
            f"~/{folder} there, under their names.",
            f"Move every .{extension} file directly in ~/{folder} of my file system to a new folder ~/{name}.",
            f"I want a new folder ~/{name} in my file system with all .{extension} files that are directly in "
            f"~/{folder} now; they keep their names and are gone from there.",
        ],
        {"folder": folder, "extension": extension, "name": name},
        [login_step("file_system"), list_files(folder, len(files)), create_folder(name), move],
        rows={
            "added file_system.File": [(f"{person.home}{name}/{f.name}", f.content, person.email) for f in chosen],
            "removed file_system.File": [(file.path, person.email) for file in chosen],
            "added file_system.Directory": [(f"{person.home}{name}/", person.email)],
        },
    )


@template(3, "file_system", "simple_note", expects=[NOTE_CREATED])
def bills_to_note(world: Contents, person: Person, random: Random) -> Draft | None:
    """Writes a service's bills of this year that are paid, or unpaid, into a note."""
    service, bills = bills_of(world, person, random)
    status = random.choice(("paid", "unpaid"))
    title, where = f"{service} {status} 2023", f"~/{BILLS_FOLDER} of my file system"
    chosen = [bill for bill in bills if bill.month.startswith("2023") and bill.paid == (status == "paid")]
    written = [f"{bill.month}: ${bill.amount}" for bill in chosen]
    if not 2 <= len(chosen) <= 4:
        return None
    lines = step(
        "compute",
        "file_system",
        [
            f"Make a line like '2023-01: $50' of each {status} bill, in lines.",
            f"Put month and amount of the {status} bills into lines, as in '2023-01: $50'.",
        ],
        f"keep the bills that say 'Status: {status}', join month, colon and amount of each in lines",
        [
            keep("bills", f'"Status: {status}" in b'),
            f'lines = [m.split("Month: ")[1].split()[0] + ": $" + m.{_AMOUNT} for m in matches]',
            "print(lines[0])",
        ],
        written[0],
        wrong=_wrong_status(status),
    )
    collect = [login_step("file_system"), list_bills(world, person), read_bills(service, bills), lines]
    return Draft(
        [
            f"Create a Simple Note note '{title}' with one line like '2023-01: $50' for each {status} {service} bill "
            f"of 2023 in {where}, sorted by month.",
            f"Note down my {status} {service} bills of 2023, which lie in {where}, in a new Simple Note note "
            f"'{title}', one a line as '2023-01: $50', the earliest month first.",
            f"For every {service} bill of 2023 in {where} that is {status}, a new Simple Note note '{title}' should "
            "have a line with month and amount in the form '2023-01: $50', in the order of the months.",
        ],
        {"service": service, "status": status, "title": title},
        [*collect, login_step("simple_note"), create_note(title, "lines")],
        rows={"added simple_note.Note": [(title, "\n".join(written), person.email)]},
    )


@template(3, "file_system", "gmail", challenge=True, expects=EMAIL_SENT)
def email_latest_bill(world: Contents, person: Person, random: Random) -> Draft | None:
    """Emails the text of a service's latest bill."""
    service, bills = bills_of(world, person, random)
    receiver, subject = random.choice(world.strangers).email, random.choice(words.SUBJECTS)
    collect = [login_step("file_system"), list_bills(world, person), read_latest_bill(service, bills)]
    where = f"~/{BILLS_FOLDER} of my file system"
    return Draft(
        [
            f"Email the whole text of my latest {service} bill in {where} to {receiver}, with the subject '{subject}'.",
            f"Send the content of the newest {service} bill (by month) from {where} to {receiver} by Gmail, subject "
            f"'{subject}'.",
            f"{receiver} asks for the text of my {service} bill of the latest month; it lies in {where}. Email it "
            f"with '{subject}' as the subject.",
        ],
        {"service": service, "email": receiver, "subject": subject},
        [*collect, login_step("gmail"), send_email(receiver, subject, "bill")],
        rows={"added gmail.Email": [(person.email, [receiver], subject, bills[-1].content)]},
    )


@template(3, "file_system", "phone", "venmo", expects=PAYMENTS_MADE)
def pay_bill_to_contact(world: Contents, person: Person, random: Random) -> Draft | None:
    """Pays the amount of a service's latest bill to a contact."""
    service, bills = bills_of(world, person, random)
    contacts = world.of(person).phone.contacts
    receiver, amount, note = random.choice(contacts).person, bills[-1].amount, f"{service} bill"
    named = f'c["first_name"] == {quoted(receiver.first_name)} and c["last_name"] == {quoted(receiver.last_name)}'
    pay = write_each(
        "venmo",
        "create_transaction",
        "contacts",
        "contact",
        (named, f"the name {receiver.name}"),
        [f"Pay amount to {receiver.name} with the note '{note}'.", f"Send {receiver.name} the amount for '{note}'."],
        "1 payment sent",
        receiver_email='contact["email"]',
        amount="amount",
        description=quoted(note),
    )
    collect = [login_step("file_system"), list_bills(world, person), read_latest_bill(service, bills)]
    look_up = [take_amount(amount), login_step("phone"), collect_contacts(contacts)]
    where = f"~/{BILLS_FOLDER} of my file system"
    return Draft(
        [
            f"Pay the amount of my latest {service} bill (in {where}) on Venmo to {receiver.name} from my phone "
            f"contacts, with the note '{note}'.",
            f"{receiver.name}, who is in my phone contacts, has paid my {service} bill of the latest month in "
            f"{where}. Send that amount back on Venmo with the note '{note}'.",
            f"Send {receiver.name} (see my phone contacts) on Venmo exactly what the newest {service} bill in {where} "
            f"amounts to, and describe it as '{note}'.",
        ],
        {"service": service, "name": receiver.name},
        [*collect, *look_up, login_step("venmo"), pay],
        rows={
            "added venmo.Transaction": [(person.email, receiver.email, amount, note, None)],
            "added venmo.Notification": [(receiver.email,)],
        },
    )
