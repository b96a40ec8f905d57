"""The preview of a patch set hangs beside the publication, so that it delays nobody."""


def test_the_preview_follows_finalise_and_nothing_waits_for_it(seen) -> None:
    tasks = seen["dags"]["buildings.patch_generation"]["tasks"]
    assert tasks["finalise"]["downstream"] == ["preview", "publish_patches"]
    assert tasks["preview"]["downstream"] == []
