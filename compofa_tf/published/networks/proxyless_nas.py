"""ProxylessNAS: the checkpoints of Once-for-All."""

from __future__ import annotations

from compofa_tf.published.networks.network import WIDTH_MULTS, CheckpointNames, PublishedNetwork

NETWORK = PublishedNetwork(
    family="proxyless_nas",
    checkpoints=CheckpointNames(
        mark="first_conv.",
        unmarked="final_expand_layer.",
        units={
            "stem": "first_conv.conv",
            "head_mix": "feature_mix_layer.conv",
            "classifier": "classifier.linear",
        },
        blocks="blocks.{}.mobile_inverted_conv",
        parts={"expand": "inverted_bottleneck.conv", "depth": "depth_conv.conv", "project": "point_linear.conv"},
        stem="stem",
        writes="project",
        told=(("expand", 1), ("expand", 0), ("depth", -1), ("project", 0)),
        tried=tuple({"width_mult": width, "coupling": "independent"} for width in WIDTH_MULTS),
        larger=({"kernel": "elastic"}, {"kernel": "elastic", "coupling": "independent"}),
    ),
)
