"""Metadata and captions as people save them: encodings, separators, names in another form."""

import json
import unicodedata

import pytest

from ltxv_train_core.config import PreprocessSettings
from ltxv_train_core.events import Notice
from ltxv_train_core.manifests.manifest import read_manifest
from ltxv_train_core.manifests.text_encodings import decoded
from ltxv_train_core.preprocessing.preprocess import preprocess

CAPTION = "ein grüner Kreis, café – “naïve”"
ENCODINGS = [
    ("utf-8", "UTF-8"),
    ("utf-8-sig", "UTF-8"),
    ("utf-16", "UTF-16"),
    ("utf-32", "UTF-32"),
    ("cp1252", "cp1252"),
]
ROWS = [{"media_path": "ä.mp4", "caption": CAPTION}, {"media_path": "b.mp4", "caption": "plain"}]
FORMS = {
    "csv": f'media_path,caption\r\nä.mp4,"{CAPTION}"\r\nb.mp4,plain\r\n',
    "tsv": f"media_path\tcaption\nä.mp4\t{CAPTION}\nb.mp4\tplain\n",
    "json": json.dumps(ROWS, ensure_ascii=False),
    "jsonl": "\n".join(json.dumps(row, ensure_ascii=False) for row in ROWS),
}


def pairs(manifest):
    return {clip.media.name: clip.captions[0] for clip in manifest.clips}


@pytest.mark.parametrize(("encoding", "name"), ENCODINGS)
@pytest.mark.parametrize("form", FORMS)
def test_metadata_in_every_encoding(tmp_path, form, encoding, name):
    for row in ROWS:
        (tmp_path / row["media_path"]).touch()
    source = tmp_path / f"data.{form}"
    source.write_bytes(FORMS[form].encode(encoding))
    manifest = read_manifest(source)
    assert pairs(manifest) == {row["media_path"]: row["caption"] for row in ROWS}
    assert [f"read as {name}" in note for note in manifest.notes] == [True] * (name != "UTF-8")


@pytest.mark.parametrize("codec", ["utf-16-le", "utf-16-be"])
def test_utf_16_of_both_orders(codec):
    mark = "\ufeff".encode(codec)
    assert decoded(mark + CAPTION.encode(codec)) == (CAPTION, "UTF-16")


def test_captions_beside_media_are_told_with_how_many(tmp_path):
    for name in "abc":
        (tmp_path / f"{name}.mp4").touch()
        encoding = "utf-8" if name == "a" else "cp1252"
        (tmp_path / f"{name}.txt").write_bytes(CAPTION.encode(encoding))
    manifest = read_manifest(tmp_path)
    assert set(pairs(manifest).values()) == {CAPTION}
    (note,) = manifest.notes
    assert note.startswith("b.txt and 1 more: read as cp1252")


@pytest.mark.parametrize(
    "content",
    [
        "привет мир".encode("cp1251"),
        "緑の丸が動く".encode("shift-jis"),
        "绿色的圆".encode("gbk"),
        "Κύκλος".encode("cp1253"),
        b"gr\xfcn \xc3\xbcber",  # a mixture
        "grün".encode()[:-2],
        b"\xff\xfea",  # half a letter of UTF-16
        "grün".encode("utf-16")[2:],
        b"caf\xe9 \x81",
    ],
)
def test_what_would_become_noise_is_not_guessed(content):
    with pytest.raises(UnicodeDecodeError):
        decoded(content)


@pytest.mark.parametrize("mark", [";", ",", "\t", "|"])
@pytest.mark.parametrize("line", ["sep={}\r\n", '"sep={}"\n', "SEP={}\n"])
def test_the_line_that_names_the_separator(tmp_path, mark, line):
    (tmp_path / "a.mp4").touch()
    other = "," if mark == ";" else ";"
    text = (
        line.format(mark) + f"media_path{mark}caption\r\na.mp4{mark}one{other} two{other} three\r\n"
    )
    (tmp_path / "d.csv").write_bytes(text.encode())
    assert pairs(read_manifest(tmp_path / "d.csv")) == {"a.mp4": f"one{other} two{other} three"}


def composed(name):
    return unicodedata.normalize("NFC", name)


def decomposed(name):
    return unicodedata.normalize("NFD", name)


@pytest.mark.parametrize(
    ("disk", "written"),
    [
        (decomposed("é/ü.mp4"), composed("é/ü.mp4")),
        (composed("é/ü.mp4"), decomposed("é/ü.mp4")),
        ("Clips/A.MP4", "clips/a.mp4"),
        ("Clips/A.MP4", "clips\\a.mp4"),
        (decomposed("É.mp4"), composed("é.mp4")),
    ],
)
def test_a_name_in_another_form_is_found_and_told(tmp_path, disk, written):
    path = tmp_path / disk
    path.parent.mkdir(exist_ok=True)
    path.touch()
    (tmp_path / "d.json").write_text(json.dumps([{"media_path": written, "caption": "a"}]), "utf-8")
    manifest = read_manifest(tmp_path / "d.json")
    assert [clip.media.samefile(path) for clip in manifest.clips] == [True]
    if str(manifest.clips[0].media) != str(tmp_path / written.replace("\\", "/")):
        assert "1 files are called otherwise on the disk" in manifest.notes[0]


def is_case_sensitive(folder):
    (folder / "x").touch()
    return not (folder / "X").exists()


def test_of_several_alike_none_is_guessed(tmp_path):
    if not is_case_sensitive(tmp_path):
        pytest.skip("file names are alike here")
    for name in ("a.mp4", "A.mp4", "b.mp4"):
        (tmp_path / name).touch()
    rows = [("a.MP4", "1"), ("b.mp4", "2"), ("B.mp4", "3"), ("c.mp4", "4")]
    text = "media_path,caption\n" + "".join(f"{name},{caption}\n" for name, caption in rows)
    (tmp_path / "d.csv").write_text(text, encoding="utf-8")
    manifest = read_manifest(tmp_path / "d.csv")
    assert pairs(manifest) == {"b.mp4": "2"}
    reasons = {skip.name: skip.reason for skip in manifest.skipped}
    assert "may be 'A.mp4' or 'a.mp4'" in reasons["a.MP4"]
    assert "'B.mp4' is no file" in reasons["B.mp4"]
    assert "'c.mp4' is no file" in reasons["c.mp4"]


def test_captions_in_another_form_go_to_their_own_clip_alone(tmp_path):
    if not is_case_sensitive(tmp_path):
        pytest.skip("file names are alike here")
    for name in ("a.mp4", "b.mp4", "B.mp4", "c.mp4", "C.mp4"):
        (tmp_path / name).touch()
    for name in ("a.TXT", "b.txt", "c.Txt"):
        (tmp_path / name).write_text(name, encoding="utf-8")
    manifest = read_manifest(tmp_path)
    assert pairs(manifest) == {"a.mp4": "a.TXT", "b.mp4": "b.txt"}
    assert {skip.name for skip in manifest.skipped} == {"B.mp4", "c.mp4", "C.mp4"}


def test_preprocessing_tells_the_encoding(tmp_path, write_clip):
    write_clip("a.mp4")
    (tmp_path / "d.csv").write_bytes("media_path;caption\na.mp4;grün\n".encode("utf-16"))
    events = []
    preprocess(PreprocessSettings(tmp_path / "d.csv", "LTXV_MINIATURE", "64x64x9"), events.append)
    notices = [event.message for event in events if isinstance(event, Notice)]
    assert any(line.startswith("d.csv: read as UTF-16") for line in notices)
