"""An admin interface with a login, over SQLite."""

from sqlalchemy import create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware
from starlette_admin.auth import AdminUser, AuthProvider, LoginFailed
from starlette_admin.contrib.sqla import Admin, ModelView


class Base(DeclarativeBase):
    pass


class Book(Base):
    __tablename__ = "book"
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]


class Login(AuthProvider):
    async def login(self, username, password, remember_me, request):
        if (username, password) != ("reader", "secret"):
            raise LoginFailed("wrong name or password")
        request.session["user"] = username
        return AdminUser(username=username)

    async def authenticate(self, request):
        user = request.session.get("user")
        return AdminUser(username=user) if user else None

    async def logout(self, request):
        request.session.clear()


engine = create_engine("sqlite:///books.db", connect_args={"check_same_thread": False})
Base.metadata.create_all(engine)
app = Starlette()
admin = Admin(
    engine,
    title="Books",
    auth_provider=Login(),
    secret_key="only for this test",
    middlewares=[Middleware(SessionMiddleware, secret_key="only for this test")],
)
admin.add_view(ModelView(Book))
admin.mount_to(app)
