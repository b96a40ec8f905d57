"""Commands of the demo_scenes room."""

import contextlib
import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from satseg.errors import ConfigurationError
from satseg.progress import say

_FOR_TOWNS = ("count", "size", "gsd", "prefix", "season", "sensor")


def register(app: typer.Typer) -> None:
    """Add the commands of this group."""
    app.command("demo-scenes")(demo_scenes)


def demo_scenes(  # noqa: PLR0917
    context: typer.Context,
    out: Annotated[Path, typer.Argument(help="Folder to write to; made when missing.", show_default=False)],
    count: Annotated[int, typer.Option(help="Number of scenes.")] = 6,
    size: Annotated[int, typer.Option(help="Width and height in pixels, 256 to 4096.")] = 1024,
    seed: Annotated[int, typer.Option(help="Chooses the towns; the same seed gives the same files.")] = 0,
    gsd: Annotated[float, typer.Option(help="Metres per pixel.")] = 0.15,
    prefix: Annotated[str, typer.Option(help="Scenes are called PREFIX_0, PREFIX_1, …")] = "town",
    season: Annotated[str, typer.Option(help="summer, autumn, winter or dry: light, plants, snow.")] = "summer",
    sensor: Annotated[str, typer.Option(help="a or b: colour response, sharpness, noise of the camera.")] = "a",
    haze: Annotated[float, typer.Option(help="0 clear … 1 thick: less contrast, added airlight.")] = 0.0,
    gain: Annotated[float, typer.Option(help="Factor on the digital numbers.")] = 1.0,
    blur: Annotated[float, typer.Option(help="Added blur: standard deviation in pixels.")] = 0.0,
    noise: Annotated[float, typer.Option(help="Added noise: standard deviation in digital numbers.")] = 0.0,
    unlabelled: Annotated[bool, typer.Option("--unlabelled", help="Write no labels.")] = False,
    source: Annotated[
        Path | None, typer.Option("--from", help="Change the scenes of this folder instead of drawing towns.")
    ] = None,
    suffix: Annotated[str, typer.Option(help="With --from: copies are called STEM_SUFFIX.")] = "changed",
    force: Annotated[bool, typer.Option("--force", help="Write into a folder that holds other files.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as one JSON object on stdout.")] = False,
) -> None:
    """Write labelled synthetic aerial scenes (GeoTIFF + LabelMe), or changed copies of your own.

    The towns are seeded. Season, sensor, haze, gain, blur and noise change how the same town looks: known drift for
    demonstrations and tests.

    **Example**

        satseg demo-scenes scenes --count 6 --seed 1

        satseg demo-scenes hazy --count 2 --seed 2 --prefix hazy --haze 0.5 --gain 1.15

        satseg demo-scenes night --from my_scenes --noise 1 --suffix night
    """
    from satseg.datasets.demo_changes import Change, Look

    change = Change(haze=haze, gain=gain, blur_px=blur, noise_dn=noise)
    with contextlib.redirect_stdout(sys.stderr):
        if source is not None:
            _refuse(context, _FOR_TOWNS, "with --from: the scenes are given, not drawn")
            from satseg.datasets.demo_copies import write_copies

            names = write_copies(out, source, change, suffix, seed, not unlabelled, force)
            if change.nothing:
                say("note: no change was asked for; the copies show what the scenes show.")
        else:
            _refuse(context, ("suffix",), "without --from; use --prefix to name drawn scenes")
            from satseg.datasets.demo_scenes import SceneSet, write_scenes

            named: dict[str, Any] = {"season": season, "sensor": sensor}  # Look refuses unknown names
            scenes = SceneSet(count, size, seed, gsd, prefix, Look(change=change, **named), not unlabelled)
            names = write_scenes(out, scenes, force)
    if as_json:
        print(json.dumps({"scenes": names, "folder": str(out.resolve())}))
    else:
        print(f"{len(names)} scene{'s' if len(names) != 1 else ''} in {out}: {_short(names)}")


def _refuse(context: typer.Context, names: tuple[str, ...], why: str) -> None:
    given = [name for name in names if getattr(context.get_parameter_source(name), "name", "") == "COMMANDLINE"]
    if given:
        raise ConfigurationError(f"--{given[0]} has no meaning {why}.")


def _short(names: list[str]) -> str:
    return ", ".join(names) if len(names) <= 6 else f"{', '.join(names[:3])} … {names[-1]}"
