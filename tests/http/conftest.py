"""What the tests of the server share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from house import House
from oauth_house import OAuthHouse

from leasehold.ledger.history import check_history
from served import served


@pytest.fixture
def house() -> Iterator[House]:
    """A fresh authority behind a server of its own. Its ledger has to be whole afterwards."""
    house = House()
    with served(house.build) as port:
        house.port = port
        yield house
        house.streams.close()
    assert check_history(house.stage.entries()) == []
    house.stage.close()


@pytest.fixture
def oauth() -> Iterator[OAuthHouse]:
    """The same with doors for programs."""
    house = OAuthHouse()
    with served(house.build) as port:
        house.port = port
        yield house
        house.streams.close()
    assert check_history(house.stage.entries()) == []
    house.stage.close()
