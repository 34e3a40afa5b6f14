"""The tables. Every module of this package is imported here, so that migrations see all of them."""

# feature: auth
from acme_shop.models.attempts import LoginAttempt

# end
from acme_shop.models.items import Item

# feature: auth
from acme_shop.models.sessions import LoginSession, RefreshToken
from acme_shop.models.users import User

# end

__all__ = [
    "Item",
    # feature: auth
    "LoginAttempt",
    "LoginSession",
    "RefreshToken",
    "User",
    # end
]
