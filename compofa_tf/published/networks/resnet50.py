"""ResNet50: the checkpoints of Once-for-All. Of the widths of a supernet only the largest can be seen."""

from __future__ import annotations

from compofa_tf.published.networks.network import WIDTH_MULTS, CheckpointNames, PublishedNetwork

_OTHER_SHARES = {"widths": (0.6, 0.8, 1.0)}
"""What is taken for the widths at another width than 1.0; there they are the published 0.65, 0.8 and 1.0."""

NETWORK = PublishedNetwork(
    family="resnet50",
    checkpoints=CheckpointNames(
        mark="input_stem.",
        units={
            "stem_in": "input_stem.{}.conv",
            "stem_residual": "input_stem.{}.conv.conv",
            "stem_out": "input_stem.{}.conv",
            "classifier": "classifier.linear",
        },
        blocks="blocks.{}",
        parts={name: f"{name}.conv" for name in ("conv1", "conv2", "conv3", "downsample")},
        stem="stem_out",
        writes="conv3",
        told=(("conv1", 1), ("conv1", 0), ("conv2", -1), ("conv3", 0), ("downsample", 0)),
        tried=tuple(
            {"width_mult": width, "coupling": "independent", **(_OTHER_SHARES if width != 1.0 else {})}
            for width in WIDTH_MULTS
        ),
    ),
)
