"""A library network with normalisation inside, made of Keras' own layers only, so that every Keras can load it.

segmentation_models builds some encoders with Lambda layers and a Dropout subclass that do not reload elsewhere.
A functional network's configuration is a plain graph of dictionaries, so they are replaced there.
"""

from collections.abc import Sequence
from typing import Any

from satseg.models.keras.runtime import keras

INPUT = "pixels"
NORMALISATION = "normalisation"
_ALL = {"start": None, "stop": None, "step": None}


def _plain(name: str, class_name: str, config: dict[str, Any], inbound: list[Any]) -> dict[str, Any]:
    config = {"name": name, "trainable": True, "dtype": "float32", **config}
    return {"class_name": class_name, "config": config, "name": name, "inbound_nodes": inbound}


def _without_lambda(layer: dict[str, Any], channels: int) -> list[dict[str, Any]]:
    """Return ordinary layers that compute what a Lambda of the library's encoders does."""
    name, inbound, arguments = layer["name"], layer["inbound_nodes"], layer["config"]["arguments"]
    if "channels_axis" in arguments:  # squeeze and excitation: (N, C) to (N, 1, 1, C)
        return [_plain(name, "Reshape", {"target_shape": (1, 1, channels)}, inbound)]
    if "stop" in arguments:  # grouped convolution: a slice of the channels
        channel_slice = {"start": arguments["start"], "stop": arguments["stop"], "step": None}
        node = [*inbound[0][0][:3], {"slice_spec": [_ALL, _ALL, _ALL, channel_slice]}]
        return [_plain(name, "SlicingOpLambda", {"function": "__operators__.getitem"}, [node])]
    if "scale" in arguments:  # inception-resnet: x + scale · residual
        shortcut, residual = inbound[0]
        scaled = _plain(f"{name}_scaled", "Rescaling", {"scale": arguments["scale"], "offset": 0.0}, [[residual]])
        return [scaled, _plain(name, "Add", {}, [[shortcut, [scaled["name"], 0, 0, {}]]])]
    raise ValueError(f"unknown Lambda layer {name} with arguments {arguments}")


def _rename(nodes: list[Any], old: str, new: str) -> None:
    for node in nodes:
        for call in [node] if node and isinstance(node[0], str) else node:
            if call[0] == old:
                call[0] = new


def _layer_configs(network: Any, momentum: float) -> list[dict[str, Any]]:
    result: list[dict[str, Any]] = []
    for layer in network.get_config()["layers"]:
        kind, config = layer["class_name"], layer["config"]
        if kind == "Lambda":
            result.extend(_without_lambda(layer, network.get_layer(layer["name"]).input_shape[-1]))
            continue
        if kind == "BatchNormalization":
            config["momentum"] = momentum
        elif kind == "FixedDropout":
            result.append(_plain(layer["name"], "Dropout", config, layer["inbound_nodes"]))
            continue
        result.append(layer)
    return result


def portable_network(network: Any, mean: Sequence[float], std: Sequence[float], momentum: float) -> Any:
    """Rebuild a functional network with the same weights, plain layers and `(pixels - mean) / std` in front.

    Args:
        network: takes normalised (N, H, W, C) float32.
        mean: per band, in raw units.
        std: per band, in raw units, > 0.
        momentum: of every batch normalisation.
    """
    config = network.get_config()
    layers = _layer_configs(network, momentum)
    old_input = layers[0]["name"]
    for layer in layers:
        _rename(layer["inbound_nodes"], old_input, NORMALISATION)
    layers[0]["name"] = layers[0]["config"]["name"] = INPUT
    scaling = {
        "scale": [1.0 / deviation for deviation in std],
        "offset": [-average / deviation for average, deviation in zip(mean, std, strict=True)],
    }
    layers.insert(1, _plain(NORMALISATION, "Rescaling", scaling, [[[INPUT, 0, 0, {}]]]))
    rebuilt = keras.Model.from_config(
        {
            "name": config["name"],
            "layers": layers,
            "input_layers": [[INPUT, 0, 0]],
            "output_layers": config["output_layers"],
        }
    )
    for layer in rebuilt.layers:
        if layer.weights:
            layer.set_weights(network.get_layer(layer.name).get_weights())
    return rebuilt


def copy_network(network: Any, precision: str = "float32") -> Any:
    """Copy a network of `portable_network` with all layers free to learn, computing in another number format.

    Weights, normalisation, attention and probabilities stay float32. In the scope of a strategy the copy's weights are
    the strategy's.

    Args:
        network: to copy.
        precision: 'float32', 'mixed_float16' or 'mixed_bfloat16'.
    """
    config = network.get_config()
    whole = {NORMALISATION, *(output[0] for output in config["output_layers"])}
    for layer in config["layers"]:
        if layer["class_name"] == "InputLayer":
            continue
        layer["config"]["trainable"] = True
        if layer["class_name"] not in ("Softmax", "TFOpLambda", "SlicingOpLambda"):
            layer["config"]["dtype"] = "float32" if layer["name"] in whole else precision
    copy = keras.Model.from_config(config)
    copy.set_weights(network.get_weights())
    return copy
