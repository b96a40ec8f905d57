import math

import pytest

from satseg.config.project import parse_project
from satseg.training.study import Study, searched_values, with_values

SPACE = """
name: roads
classes: [road]
training: {learning_rate: 0.002, batch_size: 8}
search:
  startup_trials: 3
  prune_after_epochs: 2
  space:
    training.learning_rate: {low: 1.0e-4, high: 0.1, log: true}
    training.batch_size: {low: 2, high: 16, integer: true}
    training.augmentations: {choices: [[], [flip], [flip, rotate90]]}
    training.strength.haze: {low: 0.5, high: 0.9}
"""


@pytest.fixture
def project():
    return parse_project(SPACE, "roads.yaml")


@pytest.fixture
def study(workspace, project):
    return Study(workspace, "roads", "abc", project.search)


def test_the_first_trial_has_the_projects_own_values_where_they_lie_in_the_space(study, project):
    first = searched_values(project)
    assert first == {"training.learning_rate": 0.002, "training.batch_size": 8}
    _, values = study.begin(0, first)
    assert {key: values[key] for key in first} == first
    assert 0.5 <= values["training.strength.haze"] <= 0.9


def test_trials_have_possible_values_of_the_right_type_and_differ(study, project):
    seen = [study.begin(place, {})[1] for place in range(6)]
    assert len({values["training.learning_rate"] for values in seen}) == 6
    for values in seen:
        tried = with_values(project, values).training
        assert isinstance(tried.batch_size, int)
        assert list(tried.augmentations) == values["training.augmentations"]
        assert tried.strength.haze == values["training.strength.haze"]
        assert tried.seed == project.training.seed


def test_a_trial_whose_process_was_killed_goes_on_as_itself_in_another_process(workspace, project, study):
    _, values = study.begin(1, {})
    assert study.record(1).state == "running"
    again = Study(workspace, "roads", "abc", project.search)
    trial, same = again.begin(1, {})
    assert same == values
    trial.report(0.4, 1)
    again.end(1, "complete", val_iou=0.6, run_id="r")
    record = study.record(1)
    assert (record.state, record.val_iou, record.run_id, record.values) == ("complete", 0.6, "r", values)
    assert study.record(0) is None


def test_two_searches_of_a_project_share_a_database_and_no_trials(workspace, project, study):
    study.begin(0, {})
    assert Study(workspace, "roads", "other", project.search).record(0) is None


def test_failed_and_pruned_trials_keep_why(study):
    for place, state in ((0, "failed"), (1, "pruned")):
        trial, _ = study.begin(place, {})
        trial.report(0.1, 1)
        study.end(place, state, val_iou=0.1 if state == "pruned" else None, reason="out of memory")
        assert (study.record(place).state, study.record(place).reason) == (state, "out of memory")


def test_a_trial_below_the_median_is_pruned_after_the_first_epochs_and_not_before(study):
    for place, final in enumerate((0.5, 0.6, 0.7)):
        trial, _ = study.begin(place, {})
        for epoch in range(1, 5):
            trial.report(final * epoch / 4, epoch)
        study.end(place, "complete", val_iou=final, run_id="r")
    poor, _ = study.begin(3, {})
    advice = []
    for epoch in range(1, 4):
        poor.report(0.01, epoch)
        advice.append(poor.should_prune())
    assert advice == [False, True, True]


@pytest.mark.full
@pytest.mark.slow
def test_the_search_finds_a_better_learning_rate_than_chance(workspace, project):
    """A quadratic in the logarithm stands for a training: what matters here is that results guide the choice."""
    study = Study(workspace, "roads", "curve", project.search)
    found = []
    for place in range(20):
        _, values = study.begin(place, {})
        distance = abs(math.log10(values["training.learning_rate"]) + 2)
        found.append(distance)
        study.end(place, "complete", val_iou=1 - distance / 2, run_id="r")
    chance = (2**2 / 2 + 1**2 / 2) / 3  # mean distance of a uniform exponent in -4 … -1 from -2
    assert sum(found[10:]) / 10 < 0.7 * chance
