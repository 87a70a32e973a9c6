"""The published spaces of each kind."""

from __future__ import annotations

from spaces import KINDS

from compofa_tf import families

COMPOFA = families.mobilenet_v3()


OFA = families.mobilenet_v3(kernel="elastic", coupling="independent")


LARGE = {
    (kernel, coupling): families.resnet50(coupling=coupling)
    if kernel == "residual"
    else families.mobilenet_v3(kernel=kernel, coupling=coupling)
    for kernel, coupling in KINDS
}
