"""Scenarios about Amazon alone."""

from __future__ import annotations

from operator import attrgetter
from random import Random

from prost_lightning.miniworld import words
from prost_lightning.miniworld.contents import PAGE_LIMIT, Contents
from prost_lightning.miniworld.people import Person
from prost_lightning.miniworld.scenarios.amazon_steps import (
    CART_FILLED,
    CREATED,
    add_to_cart,
    choose_order,
    choose_product,
    collect_orders,
    collect_products,
    find_card,
    orders_in,
    orders_of,
    read_wish_list,
    show_ordered,
)
from prost_lightning.miniworld.scenarios.base import Draft, beyond_first_page, template
from prost_lightning.miniworld.scenarios.expectations import added, removed, side
from prost_lightning.miniworld.scenarios.periods import random_month, random_year
from prost_lightning.miniworld.scenarios.shapes import compute_from, write_for_all
from prost_lightning.miniworld.scenarios.steps import login_step, quoted, step, write_each

_price = attrgetter("price")
_PAID = 'round(sum(o["paid_amount"] for o in matches), 2)'


@template(1, "amazon")
def amazon_month_spending(world: Contents, person: Person, random: Random) -> Draft | None:
    """Asks for what the orders of a month cost."""
    orders = world.of(person).amazon.orders
    month = random_month(random, [order.created_at for order in orders])
    placed = orders_in(orders, month)
    if month is None or not beyond_first_page(orders, placed):
        return None
    total = round(sum(order.paid for order in placed), 2)
    compute = compute_from(
        "amazon",
        "orders",
        month.condition(CREATED),
        _PAID,
        [f"Add up what was paid for the orders placed in {month.iso}.", f"Print the total paid for {month.iso}."],
        f"keep the orders created in {month.iso}, sum their paid_amount, round to cents",
        str(total),
        month.wrong(CREATED),
    )
    return Draft(
        [
            f"How much did I pay in total for the Amazon orders that I placed {month.said}?",
            f"What is the total amount paid for all Amazon orders that I placed {month.said}?",
            f"Add up what I paid for the orders that I placed on Amazon {month.said}, and tell me the sum.",
        ],
        {"month": month.said},
        [login_step("amazon"), collect_orders(orders), compute],
        answer=total,
    )


@template(2, "amazon")
def amazon_card_spending(world: Contents, person: Person, random: Random) -> Draft | None:
    """Asks for what was paid with one card in a month."""
    orders = world.of(person).amazon.orders
    card, month = random.choice(person.cards), random_month(random, [order.created_at for order in orders])
    paid = [order for order in orders_in(orders, month) if order.card is card]
    if month is None or not beyond_first_page(orders, paid):
        return None
    total = round(sum(order.paid for order in paid), 2)
    compute = compute_from(
        "amazon",
        "orders",
        f'o["payment_card_id"] == card["payment_card_id"] and {month.condition(CREATED)}',
        _PAID,
        [
            f"Add up the paid amounts of the orders of {month.iso} that were paid with {card.card_name}.",
            f"Print the total paid with the card {card.card_name} for the orders of {month.iso}.",
        ],
        f"keep the orders of {month.iso} with the card's payment_card_id, sum their paid_amount, round to cents",
        str(total),
    )
    return Draft(
        [
            f"How much did I pay in total with my {card.card_name} card for Amazon orders that I placed {month.said}?",
            f"What did all Amazon orders together cost that I placed {month.said} with my {card.card_name} card?",
            f"Add up what my {card.card_name} card was charged for the Amazon orders that I placed {month.said}.",
        ],
        {"card": card.card_name, "month": month.said},
        [login_step("amazon"), find_card(card), collect_orders(orders), compute],
        answer=total,
    )


@template(2, "amazon", challenge=True)
def amazon_bought_quantity(world: Contents, person: Person, random: Random) -> Draft | None:
    """Asks how many pieces of a type of product were ordered in a year."""
    orders = world.of(person).amazon.orders
    kind, year = random.choice(words.PRODUCTS).lower(), random_year(random, [order.created_at for order in orders])
    bought = [(order, item.quantity) for order in orders for item in order.items if item.product.type == kind]
    matches = [order for order, _ in bought if year and year.holds(order.created_at)]
    if year is None or len(matches) == len(bought) or not beyond_first_page(orders, matches):
        return None
    count = sum(quantity for order, quantity in bought if order in matches)
    compute = step(
        "compute",
        "amazon",
        [
            f"Count the pieces of the type '{kind}' in the orders of {year.iso}.",
            f"Print how many pieces of the products were ordered in {year.iso}.",
        ],
        f"collect the product ids, add up ordered_quantity of such items in the orders of {year.iso}",
        [
            'ids = {p["product_id"] for p in products}',
            f'items = [i for o in orders if {year.condition(CREATED)} for i in o["order_items"]]',
            'print(sum(i["ordered_quantity"] for i in items if i["product_id"] in ids))',
        ],
        str(count),
        wrong=year.wrong(CREATED),
    )
    return Draft(
        [
            f"How many pieces of products of the type '{kind}' did I order on Amazon {year.said}?",
            f"Counting quantities, how many products of the type '{kind}' are in the Amazon orders placed {year.said}?",
            f"Tell me the total quantity of products of the type '{kind}' that I ordered on Amazon {year.said}.",
        ],
        {"kind": kind, "year": year.said},
        [login_step("amazon"), collect_products(world, kind), collect_orders(orders), compute],
        answer=count,
    )


