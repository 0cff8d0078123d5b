"""Sealing: what opens, what does not, and what happens when keys change."""

import pytest
from itsdangerous import BadSignature, URLSafeTimedSerializer

from gateway_proxy.domain.errors import KeyUnknown, SealBroken
from gateway_proxy.domain.ids import new_secret
from gateway_proxy.sealing.keyring import Keyring, open_under, row_context, seal_under

OLD = "an-old-secret-key-of-enough-length-0001"
NEW = "a-new-secret-key-of-enough-length-00002"
PLACE = row_context(tenant_id="t1", table="backends", column="env", row_id="r1")


def test_a_sealed_value_opens_in_its_place() -> None:
    """Security K1."""
    keyring = Keyring([OLD])
    sealed = keyring.seal(b"sk-live-1", context=PLACE)
    assert b"sk-live" not in sealed
    assert keyring.open(sealed, context=PLACE) == b"sk-live-1"


@pytest.mark.parametrize(
    "moved",
    [
        row_context(tenant_id="t2", table="backends", column="env", row_id="r1"),
        row_context(tenant_id="t1", table="providers", column="env", row_id="r1"),
        row_context(tenant_id="t1", table="backends", column="headers", row_id="r1"),
        row_context(tenant_id="t1", table="backends", column="env", row_id="r2"),
    ],
)
def test_a_sealed_value_does_not_open_in_another_place(moved: str) -> None:
    """Security K1: associated data binds tenant, table, column and row."""
    keyring = Keyring([OLD])
    with pytest.raises(SealBroken):
        keyring.open(keyring.seal(b"x", context=PLACE), context=moved)


def test_every_altered_byte_breaks_the_seal() -> None:
    """Security K1: authenticated encryption, header included."""
    keyring = Keyring([OLD])
    sealed = keyring.seal(b"x", context=PLACE)
    for position in range(len(sealed)):
        altered = sealed[:position] + bytes([sealed[position] ^ 1]) + sealed[position + 1 :]
        with pytest.raises((SealBroken, KeyUnknown)):
            keyring.open(altered, context=PLACE)


def test_every_cut_value_breaks_the_seal() -> None:
    """Security K1: no length of garbage raises anything else."""
    keyring = Keyring([OLD])
    sealed = keyring.seal(b"x", context=PLACE)
    for length in range(len(sealed)):
        with pytest.raises(SealBroken):
            keyring.open(sealed[:length], context=PLACE)


def test_equal_values_are_sealed_differently() -> None:
    """Security K1: a fresh nonce each time."""
    keyring = Keyring([OLD])
    assert keyring.seal(b"x", context=PLACE) != keyring.seal(b"x", context=PLACE)


def test_after_a_rotation_the_old_key_still_opens_and_the_new_one_seals() -> None:
    """Security K2, O1: encrypt with the first, decrypt with any."""
    before, after = Keyring([OLD]), Keyring([NEW, OLD])
    sealed = before.seal(b"x", context=PLACE)
    assert after.open(sealed, context=PLACE) == b"x"
    assert not after.is_current(sealed)
    assert after.is_current(after.seal(b"x", context=PLACE))
    assert after.key_ids == (Keyring([NEW]).key_ids[0], before.key_ids[0])


def test_a_value_under_a_lost_key_names_that_key() -> None:
    """Security F16: a lost key is named, and told apart from a broken seal."""
    lost = Keyring([OLD])
    with pytest.raises(KeyUnknown) as error:
        Keyring([NEW]).open(lost.seal(b"x", context=PLACE), context=PLACE)
    assert error.value.key_id == lost.key_ids[0]


def test_signatures_of_the_old_key_are_still_good_after_a_rotation() -> None:
    """Security O1: rotation without log-out."""
    old = URLSafeTimedSerializer(Keyring([OLD]).signing_keys("authorize"))
    rotated = URLSafeTimedSerializer(Keyring([NEW, OLD]).signing_keys("authorize"))
    assert rotated.loads(old.dumps("x")) == "x"
    with pytest.raises(BadSignature):
        old.loads(rotated.dumps("x"))


def test_a_signature_for_one_purpose_is_none_for_another() -> None:
    """Security B2: a key per purpose."""
    keyring = Keyring([OLD])
    signed = URLSafeTimedSerializer(keyring.signing_keys("authorize")).dumps("x")
    with pytest.raises(BadSignature):
        URLSafeTimedSerializer(keyring.signing_keys("csrf")).loads(signed)


@pytest.mark.parametrize("keys", [[], ["short"], [OLD, "short"], [OLD, OLD]])
def test_poor_keys_are_refused_without_being_shown(keys: list[str]) -> None:
    """Security K5: the message helps and tells nothing."""
    with pytest.raises(ValueError, match="secret key") as error:
        Keyring(keys)
    assert "short" not in str(error.value)
    assert OLD not in str(error.value)


def test_the_keyring_does_not_show_its_keys() -> None:
    """Security A1: nothing secret in a log line by accident."""
    assert OLD not in repr(Keyring([OLD]))


def test_what_is_sealed_under_a_presented_secret_opens_with_that_secret_only() -> None:
    """Contract, refresh grace: the database alone reveals nothing."""
    secret = new_secret("gw_rt_")
    sealed = seal_under(secret, b"response", context="grace|f1")
    assert b"response" not in sealed
    assert open_under(secret, sealed, context="grace|f1") == b"response"
    for other, place in ((new_secret("gw_rt_"), "grace|f1"), (secret, "grace|f2"), ("\ud800", "grace|f1")):
        with pytest.raises(SealBroken):
            open_under(other, sealed, context=place)
    for length in range(len(sealed)):
        with pytest.raises(SealBroken):
            open_under(secret, sealed[:length], context="grace|f1")


def test_the_two_kinds_of_seal_do_not_open_as_each_other() -> None:
    """Security K1: the version byte is authenticated."""
    keyring = Keyring([OLD])
    with pytest.raises(SealBroken):
        keyring.open(seal_under("secret", b"x" * 40, context=PLACE), context=PLACE)
    with pytest.raises(SealBroken):
        open_under(OLD, keyring.seal(b"x", context=PLACE), context=PLACE)
