"""``legato report`` writes a page beside the model, and says in a sentence what is wrong."""

import webbrowser

import pytest
from command_runs import error_of, output_of, run_legato


def test_the_page_lies_beside_the_model_and_can_be_opened(in_shop, shop, monkeypatch):
    opened = []
    monkeypatch.setattr(webbrowser, "open", lambda address: opened.append(address) or True)
    assert output_of("report", "sales.keras", "sales.csv", "--open") == "wrote sales.html\n"
    page = (shop.folder / "sales.html").read_text(encoding="utf-8")
    assert "legato report sales.keras sales.csv" in page
    assert opened == [(shop.folder / "sales.html").resolve().as_uri()]
    monkeypatch.setattr(webbrowser, "open", lambda address: False)
    output = output_of("report", "sales.keras", "sales.csv", "-o", "again.html", "--open", "-q")
    assert output.startswith("wrote again.html\nno browser opened; the page is /")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("sales.keras", "new.csv"), "has no column"),
        (("sales.keras", "none.csv"), "none.csv"),
        (("sales.csv", "sales.keras"), "MODEL comes first, then DATA"),
        (("sales.keras", "sales.csv", "-o", "page.pdf"), "must end in .html"),
        (("sales.keras", "sales.csv", "-o", "none/page.html"), "cannot be written"),
        (("sales.keras", "sales.csv", "-o", "notes.html"), "is no page that legato wrote"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(in_shop, shop, words, message):
    (shop.folder / "notes.html").write_text("mine")
    assert message in error_of("report", *words)
    assert (shop.folder / "notes.html").read_text() == "mine"


def test_a_model_of_plain_keras_has_no_page(plain, in_shop, shop):
    assert "has no record of its training" in error_of("report", plain, "sales.csv")
    assert not plain.with_suffix(".html").exists()


def test_a_damaged_record_is_named(in_shop, shop, monkeypatch):
    from legato import Trained

    load = Trained.load

    def damaged(path):
        found = load(path)
        del found.known["training"]["course"]["history"]
        return found

    monkeypatch.setattr(Trained, "load", damaged)
    done = run_legato("report", "sales.keras", "sales.csv", "-o", "damaged.html")
    assert done.exit_code == 2
    assert "cannot be shown" in done.stderr
    assert not (shop.folder / "damaged.html").exists()
