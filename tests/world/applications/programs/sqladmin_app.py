"""An admin interface with a login and an upload, over SQLite."""

from fastapi import FastAPI
from sqladmin import Admin, ModelView
from sqladmin.authentication import AuthenticationBackend
from sqlalchemy import create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    pass


class Book(Base):
    __tablename__ = "book"
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]


class Login(AuthenticationBackend):
    async def login(self, request):
        form = await request.form()
        if (form.get("username"), form.get("password")) != ("reader", "secret"):
            return False
        request.session["user"] = form["username"]
        return True

    async def logout(self, request):
        request.session.clear()
        return True

    async def authenticate(self, request):
        return "user" in request.session


class BookAdmin(ModelView, model=Book):
    column_list = [Book.id, Book.title]


engine = create_engine("sqlite:///books.db", connect_args={"check_same_thread": False})
Base.metadata.create_all(engine)
app = FastAPI()
admin = Admin(app, engine, title="Books", authentication_backend=Login(secret_key="only for this test"))
admin.add_view(BookAdmin)
