"""Which fixture's demand governs a test: forecast from names and files."""

from __future__ import annotations

import pytest

from pytest_gpuguard import gpu_demand
from pytest_gpuguard.plan.declared import Site, declared_by, foresee, is_session_wide

_COUNT = iter(range(1000))


@pytest.fixture
def name():
    return f"pool_{next(_COUNT)}"  # declarations last as long as the process


def declare(name, file, amount, owner=""):
    """Run a module of source ``file`` that declares a fixture function."""
    body = f"@gpu_demand(pinned={amount})\ndef {name}(): pass"
    source = f"class {owner}:\n    " + body.replace("\n", "\n    ") if owner else body
    space = {"gpu_demand": gpu_demand}
    exec(compile(source, file, "exec"), space)
    return space[owner] if owner else space[name]


def amounts(name, site):
    return [declared.demand.pinned for declared in foresee([name, "other"], site)]


def test_the_same_module_then_the_nearest_conftest_then_a_plugin(name):
    declare(name, "/site/plugin.py", 1)
    assert amounts(name, Site("/suite/a/b/test_it.py")) == [1]
    declare(name, "/suite/conftest.py", 2)
    declare(name, "/suite/a/b/conftest.py", 4)
    declare(name, "/suite/a/conftest.py", 3)
    assert amounts(name, Site("/suite/a/b/test_it.py")) == [4]
    assert amounts(name, Site("/suite/a/test_it.py")) == [3]
    assert amounts(name, Site("/suite/x/test_it.py")) == [2]
    declare(name, "/suite/a/b/test_it.py", 5)
    assert amounts(name, Site("/suite/a/b/test_it.py")) == [5]
    assert amounts(name, Site("/elsewhere/test_it.py", modules={"/suite/a/b/test_it.py"})) == [1]


def test_of_a_class_only_in_that_class_and_its_heirs(name):
    declare(name, "/suite/test_it.py", 1, owner="Base")
    assert amounts(name, Site("/suite/test_it.py", classes={"Heir", "Base"})) == [1]
    assert amounts(name, Site("/suite/test_it.py", classes={"Other"})) == []


def test_what_the_module_defines_itself_hides_the_conftest(name):
    declare(name, "/suite/conftest.py", 1)
    assert amounts(name, Site("/suite/test_it.py", names={name})) == []


def test_the_function_knows_its_demand_and_is_left_as_it_was(name):
    function = declare(name, "/suite/conftest.py", 1)
    assert declared_by(function).demand.pinned == 1
    assert declared_by(len) is None
    assert function() is None


def test_above_the_fixture_it_is_refused():
    with pytest.raises(TypeError, match=r"belongs below @pytest\.fixture"):

        @gpu_demand(pinned=1)
        @pytest.fixture
        def above():
            pass


def test_wrong_keywords_are_refused_where_they_stand():
    with pytest.raises(ValueError, match="unknown keyword 'pined'; known are"):
        gpu_demand(pined=1)


@pytest.mark.parametrize(
    ("decorator", "wide"),
    [
        ('@pytest.fixture(scope="session")', True),
        ("@pytest.fixture(autouse=True, scope='session')", True),
        ('@pytest.fixture(\n    scope="session",\n    params=[1, 2],\n)', True),
        ('@pytest.fixture(scope="module")', False),
        ("@pytest.fixture", False),
        ("@pytest.fixture(scope=computed)", False),
    ],
)
@pytest.mark.parametrize("indent", ["", "    "])
def test_the_scope_is_read_in_the_decorator(name, tmp_path, decorator, wide, indent):
    lines = [
        *decorator.split("\n"),
        "@gpu_demand(pinned=1)",
        f"def {name}(self=None):",
        "    yield 'scope=session'",
    ]
    source = "\n".join((["class It:"] if indent else []) + [indent + line for line in lines]) + "\n"
    path = tmp_path / "suite.py"
    path.write_text(source)
    space = {"pytest": pytest, "gpu_demand": gpu_demand, "computed": lambda fixture_name, config: "session"}
    exec(compile(source, str(path), "exec"), space)
    owners = {"It"} if indent else set()
    (declared,) = foresee([name], Site(str(path), owners))
    assert is_session_wide(declared) is wide


def test_a_source_that_is_not_there_is_of_no_session(name):
    declare(name, "/nowhere/conftest.py", 1)
    (declared,) = foresee([name], Site("/nowhere/test_it.py"))
    assert is_session_wide(declared) is False
