"""Writes Amazon."""

from __future__ import annotations

from dataclasses import asdict
from datetime import timedelta

from prost_lightning.miniworld.apps.amazon import DELIVERY_FEE, Order, OrderItem, Product
from prost_lightning.miniworld.contents import Contents
from prost_lightning.miniworld.dates import NOW
from prost_lightning.miniworld.writers.tables import SEARCH, Row, Tables


def write_amazon(tables: Tables, contents: Contents) -> None:
    """Writes the shop and everybody's orders and lists."""
    _write_shop(tables, contents)
    people = contents.supervisors
    tables.save("PaymentCard", [{"user_id": person.id, **asdict(card)} for person in people for card in person.cards])
    tables.save("Address", [{"user_id": person.id, **asdict(place)} for person in people for place in person.addresses])
    for model, name in (("CartEntry", "cart"), ("WishListEntry", "wish_list")):
        tables.save(
            model,
            [
                {"user_id": person.id, "product_id": item.product.id, "quantity": item.quantity}
                for person in people
                for item in getattr(contents.of(person).amazon, name)
            ],
        )
    _write_orders(tables, contents)


def _write_shop(tables: Tables, contents: Contents) -> None:
    shop = contents.shop
    ratings = {product.seller: product.seller_rating for product in shop.products}
    tables.save("Seller", [{"name": seller, "rating": ratings.get(seller, 0.0)} for seller in shop.sellers])
    tables.save("Deliverer", [{"name": name} for name in ("UPS", "USPS", "FedEx")])
    tables.save(
        "Product",
        [
            {
                "product_type": product.type,
                "name": product.name,
                "description": _describe(product),
                "seller_id": product.seller_id,
                SEARCH: " ".join([product.name, product.type, _describe(product), product.seller]),
                "price": product.price,
                "delivery_days": product.delivery_days,
                "inventory_quantity": product.stock,
                "weight": 1.0,
                "length": 10.0,
                "width": 8.0,
                "height": 4.0,
                "color": product.color,
                "rating": product.rating,
                "seller_rating": product.seller_rating,
            }
            for product in shop.products
        ],
    )
    tables.save(
        "ProductReview",
        [
            {
                "product_id": review.product_id,
                "user_id": review.person.id,
                "is_verified": False,
                "rating": review.rating,
                "title": review.title,
                "created_at": review.created_at,
            }
            for review in shop.reviews
        ],
    )


def _write_orders(tables: Tables, contents: Contents) -> None:
    orders: list[Row] = []
    items: list[Row] = []
    for person in contents.supervisors:
        account = contents.of(person).amazon
        for order in reversed(account.orders):
            orders.append(
                {
                    "user_id": person.id,
                    "address_id": account.address_ids[order.address.name],
                    "payment_card_id": account.card_ids[order.card.card_name],
                    "tax": order.tax,
                    "delivery_fee": DELIVERY_FEE,
                    "gift_wrap_fee": 0.0,
                    "discount": 0.0,
                    "address_text": order.address.text,
                    "payment_card_digits": order.card.digits,
                    "created_at": order.created_at,
                    SEARCH: " ".join(
                        f"{item.product.name} {item.product.type}" for item in sorted(order.items, key=_product_id)
                    ),
                }
            )
            items += _items(order)
    tables.save("Order", orders)
    tables.save("OrderItem", items)


def _items(order: Order) -> list[Row]:
    rows: list[Row] = []
    for item in order.items:
        expected = order.created_at + timedelta(days=item.product.delivery_days)
        rows.append(
            {
                "order_id": order.id,
                "product_id": item.product.id,
                "ordered_quantity": item.quantity,
                "returned_quantity": 0,
                "gift_wrap_quantity": 0,
                "price": item.product.price,
                "expected_delivery_at": expected,
                "delivered_at": expected if expected < NOW else None,
            }
        )
    return rows


def _describe(product: Product) -> str:
    return f"A {product.color} {product.type}, sold by {product.seller}."


def _product_id(item: OrderItem) -> int:
    """The order in which the database gives an order's products back."""
    return item.product.id
