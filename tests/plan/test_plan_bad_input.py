"""BAD-INPUT, rows 12-18 and 19-38: one row a case; each told with its place, nothing raised.

A case makes files, names the manifest's parts, and says what must be in the messages. Those of
bad sources are `source: reason`, as the commands print them.
"""

# ruff: noqa: E501 - one row a case, read like a table

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from typing import Any

import pytest
from PIL import Image

from retouch.plan import Plan
from tests.support.hostile_pictures import (
    DISGUISED,
    animation,
    encoded,
    oriented,
    picture,
    png,
    png_16_bits,
)
from tests.support.studio import GEMINI, Studio, jobs, said

Make = Callable[[Studio], object]
Parts = dict[str, Any]


def one(name: str = "data/a.png", data: bytes | None = None) -> Make:
    """One file."""
    return lambda studio: studio.make(name, data)


def several(*makes: Make) -> Make:
    """Some files after another."""
    return lambda studio: [make(studio) for make in makes]


def linked(name: str, target: str) -> Make:
    """A link."""

    def make(studio: Studio) -> None:
        (studio.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (studio.folder / name).symlink_to(target)

    return make


def piped(name: str) -> Make:
    """A named pipe that nobody writes to."""
    return lambda studio: subprocess.run(["mkfifo", studio.folder / name], check=True)


def table(text: str | bytes, name: str = "t.csv") -> Make:
    """A table, and the pictures a.png and b.png beside it."""
    data = text.encode() if isinstance(text, str) else text
    return several(one("a.png"), one("b.png"), one(name, data))


def model(options: Parts, name: str = GEMINI, **more: Any) -> Parts:
    return {"models": [{"model": name, "options": options, **more}]}


def glob(pattern: str, **more: Any) -> Parts:
    return {"inputs": [{"glob": pattern, **more}]}


def masked(mask: str = "masks/{stem}.png") -> Parts:
    return glob("data/*.png", mask=mask)


URLS_ONLY = {"models": [{"model": "kling-v2", "images": "subject_image_list"}]}
KLING = {"models": "kling-v1"}
OF_TABLE: Parts = {"inputs": [{"table": "t.csv"}], "prompts": "do it"}
GREY = Image.new("L", (40, 30), 0)
ALPHA = Image.merge("LA", (GREY, Image.linear_gradient("L").resize((40, 30))))
CMYK = picture(mode="CMYK", kind="JPEG")
SQUARE = picture(300, 300)

# fmt: off
ERRORS: dict[str, tuple[Make, Parts, tuple[str, ...]]] = {
    "12 another model's option": (one(), model({"aspect_ratio": "1:1"}), ("m.yaml:10:19: ", "does not take `aspect_ratio`, which is an option of kling-v1")),
    "12 an unknown option": (one(), model({"backgrund": "auto"}), ("takes no option `backgrund`", "did you mean", "background")),
    "12 the prompt as an option": (one(), model({"prompt": "x"}), ("`prompt` is not an option", "say it by `prompts`")),
    "14 a text for a number": (one(), model({"output_compression": "2"}), ("must be a whole number", "write 2 without quotes")),
    "14 a bool for a number": (one(), model({"output_compression": True}), ("`output_compression` must be a whole number",)),
    "14 a number for a text": (one(), model({"quality": 5}), ("`quality` must be a text", 'quote it: "5"')),
    "15 out of range": (one(), model({"output_compression": 101}), ("`output_compression` is 101", "from 0 to 100")),
    "15 outside the set": (one(data=SQUARE), model({"aspect_ratio": "5:9"}, "kling-v1"), ("`aspect_ratio` cannot be `5:9`", "one of 16:9, 9:16")),
    "15 a member outside its set": (one(), model({"image_config": {"image_size": "9K"}}), ("m.yaml:", "`image_config.image_size` cannot be `9K`")),
    "15 an unknown member": (one(), model({"image_config": {"size": "1K"}}), ("has no member `size`",)),
    "15 a size that is none": (one(), model({"size": "big"}), ("`size` cannot be `big`", "1024x1024")),
    "17 a glob that matches nothing": (one(), glob("none/*.png"), ("m.yaml:3:9: `none/*.png` matches nothing", "allow_empty: true")),
    "17 but for its case": (one("data/A.PNG"), glob("data/a*.png"), ("1 match if upper and lower case are ignored",)),
    "17 no such folder": (one(), glob("dta/**/*.png"), ("there is no folder dta",)),
    "17 a folder with brackets": (one("data/[1] x/a.png"), glob("data/[1] x/*.png"), ("write `literal: true`",)),
    "18 .. after a wildcard": (one(), glob("data/*/../*.png"), ("m.yaml:3:9: ", "goes up by `..` after a wildcard")),
    "18 nobody's home": (one(), glob("~nobody-here/*.png"), ("m.yaml:3:9: ", "whose home that is, is not known")),
    "18 too many alternatives": (one(), glob("data/{1..400}/{1..400}/*.png"), ("m.yaml:3:9: ", "more than 100,000 patterns")),
    "18 a linked file that is no picture": (several(one(), linked("data/l.png", "/etc/hostname")), {}, ("data/l.png: is ", "only PNG, JPEG and WEBP are taken")),
    "18 outside the root": (one(), {"inputs": [{"glob": "data/*.png", "root": "other"}]}, ("m.yaml:4:9: 1 of its pictures lie outside `root`",)),
    "18 the outputs folder": (several(one(), one("outputs/m/images/x.png")), glob("**/*.png"), ("feed on its own results", "exclude: [outputs/**]")),
    "18 the outputs folder to be": (one(), glob("**/*.png"), ("feed on its own results", "images/gemini")),
    "18 .. in a table": (table("image\n../nobody/x.png\n"), OF_TABLE, ("x.png: is not there",)),
    "18 .. in a mask": (one(), masked("../{stem}.png"), ("data/a.png: its mask ", "a.png is not there")),
    "19 a folder as a glob": (one("data/x/a.png"), glob("data"), ("it is a folder, not a regular file: write data/**/*.jpg",)),
    "19 a FIFO": (several(one(), piped("data/p.png")), {}, ("data/p.png: is not a regular file but a named pipe",)),
    "19 a dangling link": (linked("data/d.png", "gone.png"), {}, ("data/d.png: is not there (or is a link",)),
    "19 a looping link": (linked("data/l.png", "l.png"), {}, ("data/l.png: is not a regular file",)),
    "21 0 bytes": (one(data=b""), {}, ("data/a.png: is empty (0 bytes)",)),
    "21 truncated PNG": (one(data=picture()[:-9]), {}, ("is cut: it ends at byte",)),
    "21 truncated JPEG": (one(data=picture(kind="JPEG")[:-9]), {}, ("is cut: it ends at byte",)),
    "21 truncated WEBP": (one(data=picture(kind="WEBP")[:-9]), {}, ("is cut: it ends at byte",)),
    "21 bad CRC": (one(data=picture().replace(b"IDAT", b"IDAU")), {}, ("the checksum of the IDAU chunk",)),
    **{f"23 {name}": (one(data=data), {}, (f"is {name}, by its bytes",)) for name, data in DISGUISED.items()},
    "24 animated GIF": (one(data=animation("GIF", 3)), {}, ("animated GIF of 3 frames",)),
    "24 animated WEBP": (one(data=animation("WEBP", 3)), {}, ("animated (3 frames)",)),
    "24 APNG": (one(data=animation("PNG", 3)), {}, ("animated (3 frames)",)),
    "25 CMYK": (one(data=CMYK), {}, (f"data/a.png: {GEMINI}: is in mode CMYK; the model takes RGB, RGBA, L", "`convert: true`")),
    "25 16 bits": (one(data=png_16_bits()), {}, ("is in mode RGB;16",)),
    "25 palette": (one(data=picture(mode="P")), {}, ("is in mode P",)),
    "25 1 bit": (one(data=picture(mode="1")), {}, ("is in mode 1",)),
    "25 LA": (one(data=picture(mode="LA")), {}, ("is in mode LA",)),
    "27 299 px": (one(data=picture(299, 300)), KLING, ("kling-v1: is 299x300; each side must have at least 300",)),
    "27 ratio 2.51": (one(data=picture(753, 300)), KLING, ("is 753x300, a ratio of 2.51:1; at most 2.5:1",)),
    "27 10 MB": (one(data=SQUARE + b"\0" * 11_000_000), KLING, ("bytes as sent; the model takes at most 10,485,760",)),
    "27 a format the model does not take": (one(data=picture(300, 300, kind="WEBP")), KLING, ("is WEBP; the model takes JPEG, PNG",)),
    "28 a bomb": (one(data=png(60_000, 60_000)), {}, ("3,600,000,000 pixels",)),
    "28 1x1": (one(data=picture(1, 1)), {}, ("is 1x1 pixels: there is nothing to edit",)),
    "28 0 wide": (one(data=png(0, 9)), {}, ("has no pixels (0x9)",)),
    "29 mask missing": (one(), masked(), ("data/a.png: its mask masks/a.png is not there",)),
    "29 mask of another size": (several(one(data=picture()), one("masks/a.png", picture(20, 10))), masked(), ("its mask masks/a.png is 20x10, the picture 40x30",)),
    "29 mask of alpha alone": (several(one(data=picture()), one("masks/a.png", encoded(ALPHA))), masked(), ("transparency alone; in a mask white is edited",)),
    "29 mask no picture": (several(one(), one("masks/a.png", b"<html><body>")), masked(), ("its mask masks/a.png is an HTML page",)),
    "29 a model without masks": (several(one(data=SQUARE), one("masks/a.png", picture(300, 300))), masked() | KLING, ("m.yaml:4:", "kling-v1 takes no mask")),
    "30 too many pictures": (several(one(data=SQUARE), one("r.png", SQUARE)), glob("data/*", images=["r.png"]) | KLING, ("takes 1 to 1 pictures in `image`, and would be sent 2",)),
    "30 an unknown field": (one(), model({}, images="pictures"), ("takes no pictures in `pictures`",)),
    "31 a file where URLs belong": (one(data=SQUARE), URLS_ONLY, ("data/a.png: kling-v2: is a file, and the model takes public URLs only: publish it",)),
    "34 no table": (one(), OF_TABLE, ("t.csv: the table is not there",)),
    "34 no image column": (table("file,x\na.png,1\n"), OF_TABLE, ("t.csv:1:1: has no column `image` (it has: file, x)",)),
    "34 semicolons": (table("image;x\na.png;1\n"), OF_TABLE, ("separated by semicolons",)),
    "34 a ragged row": (table("image,x\na.png,1\nb.png\n"), OF_TABLE, ("t.csv:3:2: the row has 1 cells, the header 2",)),
    "34 an empty cell": (table("image,x\n,1\n"), OF_TABLE, ("t.csv:2:1: the cell `image` is empty",)),
    "34 an empty cell that is used": (table("image,x\na.png,\n"), OF_TABLE | {"prompts": "a {x}"}, ("t.csv:2:2: the cell `x` is empty, and it is used",)),
    "34 a bad JSON line": (table('{"image":"a.png"}\n{"image":\n', "t.jsonl"), {"inputs": [{"table": "t.jsonl"}], "prompts": "x"}, ("t.jsonl:2:", "the line is not JSON")),
    "34 a nested cell as a variable": (table('{"image":"a.png","x":[1]}\n', "t.jsonl"), {"inputs": [{"table": "t.jsonl"}], "prompts": "{x}"}, ("`{x}` in prompt `p` is not known",)),
    "34 latin-1": (table("image,x\na.png,café\n".encode("latin-1")), OF_TABLE, ("t.csv:2:10: is not UTF-8: byte 0xe9",)),
    "34 UTF-16": (table("image\na.png\n".encode("utf-16")), OF_TABLE, ("is UTF-16",)),
    "34 1M columns": (table("image" + ",c" * 10**6), OF_TABLE, ("t.csv:1:1: has 1,000,001 columns",)),
    "34 a column twice": (table("image,x,x\na.png,1,2\n"), OF_TABLE, ("t.csv:1:3: two columns are named `x`",)),
    "34 a broken quote": (table('image,x\na.png,"1\n'), OF_TABLE, ("t.csv:", "is not CSV from here on")),
    "34 nothing in it": (table(""), OF_TABLE, ("t.csv:1:1: the table is empty",)),
    "34 not a table": (table("x", "t.xlsx"), {"inputs": [{"table": "t.xlsx"}]}, ("t.xlsx: is no table by its name",)),
    "34 not Parquet": (table("PAR1", "t.parquet"), {"inputs": [{"table": "t.parquet"}]}, ("t.parquet: cannot be read as Parquet",)),
    "34 a URL of another scheme": (table("image\nfile:///etc/passwd\n"), OF_TABLE, ("t.csv:2:1: `file:", "is no http or https URL")),
    "34 a URL with credentials": (one("u.txt", b"https://me:pw@a.example/x.png\n"), {"inputs": [{"urls": "u.txt"}], "prompts": "x"}, ("u.txt:1:1: `https://a.example/x.png` holds credentials",)),
    "35 an undefined variable": (one(), {"prompts": "a {stm}"}, ("m.yaml:6:", "`{stm}` in prompt `p` is not known", "stem", "known: ")),
    "35 the index in a prompt": (one(), {"prompts": "a {index}"}, ("known in `output.path` alone",)),
    "35 an attribute": (one(), {"prompts": "a {stem.x}"}, ("m.yaml:6:", "attributes are not supported", "at column 3")),
    "35 an index": (one(), {"prompts": "{stem[0]}"}, ("indexes are not supported",)),
    "35 a conversion": (one(), {"prompts": "{stem!r}"}, ("conversions are not supported",)),
    "35 a format spec": (one(), {"prompts": "{stem:>9999}"}, ("format specs are not supported",)),
    "35 a mask's unknown column": (one(), masked("masks/{animal}.png"), ("`{animal}` in `mask` is not a column", "known here: stem")),
    "36 blank once rendered": (table('image,x\na.png,"""  """\n'), OF_TABLE | {"prompts": [{"id": "p", "template": "{v}", "variables": {"v": " "}}]}, ("prompt `p` is blank once rendered", "a.png")),
    "36 too long": (one(data=SQUARE), KLING | {"prompts": "{stem}" + "长" * 2500}, ("prompt `p` is too long once rendered: the model takes 2,500 characters",)),
    "36 a NUL": (table("image,x\na.png,b\0c\n"), OF_TABLE | {"prompts": "a{x}"}, ("holds a NUL character at 3",)),
    "36 a prompt's file not UTF-8": (several(one(), one("p.txt", b"caf\xe9")), {"prompts": [{"file": "p.txt"}]}, ("p.txt is not UTF-8 (byte 3)",)),
    "36 a prompt's file missing": (one(), {"prompts": [{"file": "p.txt"}]}, ("p.txt is not there",)),
    "37 ids that meet": (one(), {"prompts": [{"id": "a", "template": "{v}", "variables": {"v": ["b"]}}, {"id": "a.b", "template": "x"}]}, ("two prompts have the id `a.b`",)),
    "38 an unknown name": (one(), {"output": {"path": "{stm}-{index}"}}, ("`{stm}` is not known in `output.path`", "known: stem")),
    "38 no index": (one(), model({"n": 2}) | {"output": {"path": "{stem}"}}, ("makes 2 pictures of a source, all with one path", "add {index}")),
    "38 not unique": (several(one("data/x/a.png"), one("data/y/a.png")), {"output": {"path": "{stem}-{index}"}}, ("data/x/a.png", "and data/y/a.png", "would go to one path")),
    "38 but for case": (several(one("data/A.png"), one("data/a.png")), {}, ("data/A.png", "data/a.png", "would go to one path")),
    "38 but for Unicode form": (several(one("data/caf\u00e9.png"), one("data/cafe\u0301.png")), {}, ("would go to one path",)),
    "38 but for the suffix": (several(one("data/a.png"), one("data/a.jpg", picture(kind="JPEG"))), {"output": {"path": "{parent}/{stem}-{index}"}}, ("data/a.jpg", "data/a.png", "would go to one path")),
    "38 by the index": (several(one("data/a.png"), one("data/a1.png")), model({"n": 10}) | {"output": {"path": "{stem}{index}"}, "run": {"repeat": 2}}, ("would go to one path",)),
    "38 a column some sources lack": (several(table("image,x\na.png,1\n"), one("data/b.png")), {"inputs": [{"table": "t.csv"}, {"glob": "data/*"}], "output": {"path": "{x}-{index}"}, "prompts": "x"}, ("`{x}` is not a column of every source",)),
}
WARNINGS: dict[str, tuple[Make, Parts, tuple[str, ...]]] = {
    "12 not yet supported": (one(), model({"quality": "hd"}), ("warning: gemini-2.5-flash-image does not support `quality` yet", "sent all the same")),
    "12 a model that is not known": (one(), model({"x": 1}, "gemini-2.5-flash-imagee"), ("is not in the table of known models", "did you mean")),
    "22 extension and bytes disagree": (one("data/a.jpg", picture()), {}, ("is named .jpg but is PNG by its bytes", "data/a.jpg")),
    "26 EXIF rotation": (one("data/a.jpg", oriented(6)), {}, ("orientation 6", "sent as it stands", "apply_orientation: true")),
    "29 mask all black": (several(one(data=picture()), one("masks/a.png", encoded(GREY))), masked(), ("a mask is all black", "masks/a.png")),
    "32 the same picture twice": (several(one("data/a.png", picture()), one("data/b.png", picture())), {"prompts": "x"}, ("are paid for once", "data/b.png as data/a.png")),
    "32 the same prompt twice": (one(), {"prompts": [{"id": "p", "template": "x"}, {"id": "q", "template": "x"}]}, ("is planned once",)),
    "35 an unused variable": (one(), {"prompts": [{"id": "p", "template": "x", "variables": {"v": ["a", "b"]}}]}, ("m.yaml:", "the variable `v` is not used in prompt `p`")),
    "a sample larger than there is": (one(), glob("data/*", sample={"count": 9}), ("asks for 9 sources, there are 1",)),
}
# fmt: on


def everything_said(plan: Plan) -> str:
    """Problems and bad sources, a line each, as the commands print them."""
    bad = "\n".join(f"{each.source}: {each.reason}" for each in plan.bad_sources)
    return f"{said(plan.problems)}\n{bad}"


@pytest.mark.parametrize("case", ERRORS)
def test_bad_input_is_told_with_its_place_and_remedy(case: str, studio: Studio) -> None:
    """Each row is an error of the plan: the run is refused, with everything said at once."""
    make, parts, fragments = ERRORS[case]
    make(studio)
    told = everything_said(studio.plan(**parts))
    assert [each for each in fragments if each not in told] == [], told


@pytest.mark.parametrize("case", WARNINGS)
def test_doubtful_input_is_warned_about_and_planned(case: str, studio: Studio) -> None:
    """A warning stops nothing: there are jobs all the same."""
    make, parts, fragments = WARNINGS[case]
    make(studio)
    plan = studio.plan(**parts)
    assert jobs(plan)
    told = said(plan.warnings)
    assert [each for each in fragments if each not in told] == [], told


def test_everything_wrong_is_said_at_once(studio: Studio) -> None:
    """A bad option, a bad template, a bad table and a bad picture: four things in one go."""
    studio.make("data/a.png", b"")
    told = everything_said(
        studio.plan(
            inputs=[{"glob": "data/*"}, {"table": "none.csv"}],
            prompts="{stem.x}",
            **model({"nn": 1}),
        )
    )
    for fragment in ("is empty", "none.csv", "attributes", "no option `nn`"):
        assert fragment in told


def test_a_prompts_names_are_checked_though_no_source_is_good(studio: Studio) -> None:
    """One round of mending is enough: bad options and bad pictures hide no bad prompt."""
    studio.make("data/a.png", b"")
    told = everything_said(studio.plan(prompts="a {animl}", **model({"nn": 1})))
    for fragment in ("is empty", "`{animl}` in prompt `p` is not known;", "no option `nn`"):
        assert fragment in told


def test_nothing_a_file_is_named_breaks_a_message(studio: Studio) -> None:
    """Control and bidi characters of names are shown, not obeyed; bytes that are no UTF-8 too."""
    studio.make("data/a\n\x1b[31m\u202egnp.png", b"")
    os.close(os.open(os.fsencode(studio.folder) + b"/data/b\xff.png", os.O_CREAT))
    told = everything_said(studio.plan())
    assert not set(told) & {"\x1b", "\u202e", "\udcff"}
    assert "its name is not UTF-8" in told


@pytest.mark.parametrize("size", [(300, 300), (750, 300), (300, 750)])
def test_the_limits_themselves_pass(size: tuple[int, int], studio: Studio) -> None:
    """300 px and 2.50:1 are allowed, in both directions (row 27)."""
    studio.make("data/a.png", picture(*size))
    assert len(jobs(studio.plan(models="kling-v1"))) == 1
