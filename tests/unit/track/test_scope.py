"""Whose is what is made now, and whom does it concern."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from pytest_gpuguard.track.scope import BEFORE, Birth, Fixture, Owner, Scene


def _scene(closure=()):
    scene = Scene(closure=lambda: closure)
    test = Owner("function", "t.py::test")
    scene.begin(test, 1.0)
    return scene, test


def _birth(scene, stack=()):
    return scene.born("m:work", stack)


def _birth_in_a_thread(scene):
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(_birth, scene).result()


def _wide(name="wide", code=None):
    fixture = Fixture(name, "module", "t.py", code)
    return fixture, Owner("module", "t.py", fixture, code)


def test_before_any_test_nobody_owns():
    born = _birth(Scene())
    assert born.owner is BEFORE
    assert (born.test, born.fixture) == ("", None)
    assert not BEFORE.ended


def test_the_test_owns_what_it_makes_and_what_its_function_fixtures_make():
    scene, test = _scene()
    assert _birth(scene).owner is test
    narrow = Fixture("narrow", "function", test.node, None)
    scene.enter(narrow, None, 1.1)
    assert (_birth(scene).owner, _birth(scene).fixture) == (test, narrow)
    scene.leave(narrow, None, None, 1.2)
    assert _birth(scene).fixture is None


def test_a_wide_fixture_owns_what_is_made_while_it_is_set_up_also_by_narrow_ones_within():
    scene, test = _scene()
    fixture, owner = _wide()
    inner, inner_owner = _wide("inner")
    scene.enter(fixture, owner, 1.1)
    scene.enter(inner, inner_owner, 1.2)
    assert _birth(scene).owner is inner_owner
    scene.leave(inner, inner_owner, None, 1.3)
    assert _birth(scene).owner is owner
    scene.leave(fixture, owner, None, 1.4)
    assert _birth(scene).owner is test


def test_a_setup_that_was_cut_short_leaves_nothing_in_force():
    scene, test = _scene()
    outer, outer_owner = _wide("outer")
    scene.enter(outer, outer_owner, 1.1)
    scene.enter(*_wide("never left"), 1.2)
    scene.leave(outer, outer_owner, None, 1.3)
    assert (scene.fixtures, scene.owners) == ([], [])
    assert _birth(scene).owner is test


def test_what_a_thread_makes_belongs_where_the_thread_does():
    scene, test = _scene()
    fixture, owner = _wide()
    scene.enter(fixture, owner, 1.1)
    maker = _birth(scene)
    scene.leave(fixture, owner, None, 1.2)
    scene.makers += [lambda: None, lambda: maker]
    assert _birth(scene).owner is test  # in the main thread nobody is asked
    child = _birth_in_a_thread(scene)
    assert (child.owner, child.fixture, child.certainty) == (owner, fixture, "inherited")


def test_what_an_unknown_thread_makes_is_put_down_to_what_is_in_force():
    scene, test = _scene()
    assert (_birth(scene).certainty, _birth(scene).owner) == ("exact", test)
    child = _birth_in_a_thread(scene)
    assert (child.owner, child.certainty) == (test, "inferred")


def test_in_a_teardown_whoever_tears_down_owns_it():
    scene, test = _scene()
    (fixture, owner), own = _wide(), Fixture("own", "function", "t.py::test", None)
    for entered, of in ((fixture, owner), (own, None)):
        scene.enter(entered, of, 1.1)
        scene.leave(entered, of, None, 1.2)
    scene.phase = "teardown"
    assert _birth(scene).owner is test
    scene.torn_down = lambda: fixture
    assert (_birth(scene).owner, _birth(scene).fixture) == (owner, fixture)
    scene.torn_down = lambda: own
    assert (_birth(scene).owner, _birth(scene).fixture) == (test, own)
    owner.ended = True
    scene.begin(test, 2.0)
    assert scene.standing == []


def test_in_a_set_up_what_another_parameter_s_fixture_leaves_in_its_teardown_is_its_own():
    scene, test = _scene()
    fixture, owner = _wide()
    scene.enter(fixture, owner, 1.1)
    scene.leave(fixture, owner, None, 1.2)
    scene.begin(test, 2.0)
    scene.torn_down = lambda: fixture
    born = _birth(scene)
    assert (born.owner, born.fixture, born.phase) == (owner, fixture, "teardown")
    scene.phase = "call"
    assert _birth(scene).owner is test


def test_only_the_class_of_a_value_that_can_be_closed_is_kept():
    class Closes:
        def close(self):
            raise AssertionError(self)

    scene, _ = _scene()
    fixture, owner = _wide()
    scene.enter(fixture, owner, 1.1)
    scene.leave(fixture, owner, Closes(), 1.2)
    assert fixture.made is Closes
    plain, plain_owner = _wide()
    scene.enter(plain, plain_owner, 1.3)
    scene.leave(plain, plain_owner, {"a": 1}, 1.4)
    assert plain.made is None


def test_a_death_concerns_the_tests_that_use_the_fixture_and_its_own_test():
    scene, test = _scene(closure=["wide"])
    used, unused = _wide("wide"), _wide("another")

    def born(owner):
        return Birth("m:work", owner, "", "setup", owner.fixture, "exact", (), 1.0)

    assert scene.concerns(born(test))
    assert scene.concerns(born(used[1]))
    assert not scene.concerns(born(unused[1]))
    assert not scene.concerns(born(BEFORE))
    used[1].ended = True
    assert not scene.concerns(born(used[1]))
    scene.end()
    assert not scene.concerns(born(test))


def test_progress_is_noted_only_while_something_is_timed():
    scene, _ = _scene()
    scene.touch(5.0)
    assert scene.progress == 5.0
    scene.progress = None
    scene.touch(6.0)
    assert scene.progress is None
