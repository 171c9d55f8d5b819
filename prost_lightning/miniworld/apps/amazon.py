"""Amazon: a shop for all, and what each person has put aside, ordered and reviewed."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime
from random import Random
from statistics import mean

from prost_lightning.miniworld import words
from prost_lightning.miniworld.apps.ids import Ids
from prost_lightning.miniworld.dates import moments
from prost_lightning.miniworld.people import Address, Card, Person

_PRODUCTS_PER_TYPE = 6
_ORDERS = 46
_CART = 3
_WISH_LIST = 7
_REVIEWS_PER_PRODUCT = 2
_OUT_OF_STOCK_SHARE = 0.12

DELIVERY_FEE = 5.0
TAX_RATE = 0.1


@dataclass(frozen=True)
class Product:
    """A product; ``stock`` may be 0, ``rating`` is the mean of its reviews, ``seller_rating`` that of its seller."""

    id: int
    type: str
    name: str
    seller_id: int
    seller: str
    price: float
    delivery_days: int
    stock: int
    color: str
    rating: float
    seller_rating: float


@dataclass(frozen=True)
class ProductReview:
    """Somebody's review of a product, 1 to 5 stars; ``product`` is the product's id."""

    id: int
    product_id: int
    person: Person
    rating: int
    title: str
    created_at: datetime


@dataclass(frozen=True)
class OrderItem:
    """A line of an order."""

    product: Product
    quantity: int


@dataclass(frozen=True)
class Order:
    """An order with what it cost; old ones are delivered."""

    id: int
    items: tuple[OrderItem, ...]
    created_at: datetime
    card: Card
    address: Address

    @property
    def cost(self) -> float:
        """Price of all items, in dollars, without tax and delivery."""
        return round(sum(item.product.price * item.quantity for item in self.items), 2)

    @property
    def tax(self) -> float:
        """Tax on the cost, in dollars."""
        return round(self.cost * TAX_RATE, 2)

    @property
    def paid(self) -> float:
        """Cost, tax and delivery, in dollars."""
        return round(self.cost + DELIVERY_FEE + self.tax, 2)


@dataclass(frozen=True)
class Shop:
    """What Amazon offers to all."""

    sellers: tuple[str, ...]
    products: tuple[Product, ...]
    reviews: tuple[ProductReview, ...]


@dataclass(frozen=True)
class AmazonAccount:
    """What one person has in Amazon.

    Attributes:
        orders: The newest first, as the app lists them.
        cart: Products and quantities.
        wish_list: Products and quantities.
        card_ids: Database ids by card name.
        address_ids: Database ids by address name.
    """

    orders: tuple[Order, ...]
    cart: tuple[OrderItem, ...]
    wish_list: tuple[OrderItem, ...]
    card_ids: dict[str, int]
    address_ids: dict[str, int]


def make_shop(random: Random, ids: Ids, reviewers: list[Person]) -> Shop:
    """Invents sellers, products and reviews; several products of a type differ in brand, color and price only.

    Args:
        random: Source of the choices.
        ids: Source of ids.
        reviewers: Who has written reviews.
    """
    names = [(kind, brand) for kind in words.PRODUCTS for brand in random.sample(words.BRANDS, _PRODUCTS_PER_TYPE)]
    random.shuffle(names)
    ratings = [[random.randint(1, 5) for _ in range(_REVIEWS_PER_PRODUCT)] for _ in names]
    sellers = [random.randrange(len(words.SHOPS)) for _ in names]
    product_ratings = [round(mean(of_product), 1) for of_product in ratings]
    of_seller: dict[int, list[float]] = defaultdict(list)
    for seller, rating in zip(sellers, product_ratings, strict=True):
        of_seller[seller].append(rating)
    products = tuple(
        Product(
            id=ids.next("Product"),
            type=kind.lower(),
            name=f"{brand} {kind}",
            seller_id=seller + 1,
            seller=words.SHOPS[seller],
            price=random.randint(500, 12_000) / 100,
            delivery_days=random.randint(1, 10),
            stock=0 if random.random() < _OUT_OF_STOCK_SHARE else random.randint(5, 90),
            color=random.choice(words.COLORS),
            rating=rating,
            seller_rating=round(mean(of_seller[seller]), 1),
        )
        for (kind, brand), seller, rating in zip(names, sellers, product_ratings, strict=True)
    )
    reviews = tuple(
        ProductReview(ids.next("ProductReview"), product.id, person, rating, random.choice(words.REVIEWS), created_at)
        for product, of_product in zip(products, ratings, strict=True)
        for person, rating, created_at in zip(
            random.sample(reviewers, len(of_product)), of_product, moments(random, len(of_product)), strict=True
        )
    )
    return Shop(words.SHOPS, products, reviews)


def make_account(random: Random, ids: Ids, shop: Shop, person: Person) -> AmazonAccount:
    """Invents what a person has in Amazon."""
    dates = moments(random, _ORDERS)
    orders = []
    for created_at in reversed(dates):
        items = tuple(
            OrderItem(product, random.choice((1, 1, 1, 2, 3)))
            for product in random.sample(shop.products, random.randint(1, 3))
        )
        card, address = random.choice(person.cards), random.choice(person.addresses)
        orders.append(Order(ids.next("Order"), items, created_at, card, address))
    chosen = random.sample(shop.products, _CART + _WISH_LIST)
    available = [product for product in shop.products if product.stock and product not in chosen]
    return AmazonAccount(
        orders=tuple(reversed(orders)),
        cart=tuple(
            OrderItem(product, random.randint(1, 3)) for product in sorted(random.sample(available, _CART), key=_id)
        ),
        wish_list=tuple(OrderItem(product, random.randint(1, 3)) for product in sorted(chosen[:_WISH_LIST], key=_id)),
        card_ids={card.card_name: ids.next("PaymentCard") for card in person.cards},
        address_ids={address.name: ids.next("Address") for address in person.addresses},
    )


def _id(product: Product) -> int:
    """The order in which the database's index gives a person's products back."""
    return product.id
