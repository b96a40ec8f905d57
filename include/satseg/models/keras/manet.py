"""MAnet: position-wise attention on the encoder's output, multi-scale fusion attention on the way up.

Source: Fan et al. 2020, MA-Net: A multi-scale attention network for liver and tumor segmentation, IEEE Access 8,
sections III-B (position-wise attention block) and III-C (multi-scale fusion attention block).

Only Keras' own layers and TensorFlow's own operations are used, so that a saved MAnet loads wherever Keras does.
"""

from typing import Any

from satseg.models.keras.runtime import keras, segmentation_models, tf

DECODER_CHANNELS = (256, 128, 64, 32, 16)
_SKIPS = 4
_ATTENTION_CHANNELS = 64
_SQUEEZE = 16

layers = keras.layers


def _conv(x: Any, channels: int, size: int, name: str) -> Any:
    x = layers.Conv2D(channels, size, padding="same", use_bias=False, kernel_initializer="he_uniform", name=name)(x)
    return layers.ReLU(name=f"{name}_relu")(layers.BatchNormalization(name=f"{name}_bn")(x))


def _position_attention(x: Any, name: str) -> Any:
    """Add to each position (N, H, W, C) a mixture of all positions, weighted by likeness.

    The likeness of H·W positions with each other is a matrix (N, H·W, H·W): 64² numbers for a window of 256 px.
    """

    def positions(features: Any, part: str) -> Any:
        return layers.Reshape((-1, features.shape[-1]), name=f"{name}_{part}_positions")(features)

    asking = layers.Conv2D(_ATTENTION_CHANNELS, 1, name=f"{name}_query")(x)
    asked = layers.Conv2D(_ATTENTION_CHANNELS, 1, name=f"{name}_key")(x)
    told = layers.Conv2D(x.shape[-1], 3, padding="same", name=f"{name}_value")(x)
    likeness = layers.Dot((2, 2), name=f"{name}_likeness")([positions(asking, "query"), positions(asked, "key")])
    weights = layers.Softmax(name=f"{name}_softmax")(likeness)
    mixed = layers.Dot((2, 1), name=f"{name}_mixture")([weights, positions(told, "value")])
    mixed = layers.Conv2D(x.shape[-1], 3, padding="same", name=f"{name}_out")(tf.reshape(mixed, tf.shape(x)))
    return layers.Add(name=f"{name}_add")([x, mixed])


def _channel_attention(x: Any, name: str) -> Any:
    """Return a weight in 0..1 for each channel, (N, 1, 1, C): squeeze and excitation."""
    channels = x.shape[-1]
    squeezed = layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}_pool")(x)
    squeezed = layers.Conv2D(max(1, channels // _SQUEEZE), 1, activation="relu", name=f"{name}_squeeze")(squeezed)
    return layers.Conv2D(channels, 1, activation="sigmoid", name=f"{name}_excite")(squeezed)


def _fusion_attention(x: Any, skip: Any, channels: int, name: str) -> Any:
    """Double (N, H, W, C) to (N, 2H, 2W, channels); channels that skip or depth find useful pass, then both join."""
    x = _conv(_conv(x, x.shape[-1], 3, f"{name}_high_a"), skip.shape[-1], 1, f"{name}_high_b")
    x = layers.UpSampling2D(2, name=f"{name}_upsampling")(x)
    wanted = layers.Add(name=f"{name}_attention")(
        [_channel_attention(x, f"{name}_of_high"), _channel_attention(skip, f"{name}_of_low")]
    )
    x = layers.Multiply(name=f"{name}_weighted")([x, wanted])
    x = layers.Concatenate(name=f"{name}_concat")([x, skip])
    return _conv(_conv(x, channels, 3, f"{name}a"), channels, 3, f"{name}b")


def build_manet(
    backbone: str, bands: int, channels: int, head_channels: int, encoder_weights: str | None = None
) -> Any:
    """Build a MAnet on an encoder of segmentation_models.

    For an input (N, H, W, bands), H and W multiples of 32, the encoder's output (N, H/32, W/32, E) is reduced to
    `head_channels` by a 1×1 convolution and goes through the position-wise attention block. Four multi-scale fusion
    attention blocks with the encoder's features at 1/16, 1/8, 1/4 and 1/2 and one plain block bring it to
    (N, H, W, 16). All decoder layers have names that begin with `decoder_`.

    Parameters with three bands and one class: 13.2 M on efficientnetb0, 17.5 M on resnet18. Without the reduction the
    3×3 convolutions at the head have 1280 channels on efficientnetb0 and the network 55 M parameters.

    Args:
        backbone: encoder.
        bands: input channels.
        channels: output channels; 1 ends in a sigmoid, more in a softmax.
        head_channels: width of the attention; an encoder that gives fewer keeps its own.
        encoder_weights: None, 'imagenet' or a file.
    """
    library = segmentation_models()
    encoder = library.inject_global_submodules(library.Backbones.get_backbone)(
        backbone, input_shape=(None, None, bands), weights=encoder_weights, include_top=False
    )
    skips = [
        encoder.get_layer(**{"name" if isinstance(place, str) else "index": place}).output
        for place in library.Backbones.get_feature_layers(backbone, n=_SKIPS)
    ]
    x = encoder.output
    if x.shape[-1] > head_channels:
        x = _conv(x, head_channels, 1, "decoder_head")
    x = _position_attention(x, "decoder_attention")
    for stage, (skip, width) in enumerate(zip(skips, DECODER_CHANNELS, strict=False)):
        x = _fusion_attention(x, skip, width, f"decoder_stage{stage}")
    last = f"decoder_stage{_SKIPS}"
    x = layers.UpSampling2D(2, name=f"{last}_upsampling")(x)
    x = _conv(_conv(x, DECODER_CHANNELS[-1], 3, f"{last}a"), DECODER_CHANNELS[-1], 3, f"{last}b")
    x = layers.Conv2D(channels, 3, padding="same", name="final_conv")(x)
    activation = "sigmoid" if channels == 1 else "softmax"
    return keras.Model(encoder.input, layers.Activation(activation, name=activation)(x))
