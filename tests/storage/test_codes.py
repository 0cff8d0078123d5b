"""Authorization codes at rest: taken once, by one; on both databases."""

import asyncio
from datetime import timedelta

import pytest
from sqlalchemy.orm import Session

from gateway_proxy.domain.errors import AlreadyExists
from gateway_proxy.domain.ids import new_id
from gateway_proxy.domain.oauth import AuthorizationCode
from gateway_proxy.domain.secrets import digest_of
from gateway_proxy.storage.sql.codes import add_code, find_authorization_code, take_code
from gateway_proxy.storage.sql.database import Database
from tests.support.clock import START
from tests.support.factories import add_client, add_family, make_tenant, make_user

MINUTE = timedelta(seconds=60)
DIGEST = digest_of("gw_ac_secret")


@pytest.fixture
async def code(database: Database) -> AuthorizationCode:
    """A code that was just issued."""
    tenant = await make_tenant(database)
    user = await make_user(database, member_of=[tenant])

    def add(session: Session) -> AuthorizationCode:
        client_id = add_client(session)
        code = AuthorizationCode(
            id=new_id(),
            family_id=add_family(session, tenant=tenant, user=user, client_id=client_id),
            tenant_id=tenant.id,
            user_id=user.id,
            client_id=client_id,
            redirect_uri="https://client.example/callback",
            scope="mcp",
            resource="https://gw.example/mcp",
            code_challenge="c" * 43,
            issued_at=START,
            expires_at=START + MINUTE,
            used_at=None,
        )
        add_code(session, code=code, digest=DIGEST, transaction_id="transaction")
        return code

    return await database.run(add)


async def test_of_fifty_takers_one_gets_the_code(database: Database, code: AuthorizationCode) -> None:
    """Security AS5: the statement that reads it marks it."""
    takers = [
        database.run(take_code, tenant_id=code.tenant_id, digest=DIGEST, now=START + timedelta(seconds=1))
        for _ in range(50)
    ]
    taken = [found for found in await asyncio.gather(*takers) if found is not None]
    assert [found.id for found in taken] == [code.id]
    spent = await database.read(find_authorization_code, digest=DIGEST)
    assert spent == taken[0]
    assert spent.used_at == START + timedelta(seconds=1)


async def test_an_expired_or_foreign_code_is_not_taken(database: Database, code: AuthorizationCode) -> None:
    """Security AS4: 60 seconds, to the instant."""
    assert await database.run(take_code, tenant_id=code.tenant_id, digest=DIGEST, now=START + MINUTE) is None
    assert await database.run(take_code, tenant_id="another", digest=DIGEST, now=START) is None
    assert await database.run(take_code, tenant_id=code.tenant_id, digest=digest_of("x"), now=START) is None
    assert await database.read(find_authorization_code, digest=DIGEST) == code


async def test_a_consent_transaction_has_one_code(database: Database, code: AuthorizationCode) -> None:
    """Security B4, by a unique constraint."""

    def again(session: Session) -> None:
        other = AuthorizationCode(**{name: getattr(code, name) for name in code.__slots__} | {"id": new_id()})
        add_code(session, code=other, digest=digest_of("gw_ac_other"), transaction_id="transaction")

    with pytest.raises(AlreadyExists):
        await database.run(again)
