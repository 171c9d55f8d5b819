"""Sub-tasks on Amazon that several scenarios share."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from prost_lightning.miniworld import words
from prost_lightning.miniworld.apps.amazon import Order, Product
from prost_lightning.miniworld.contents import Contents
from prost_lightning.miniworld.people import Card
from prost_lightning.miniworld.scenarios.expectations import added
from prost_lightning.miniworld.scenarios.periods import Period
from prost_lightning.miniworld.scenarios.shapes import write_once
from prost_lightning.miniworld.scenarios.steps import call, collect_step, keep, quoted, step
from prost_lightning.miniworld.script import ScriptStep

CREATED = 'o["created_at"]'
"""When the order ``o`` was placed."""

CART_FILLED = (added("amazon.CartEntry", "product.name", "user.email", "quantity"),)
"""What putting products into the cart changes."""


def collect_orders(orders: Sequence[Order]) -> ScriptStep:
    """The sub-task that leaves all orders in ``orders``, the newest first."""
    return collect_step("amazon", "show_orders", "orders", len(orders), "orders placed on Amazon")


def collect_products(world: Contents, kind: str) -> ScriptStep:
    """The sub-task that leaves the products of a type in ``products``."""
    count = sum(product.type == kind for product in world.shop.products)
    what = f"products of the type '{kind}' on Amazon"
    return collect_step("amazon", "search_products", "products", count, what, product_type=quoted(kind))


def choose_product(world: Contents, random: Random) -> tuple[Product, str, ScriptStep] | None:
    """Chooses a product by its price, its stock and what people think of it.

    Args:
        world: What the world holds.
        random: Source of the choices.

    Returns:
        The product; how an instruction describes it; and the sub-task that, among the ``products`` of its type, leaves
        it in ``product``. None where no product is the only one.
    """
    kind, rating = random.choice(words.PRODUCTS).lower(), random.choice((2.0, 2.5, 3.0, 3.5))
    extreme, function = random.choice((("cheapest", "min"), ("most expensive", "max")))
    fitting = [p for p in world.shop.products if p.type == kind and p.rating >= rating and p.stock > 0]
    fitting.sort(key=lambda product: product.price)
    if len(fitting) < 2 or fitting[0].price == fitting[1].price or fitting[-1].price == fitting[-2].price:
        return None
    product = fitting[0] if function == "min" else fitting[-1]
    said = f"{extreme} product of the type '{kind}' that is in stock and rated {rating} or better"
    compute = step(
        "compute",
        "amazon",
        [f"Find the name of the {said}.", f"Print the name of the {said}."],
        f"keep the products with rating {rating} or more and inventory_quantity above 0, take the {extreme} by price",
        [
            keep("products", f'p["rating"] >= {rating} and p["inventory_quantity"] > 0'),
            f'product = {function}(matches, key=lambda p: p["price"])',
            'print(product["name"])',
        ],
        product.name,
    )
    return product, said, compute


def find_product(product: Product) -> ScriptStep:
    """The sub-task that leaves the product called ``name`` in ``product``."""
    return step(
        "read",
        "amazon",
        [f"Find the Amazon product '{product.name}' by its exact name.", f"Look up '{product.name}' on Amazon."],
        "call search_products with the name as query, keep the product of exactly this name in product",
        [
            "products = apis.amazon.search_products(query=name, page_limit=20)",
            'product = [p for p in products if p["name"] == name][0]',
            'print(product["name"], "costs", product["price"])',
        ],
        f"{product.name} costs {product.price}",
    )


def add_to_cart(quantity: int) -> ScriptStep:
    """The sub-task that puts some pieces of ``product`` into the cart."""
    return write_once(
        "amazon",
        "add_product_to_cart",
        [f"Add the product to the Amazon cart, {quantity} pieces.", f"Put {quantity} of the product into the cart."],
        f"for the product with quantity {quantity}",
        f'{quantity}, "added to the cart"',
        f"{quantity} added to the cart",
        product_id='product["product_id"]',
        quantity=str(quantity),
    )


def find_card(card: Card) -> ScriptStep:
    """The sub-task that leaves a payment card in ``card``."""
    return step(
        "read",
        "amazon",
        [f"Find the payment card '{card.card_name}' on Amazon.", f"Get the Amazon payment card '{card.card_name}'."],
        f"call show_payment_cards, keep the one named '{card.card_name}' in card",
        [
            "cards = " + call("amazon", "show_payment_cards"),
            f'card = [c for c in cards if c["card_name"] == {quoted(card.card_name)}][0]',
            'print(card["card_name"], "expires in month", card["expiry_month"])',
        ],
        f"{card.card_name} expires in month {card.expiry_month}",
    )


def choose_order(order: Order, month: Period) -> ScriptStep:
    """The sub-task that leaves the last order of a month in ``order``, and what was paid for it in ``cost``."""
    return step(
        "compute",
        "amazon",
        [
            f"Find what was paid for the last order placed in {month.iso}.",
            f"Print the paid amount of the newest order of {month.iso}.",
        ],
        f"keep the orders created in {month.iso}, take the one created last as order, its paid_amount as cost",
        [
            keep("orders", month.condition(CREATED)),
            f"order = max(matches, key=lambda o: {CREATED})",
            'cost = order["paid_amount"]',
            "print(cost)",
        ],
        str(order.paid),
    )


def orders_in(orders: Sequence[Order], period: Period | None) -> list[Order]:
    """The orders that were placed in a period, the last first; none where there is no period."""
    return [order for order in orders if period and period.holds(order.created_at)]


def orders_of(orders: Sequence[Order], month: Period | None) -> list[Order]:
    """The orders of a month, the last first; none where they are too alike for :func:`choose_order`."""
    matches = orders_in(orders, month)
    return matches if matches and matches[-1].paid != matches[0].paid else []


def read_wish_list(count: int) -> ScriptStep:
    """The sub-task that leaves what is on the wish list, so many products, in ``entries``."""
    return step(
        "read",
        "amazon",
        ["Get the products on the Amazon wish list.", "Read the Amazon wish list."],
        "call show_wish_list, keep the rows in entries",
        ["entries = " + call("amazon", "show_wish_list"), 'print(len(entries), "products on the wish list")'],
        f"{count} products on the wish list",
    )


def show_ordered(product: Product) -> ScriptStep:
    """The sub-task that finds out what the product of ``item`` is called."""
    return step(
        "compute",
        "amazon",
        ["Find the name of the item's product.", "Print what the product of the item is called."],
        "call show_product for the item's product_id, print its name",
        ['print(apis.amazon.show_product(product_id=item["product_id"])["name"])'],
        product.name,
        wrong=('item["product_id"]', 'items[-1]["order_id"]', "Items have no order_id; show_product needs product_id."),
    )
