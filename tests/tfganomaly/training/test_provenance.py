from tfganomaly.training import provenance


def test_a_resume_keeps_what_a_run_was_begun_with_and_adds_what_differs(monkeypatch):
    begun = provenance.provenance()
    assert provenance.provenance_of_resume(begun) == begun
    monkeypatch.setattr(provenance, "git_revision", lambda: "another")
    resumed = provenance.provenance_of_resume(begun)
    assert resumed == {**begun, "resumed_with": [{"git_revision": "another"}]}
    assert provenance.provenance_of_resume(resumed) == resumed
    monkeypatch.setattr(provenance, "machine", lambda: {"processor": "other"})
    again = provenance.provenance_of_resume(resumed)
    other = {"machine": {"processor": "other"}, "git_revision": "another"}
    assert again == {**begun, "resumed_with": [{"git_revision": "another"}, other]}


def test_what_an_older_version_did_not_record_is_not_made_up():
    begun = provenance.provenance()
    machine = begun.pop("machine")
    assert provenance.provenance_of_resume(begun) == {**begun, "resumed_with": [{"machine": machine}]}
