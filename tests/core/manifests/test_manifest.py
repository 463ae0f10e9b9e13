"""Metadata as people write it: every row is read as meant, or left out by name and alone."""

import json
import sys

import pytest

from ltxv_train_core.errors import DataError
from ltxv_train_core.manifests.manifest import Clip, Columns, read_manifest


@pytest.fixture
def touch(tmp_path):
    def touch(*names):
        for name in names:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"media")

    return touch


@pytest.fixture
def metadata(tmp_path):
    def metadata(name, text, encoding="utf-8"):
        path = tmp_path / name
        path.write_bytes(text.encode(encoding))
        return path

    return metadata


def pairs(manifest):
    return {clip.name: clip.captions[0] for clip in manifest.clips}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_csv(touch, metadata, encoding, newline):
    touch("my clips/ä 1.mp4", "b.mp4")
    text = newline.join(
        [
            "caption,media_path",
            '"a cat, ""quoted"", on',
            'two lines",my clips/ä 1.mp4',
            "",
            ",",
            "ein Hündchen,b.mp4",
            "",
        ]
    )
    manifest = read_manifest(metadata("data.csv", text, encoding))
    assert pairs(manifest) == {
        "my clips/ä 1.mp4": f'a cat, "quoted", on{newline}two lines',
        "b.mp4": "ein Hündchen",
    }
    assert manifest.skipped == ()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_json_and_jsonl(tmp_path, touch, metadata, encoding):
    touch("a.mp4", "refs/a.mp4")
    row = {"caption": "größer", "media_path": "a.mp4", "reference_path": "refs\\a.mp4", "n": 3}
    expected = (Clip("a.mp4", tmp_path / "a.mp4", ("größer",), tmp_path / "refs/a.mp4"),)
    as_json = json.dumps([row, {}], ensure_ascii=False)
    assert read_manifest(metadata("data.json", as_json, encoding)).clips == expected
    lines = json.dumps(row, ensure_ascii=False) + "\n\n"
    assert read_manifest(metadata("data.jsonl", lines, encoding)).clips == expected


def test_columns_have_the_names_that_are_asked_for(touch, metadata):
    touch("a.mp4", "r.mp4")
    source = metadata("data.csv", "text,video,control\nhello,a.mp4,r.mp4\n")
    manifest = read_manifest(source, Columns("text", "video", "control"))
    assert manifest.clips[0].captions == ("hello",)
    assert manifest.clips[0].reference.name == "r.mp4"
    with pytest.raises(DataError, match="no column 'caption' or 'media_path'; it has 'control'"):
        read_manifest(source)
    with pytest.raises(DataError, match="no column 'pose'"):
        read_manifest(source, Columns("text", "video", "pose"))
    masked = read_manifest(source, Columns("text", "video", "", "control")).clips[0]
    assert (masked.mask.name, masked.reference) == ("r.mp4", None)
    with pytest.raises(DataError, match="no column 'hole'"):
        read_manifest(source, Columns("text", "video", mask="hole"))


def test_without_the_reference_column_there_are_no_references(touch, metadata):
    touch("a.mp4")
    manifest = read_manifest(metadata("data.csv", "caption,media_path\nhello,a.mp4\n"))
    assert [clip.reference for clip in manifest.clips] == [None]


def test_a_path_in_the_quotes_of_windows_is_found(touch, metadata):
    touch("a b/c.mp4")
    source = metadata("data.csv", 'caption,media_path\nA,"""a b\\c.mp4"""\n')
    assert [clip.name for clip in read_manifest(source).clips] == ["a b/c.mp4"]


def test_what_is_missing_costs_its_own_row_only(touch, metadata):
    touch("a.mp4", "b.mp4", "c.mp4", "ra.mp4", "rc.mp4", "rd.mp4", "re.mp4")
    source = metadata(
        "data.csv",
        "caption,media_path,reference_path\n"
        "A,a.mp4,ra.mp4\n"
        "gone,absent.mp4,rd.mp4\n"
        "B,b.mp4,\n"
        ",c.mp4,rc.mp4\n"
        "no media,,re.mp4\n"
        "C,c.mp4,rc.mp4\n",
    )
    manifest = read_manifest(source)
    assert [(c.name, c.captions[0], c.reference.name) for c in manifest.clips] == [
        ("a.mp4", "A", "ra.mp4"),
        ("c.mp4", "C", "rc.mp4"),
    ]
    reasons = [(s.name, s.reason) for s in manifest.skipped]
    assert [name for name, _ in reasons] == ["absent.mp4", "b.mp4", "c.mp4", "row 5"]
    assert "'absent.mp4' is no file" in reasons[0][1]
    assert reasons[1][1] == "the reference path is empty"
    assert reasons[2][1] == "the caption is empty"
    assert reasons[3][1] == "the media path is empty"