@template(1, "amazon")
def amazon_extreme_purchase(world: Contents, person: Person, random: Random) -> Draft | None:
    """Asks for the cheapest or most expensive product ordered in a month."""
    orders = world.of(person).amazon.orders
    month = random_month(random, [order.created_at for order in orders])
    extreme, function = random.choice((("cheapest", "min"), ("most expensive", "max")))
    products = sorted({item.product for order in orders_in(orders, month) for item in order.items}, key=_price)
    if month is None or len(products) < 2 or len({product.price for product in products}) < len(products):
        return None
    right = products[0] if function == "min" else products[-1]
    placed = [order for order in orders_in(orders, month) if right in [item.product for item in order.items]]
    if any(order in orders[:PAGE_LIMIT] for order in placed):
        return None
    said = f"{extreme} product ordered in {month.iso}"
    item = step(
        "compute",
        "amazon",
        [f"Find the price of the {said}.", f"Print the price of one piece of the {said}."],
        f"join the items of the orders created in {month.iso}, take the {extreme} by price as item",
        [
            f'items = [i for o in orders if {month.condition(CREATED)} for i in o["order_items"]]',
            f'item = {function}(items, key=lambda i: i["price"])',
            'print(item["price"])',
        ],
        str(right.price),
    )
    return Draft(
        [
            f"What is the name of the {extreme} product, by its price apiece, that I ordered on Amazon {month.said}?",
            f"Which product was the {extreme} apiece of all that I ordered on Amazon {month.said}? Give its name.",
            f"Give me the name of the {extreme} product, priced apiece, among my Amazon orders placed {month.said}.",
        ],
        {"extreme": extreme, "month": month.said},
        [login_step("amazon"), collect_orders(orders), item, show_ordered(right)],
        answer=right.name,
    )


@template(2, "amazon", challenge=True, expects=CART_FILLED)
def amazon_cart_best(world: Contents, person: Person, random: Random) -> Draft | None:
    """Puts the cheapest or most expensive product that is good enough into the cart."""
    choice, quantity = choose_product(world, random), random.choice((2, 3, 4))
    if choice is None or choice[0] in [item.product for item in world.of(person).amazon.cart]:
        return None
    product, said, compute = choice
    return Draft(
        [
            f"Add {quantity} of the {said} to my Amazon cart.",
            f"Put the {said} into my Amazon cart, with quantity {quantity}.",
            f"My Amazon cart should also have {quantity} of the {said}.",
        ],
        {"product": said, "quantity": quantity},
        [login_step("amazon"), collect_products(world, product.type), compute, add_to_cart(quantity)],
        rows={"added amazon.CartEntry": [(product.name, person.email, quantity)]},
    )


@template(
    1, "amazon", expects=[*CART_FILLED, removed("amazon.WishListEntry", "product.name", "user.email", "quantity")]
)
def amazon_wish_list_to_cart(world: Contents, person: Person, random: Random) -> Draft | None:
    """Moves what is cheap on the wish list to the cart."""
    limit, wish_list = random.randint(25, 100), world.of(person).amazon.wish_list
    rows = [(item.product.name, person.email, item.quantity) for item in wish_list if item.product.price < limit]
    if not 2 <= len(rows) <= 5:
        return None
    move = write_each(
        "amazon",
        "move_product_from_wish_list_to_cart",
        "entries",
        "entry",
        (f'e["price"] < {limit}', f"a price below {limit}"),
        [
            f"Move every product below ${limit} to the cart, all pieces.",
            f"Move all that costs under ${limit} to the cart.",
        ],
        f"{len(rows)} products moved",
        product_id='entry["product_id"]',
        quantity='entry["quantity"]',
    )
    return Draft(
        [
            f"Move every product that costs less than ${limit} from my Amazon wish list to my cart, all pieces of it.",
            f"From my Amazon wish list, move the products priced below ${limit} to the cart in their full quantities.",
            f"Each product on my Amazon wish list priced under ${limit} belongs in my cart instead, in full quantity.",
        ],
        {"limit": limit},
        [login_step("amazon"), read_wish_list(len(wish_list)), move],
        rows={"added amazon.CartEntry": rows, "removed amazon.WishListEntry": rows},
    )


_REVIEWED = (
    added("amazon.ProductReview", "product.name", "user.email", "rating", "title"),
    side("amazon.Product", "rating", "seller_rating"),
    side("amazon.Seller", "rating"),
)


@template(2, "amazon", expects=_REVIEWED)
def amazon_review_order(world: Contents, person: Person, random: Random) -> Draft | None:
    """Reviews all that the last order of a month brought."""
    orders, stars, title = world.of(person).amazon.orders, random.randint(1, 4), random.choice(words.REVIEWS)
    month = random_month(random, [order.created_at for order in orders])
    matches = orders_of(orders, month)
    if month is None or not matches:
        return None
    review = write_for_all(
        "amazon",
        "write_product_review",
        ('order["order_items"]', "items", "item"),
        [
            f"Write a review with {stars} stars and the title '{title}' for each product of the order.",
            f"Review every product of the order: {stars} stars, title '{title}'.",
        ],
        f"with rating {stars} and title '{title}' for each item of the order",
        f"{len(matches[0].items)} reviews written",
        product_id='item["product_id"]',
        rating=str(stars),
        title=quoted(title),
    )
    return Draft(
        [
            f"Review each product of the last Amazon order that I placed {month.said}: {stars} stars, title '{title}'.",
            f"Of my Amazon orders placed {month.said}, review all products of the newest: {stars} stars, title "
            f"'{title}'.",
            f"Give all products of the last of the Amazon orders I placed {month.said} a {stars}-star review "
            f"'{title}'.",
        ],
        {"month": month.said, "stars": stars, "title": title},
        [login_step("amazon"), collect_orders(orders), choose_order(matches[0], month), review],
        rows={"added amazon.ProductReview": [(i.product.name, person.email, stars, title) for i in matches[0].items]},
    )
