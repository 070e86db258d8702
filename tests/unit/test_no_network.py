"""The guard of the unit tests works."""

import socket

import pytest
from pytest_socket import SocketBlockedError


def test_a_network_socket_is_refused() -> None:
    with pytest.raises((SocketBlockedError, UserWarning), match="socket"):
        socket.socket(socket.AF_INET, socket.SOCK_STREAM)