def test_a_caption_in_the_column_of_paths_costs_its_own_row_only(touch, metadata):
    touch("a.mp4")
    text = f"caption,media_path\nA,a.mp4\n1,{'a caption with a comma ' * 20}\n"
    manifest = read_manifest(metadata("data.csv", text))
    assert pairs(manifest) == {"a.mp4": "A"}
    assert manifest.skipped[0].reason.startswith("the media path 'a caption with")


def test_what_is_not_text_costs_itself_only(tmp_path, touch, metadata):
    """A surrogate can't be written: Python makes them of Latin-1 file names, JSON of cut emojis."""
    touch("a.mp4")
    rows = [{"caption": "A", "media_path": "a.mp4"}, {"caption": "\ud83d", "media_path": "a.mp4"}]
    manifest = read_manifest(metadata("data.json", json.dumps(rows)))
    assert pairs(manifest) == {"a.mp4": "A"}
    assert manifest.skipped[0].reason.startswith("'\\ud83d' can't be written as UTF-8")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems know no such file names")
def test_a_file_name_that_is_not_text_costs_itself_only(tmp_path, touch, metadata):
    touch("a.mp4", "caf\udce9.mp4")
    metadata("a.txt", "A")
    metadata("caf\udce9.txt", "B")
    manifest = read_manifest(tmp_path)
    assert pairs(manifest) == {"a.mp4": "A"}
    assert manifest.skipped[0].name == "caf\\udce9.mp4"


def test_a_broken_line_of_jsonl_costs_itself_only(touch, metadata):
    touch("a.mp4")
    text = '{"caption": "A", "media_path": "a.mp4"}\n{"caption": \n[1]\n"text"\n'
    manifest = read_manifest(metadata("data.jsonl", text))
    assert pairs(manifest) == {"a.mp4": "A"}
    assert [s.name for s in manifest.skipped] == ["line 2", "line 3", "line 4"]
    assert manifest.skipped[0].reason.startswith("is not JSON")
    assert manifest.skipped[2].reason == "is not an object"


def test_names_neither_collide_nor_escape(tmp_path, touch, metadata):
    outside = tmp_path / "outside"
    touch("set/a.mp4", "set/a.png", "outside/a.mp4", "outside/more/a.mp4", "set/sub/a.mp4")
    rows = [
        "a.mp4",
        "a.png",
        "sub/../a.mp4",
        str(outside / "a.mp4"),
        "../outside/more/a.mp4",
        "sub\\a.mp4",
    ]
    lines = "\n".join(json.dumps({"caption": row, "media_path": row}) for row in rows)
    manifest = read_manifest(metadata("set/data.jsonl", lines))
    assert [clip.captions[0] for clip in manifest.clips] == rows
    names = [clip.name for clip in manifest.clips]
    assert len(set(names)) == 6
    assert names[:3] == ["a.mp4", "a.png", "a.mp4~2"]
    assert names[5] == "sub/a.mp4"
    root = tmp_path / "out"
    for name in names:
        assert (root / name).resolve().is_relative_to(root)


def test_names_that_differ_in_case_only_stay_apart_on_every_system(touch, metadata):
    touch("A.mp4", "a.mp4")
    manifest = read_manifest(metadata("data.csv", "caption,media_path\n1,A.mp4\n2,a.mp4\n"))
    assert len({clip.name.casefold() for clip in manifest.clips}) == 2


def test_a_folder(tmp_path, touch, metadata):
    touch("b.mp4", "a.mp4", "sub/c d.png", "lonely.mov", "notes.pdf", ".precomputed/x.mp4")
    metadata("a.txt", "A\n")
    metadata("b.txt", "B", "utf-8-sig")
    metadata("sub/c d.txt", "C")
    manifest = read_manifest(tmp_path)
    assert pairs(manifest) == {"a.mp4": "A", "b.mp4": "B", "sub/c d.png": "C"}
    assert [(s.name, s.reason) for s in manifest.skipped] == [
        ("lonely.mov", "no caption: lonely.txt is missing")
    ]


