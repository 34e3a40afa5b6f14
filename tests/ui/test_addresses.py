"""The addresses of this machine, as its own tools tell them."""

from __future__ import annotations

import ipaddress
import json
import subprocess

from devserver.ui.addresses import own_addresses


def test_every_interface_is_named_once_and_loopback_never() -> None:
    found = own_addresses()
    assert len(found) == len(set(found))
    listed = json.loads(subprocess.run(["ip", "-json", "address"], capture_output=True, check=True).stdout)
    for interface in listed:
        known = {each["local"] for each in interface["addr_info"] if each["scope"] == "global"}
        assert not known or known & set(found), interface["ifname"]
    for address in map(ipaddress.ip_address, found):
        assert not address.is_loopback
        assert not address.is_link_local
