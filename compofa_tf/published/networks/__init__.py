"""What is said about each published network, in a module each: the names in its files, and what can be told by them."""

from __future__ import annotations

from compofa_tf.errors import InputError
from compofa_tf.published.networks import mobilenet_v3, proxyless_nas, resnet50
from compofa_tf.published.networks.network import CheckpointNames, LookupRows, PublishedNetwork

__all__ = ["CheckpointNames", "LookupRows", "PublishedNetwork", "known", "of", "register"]

_NETWORKS: dict[str, PublishedNetwork] = {}


def register(network: PublishedNetwork) -> PublishedNetwork:
    """Makes the published files of a family known, also of one outside this package (``families.register``).

    Raises:
      InputError: If another table of that family is known.
    """
    if _NETWORKS.get(network.family, network) is not network:
        raise InputError(f"There are published names of that family already. Received: family={network.family!r}")
    _NETWORKS[network.family] = network
    return network


def known() -> tuple[PublishedNetwork, ...]:
    """Returns what is known, those registered last first."""
    return tuple(reversed(_NETWORKS.values()))


def of(family: str) -> PublishedNetwork:
    """Returns what is said about a family; raises ``InputError`` if nothing is."""
    if family not in _NETWORKS:
        raise InputError(
            f"Published names are known of {', '.join(sorted(_NETWORKS))}; register those of other families "
            f"(compofa_tf.published.networks.register). Received: family={family!r}"
        )
    return _NETWORKS[family]


for _module in (mobilenet_v3, proxyless_nas, resnet50):
    register(_module.NETWORK)