def test_linked_folders_of_a_folder_are_read_once_each(tmp_path, touch, metadata):
    touch("media/z/a.mp4", "media/z/.hidden/b.mp4", "other/c.mp4", "other/deep/d.mp4")
    media = tmp_path / "media"
    try:
        (media / "linked").symlink_to(tmp_path / "other", target_is_directory=True)
    except OSError:
        pytest.skip("this system makes no links")
    (media / "linked again").symlink_to(tmp_path / "other", target_is_directory=True)
    (media / "a second name").symlink_to(media / "z", target_is_directory=True)
    (media / "z" / "loop").symlink_to(media, target_is_directory=True)
    (tmp_path / "other" / "back").symlink_to(media, target_is_directory=True)
    (media / "gone").symlink_to(tmp_path / "absent", target_is_directory=True)
    clips = read_manifest(media, default_caption="A").clips
    assert [clip.name for clip in clips] == ["linked/c.mp4", "linked/deep/d.mp4", "z/a.mp4"]
    assert clips[0].media == media / "linked" / "c.mp4"


def test_a_caption_that_can_not_be_read_is_not_replaced_by_the_default_one(
    tmp_path, touch, metadata
):
    touch("a.mp4", "b.mp4")
    metadata("a.txt", "привет", "cp1251")
    manifest = read_manifest(tmp_path, default_caption="given")
    assert pairs(manifest) == {"b.mp4": "given"}
    assert [(s.name, s.reason) for s in manifest.skipped] == [
        ("a.mp4", "a.txt is not UTF-8 text; save it as UTF-8")
    ]


def test_sources_that_cannot_be_read_say_what_is_expected(tmp_path, metadata):
    (tmp_path / "empty").mkdir()
    cases = {
        tmp_path / "absent.csv": "no such file or folder",
        tmp_path / "empty": "holds no media; known are .aac, ",
        metadata("a.xlsx", "x"): "expected a .csv, .tsv, .json or .jsonl file, or a folder",
        metadata("a.json", '{"caption": "A"}'): "expected a list of objects, found dict",
        metadata("b.json", "[{]"): "is not JSON",
        metadata("a.csv", "caption,media_path\n"): "holds no rows",
        metadata("b.csv", "caption,media_path\nпривет,мир.mp4\n", "cp1251"): "is not UTF-8 text",
    }
    for source, message in cases.items():
        with pytest.raises(DataError, match=message):
            read_manifest(source)


def test_media_without_a_caption_get_the_default_one(tmp_path, touch, metadata):
    touch("a.png", "b.png", "b.txt")
    manifest = read_manifest(tmp_path, default_caption=" a photo of zorp ")
    assert pairs(manifest) == {"a.png": "a photo of zorp", "b.png": "media"}
    source = metadata("data.csv", "caption,media_path\n,a.png\nown,b.png\n")
    manifest = read_manifest(source, default_caption="given")
    assert pairs(manifest) == {"a.png": "given", "b.png": "own"}
    source = metadata("data.csv", "media_path\na.png\nb.png\n")
    manifest = read_manifest(source, default_caption="given")
    assert pairs(manifest) == {"a.png": "given", "b.png": "given"}
    with pytest.raises(DataError, match="no column 'caption'; it has 'media_path'"):
        read_manifest(source, default_caption=" ")
    with pytest.raises(DataError, match="no column 'text'"):
        read_manifest(source, Columns(caption="text"), default_caption="given")


def test_the_mask_column_has_a_name(touch, metadata):
    touch("a.mp4", "m.png")
    source = metadata("data.csv", "caption,media_path,hole\nA,a.mp4,m.png\n")
    assert read_manifest(source, Columns(mask="hole")).clips[0].mask.name == "m.png"
    with pytest.raises(DataError, match="no column 'mask'"):
        read_manifest(source, Columns(mask="mask"))


def test_other_columns_are_named_with_the_options_that_take_them(touch, metadata):
    touch("a.mp4")
    with pytest.raises(DataError) as error:
        read_manifest(metadata("m.csv", "file,text\na.mp4,a cat\n"))
    line = str(error.value)
    assert "has no column 'caption' or 'media_path'; it has 'file', 'text'" in line
    assert line.endswith(
        "Write the names of the columns that you mean into caption_column and video_column"
    )


def test_another_separator_is_named(touch, metadata):
    touch("a.mp4")
    with pytest.raises(DataError, match=r"It is read as one column: .* `sep=\|` as the first line"):
        read_manifest(metadata("m.csv", "media_path|caption\na.mp4|a cat\n"))
    found = read_manifest(metadata("m.csv", "sep=|\nmedia_path|caption\na.mp4|a cat\n"))
    assert [clip.captions for clip in found.clips] == [("a cat",)]
