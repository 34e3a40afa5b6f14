"""Users: signing up, and looking after oneself."""

from fastapi import APIRouter, HTTPException, status
from sqlalchemy.exc import IntegrityError

from acme_shop.auth.attempts import AttemptsDep
from acme_shop.auth.current_user import CurrentUser, IdentityDep
from acme_shop.auth.passwords import PasswordsDep
from acme_shop.auth.sessions import end_other_sessions
from acme_shop.db import SessionDep
from acme_shop.models.users import User
from acme_shop.schemas.users import PasswordChange, UserIn, UserOut

router = APIRouter(prefix="/users", tags=["users"])


@router.post("", status_code=status.HTTP_201_CREATED)
async def sign_up(new: UserIn, session: SessionDep, passwords: PasswordsDep, attempts: AttemptsDep) -> UserOut:
    """Makes an account. Counted by where it comes from, as hashing costs, and the answer tells who has one."""
    await attempts.count(None)
    user = User(email=new.email, password_hash=await passwords.hash(new.password.get_secret_value()))
    session.add(user)
    try:
        await session.commit()
    except IntegrityError:
        raise HTTPException(status.HTTP_409_CONFLICT, "There is an account with this address.") from None
    return UserOut.model_validate(user)


@router.get("/me")
async def read_me(user: CurrentUser) -> UserOut:
    return UserOut.model_validate(user)


@router.put("/me/password", status_code=status.HTTP_204_NO_CONTENT)
async def change_password(
    change: PasswordChange,
    identity: IdentityDep,
    session: SessionDep,
    passwords: PasswordsDep,
    attempts: AttemptsDep,
) -> None:
    """Also signs out everywhere else: whoever had the old password is out."""
    user = identity.user
    await attempts.count(user.email)
    if not await passwords.matches(change.current_password.get_secret_value(), user.password_hash):
        raise HTTPException(status.HTTP_403_FORBIDDEN, "The current password is wrong.")
    user.password_hash = await passwords.hash(change.new_password.get_secret_value())
    await attempts.forget(user.email)
    await end_other_sessions(session, user.id, but=identity.login.id)
    await session.commit()
