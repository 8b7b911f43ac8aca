"""Matrices: every image once, evenly, in what the systems of CI read."""

from __future__ import annotations

import json

import pytest

from postroj.ci_matrix import GITHUB_LIMIT, Language, matrix, spread

MANY = tuple(f"image-{number}" for number in range(600))


@pytest.mark.parametrize("count", [1, 2, 3, 7, 10])
@pytest.mark.parametrize("most", [None, 1, 2, 3, 10, 99])
def test_images_are_spread_evenly_and_in_their_order(count: int, most: int | None) -> None:
    jobs = spread(MANY[:count], most)
    assert len(jobs) == min(count, most or count)
    assert sum((job.images for job in jobs), ()) == MANY[:count]
    sizes = {len(job.images) for job in jobs}
    assert max(sizes) - min(sizes) <= 1
    assert len({job.name for job in jobs}) == len(jobs)


def test_a_job_is_named_by_its_images() -> None:
    assert [job.name for job in spread(("a", "b", "c"), 2)] == ["a", "b-and-1-more"]


def test_github_gets_one_line() -> None:
    text = matrix(("a", "b", "c"), Language.GITHUB, 2)
    assert "\n" not in text
    assert json.loads(text) == {
        "include": [
            {"name": "a", "images": "a"},
            {"name": "b-and-1-more", "images": "b c"},
        ]
    }


@pytest.mark.parametrize("most", [None, 300])
def test_github_gets_no_more_jobs_than_it_takes(most: int | None) -> None:
    jobs = json.loads(matrix(MANY, Language.GITHUB, most))["include"]
    assert len(jobs) == GITHUB_LIMIT
    assert " ".join(job["images"] for job in jobs).split() == list(MANY)


def test_gitlab_gets_a_pipeline_with_a_job_each() -> None:
    assert json.loads(matrix(("a", "b", "c"), Language.GITLAB, 2)) == {
        "probe a": {"extends": ".probe", "variables": {"NAME": "a", "IMAGES": "a"}},
        "probe b-and-1-more": {
            "extends": ".probe",
            "variables": {"NAME": "b-and-1-more", "IMAGES": "b c"},
        },
    }
    assert len(json.loads(matrix(MANY, Language.GITLAB))) == len(MANY)


def test_json_has_lists_of_images() -> None:
    assert json.loads(matrix(("a", "b"), Language.JSON, 1)) == [
        {"name": "a-and-1-more", "images": ["a", "b"]}
    ]
