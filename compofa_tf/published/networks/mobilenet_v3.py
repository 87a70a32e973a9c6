"""MobileNetV3: the checkpoints of CompOFA and Once-for-All, the Note10 tables and the accuracy predictor."""

from __future__ import annotations

from compofa_tf.published.networks.network import WIDTH_MULTS, CheckpointNames, LookupRows, PublishedNetwork

NETWORK = PublishedNetwork(
    family="mobilenet_v3",
    checkpoints=CheckpointNames(
        mark="final_expand_layer.",
        units={
            "stem": "first_conv.conv",
            "head_expand": "final_expand_layer.conv",
            "head_mix": "feature_mix_layer.conv",
            "classifier": "classifier.linear",
        },
        blocks="blocks.{}.mobile_inverted_conv",
        parts={
            "expand": "inverted_bottleneck.conv",
            "depth": "depth_conv.conv",
            "reduce": "depth_conv.se.fc.reduce",
            "restore": "depth_conv.se.fc.expand",
            "project": "point_linear.conv",
        },
        stem="stem",
        writes="project",
        told=(("expand", 1), ("expand", 0), ("depth", -1), ("project", 0)),
        tried=tuple({"width_mult": width, "coupling": "compound"} for width in WIDTH_MULTS),
        larger=({"kernel": "elastic"}, {"kernel": "elastic", "coupling": "independent"}),
        kernels_may_be_fixed=True,
    ),
    lookup=LookupRows(
        width_mult=1.2,
        units={
            "stem": "Conv",
            "head_expand": "Conv_1",
            "head_pool": "AvgPool2D",
            "head_mix": "Conv_2",
            "classifier": "Logits",
        },
        blocks="expanded_conv",
        made_for={"profile": ("mobile",), "strides": (None,)},
    ),
    predictor_made_for={
        "classes": (1000,),
        "width_mult": (1.0, 1.2),
        "profile": ("mobile",),
        "input_size": (224,),
        "strides": (None,),
    },
)
