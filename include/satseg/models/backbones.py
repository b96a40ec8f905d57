"""Names of the encoders that can be trained; checked before TensorFlow is loaded."""

import difflib

from satseg.errors import ConfigurationError

BACKBONES: tuple[str, ...] = (
    "vgg16",
    "vgg19",
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "resnext50",
    "resnext101",
    "seresnet18",
    "seresnet34",
    "seresnet50",
    "seresnet101",
    "seresnet152",
    "seresnext50",
    "seresnext101",
    "senet154",
    "inceptionv3",
    "inceptionresnetv2",
    "densenet121",
    "densenet169",
    "densenet201",
    "mobilenet",
    "mobilenetv2",
    "efficientnetb0",
    "efficientnetb1",
    "efficientnetb2",
    "efficientnetb3",
    "efficientnetb4",
    "efficientnetb5",
    "efficientnetb6",
    "efficientnetb7",
)


def check_backbone(name: str) -> None:
    """Refuse an unknown encoder.

    Raises:
        ConfigurationError: names the nearest encoder and all there are.
    """
    if name in BACKBONES:
        return
    near = difflib.get_close_matches(name.lower(), BACKBONES, n=1, cutoff=0.5)
    hint = f"did you mean '{near[0]}'? " if near else ""
    raise ConfigurationError(f"training.backbone: unknown '{name}'; {hint}Choices: {', '.join(BACKBONES)}.")
