"""What a server imports: the app, made from the environment."""

from acme_shop.app import create_app
from acme_shop.logs import configure_logging
from acme_shop.settings import Settings

settings = Settings()
configure_logging(settings)
app = create_app(settings)
