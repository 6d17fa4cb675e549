"""Print the built book as one PDF: _build/book.pdf.

    python tools/print_book.py [SITE] [--out FILE]

SITE is the folder with the pages of the last `make book` (default: _build/html). What was executed
and checked there is what is printed: the pages are put one after the other, with a contents page
and solutions at the end of each chapter, and Chromium prints them after MathJax has set the
formulas. It prints twice, because page numbers are known only afterwards.
"""

import argparse
import html
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path, PurePosixPath

import yaml
from bs4 import BeautifulSoup, Tag

ROOT = Path(__file__).resolve().parent.parent
CHROMIUM = (os.environ.get("CHROME_PATH", "chromium"), "chromium-browser", "google-chrome")
WHOLE = 18  # lines: shorter code is never cut by the end of a page
UNFINISHED = "unfinished: the formulas are not set"  # the title until MathJax is done
SCREEN_ONLY = (
    "script, style, button, input, select, canvas, .headerlink, .viewcode-link, .toctree-wrapper, "
    ".d-print-none, p.collapsed, p.expanded, p:has(img[src$='/colab.svg'])"
)


def pages(toc: Path) -> list[tuple[str, str]]:
    """(caption of the part or "", page without suffix) in reading order, from _toc.yml."""
    contents = yaml.safe_load(toc.read_text())
    found = [("", contents["root"])]
    for part in contents["parts"]:
        found += [(part["caption"], chapter["file"]) for chapter in part["chapters"]]
    return [(caption, re.sub(r"\.(ipynb|md)$", "", page)) for caption, page in found]


def anchor(page: str, fragment: str = "") -> str:
    """The id in the printed book of a page, or of a place on it: ids repeat between pages."""
    stem = PurePosixPath(page).name
    return f"{stem}--{fragment}" if fragment else stem


def localise(article: Tag, page: str, known: set[str], site: Path) -> None:
    """Make ids unique, links between pages internal, and pictures absolute."""
    for tag in article.find_all(id=True):
        tag["id"] = anchor(page, tag["id"])
    for picture in article.find_all("img", src=True):
        picture["src"] = ((site / page).parent / picture["src"]).resolve().as_uri()
        if picture.parent.name == "a":
            picture.parent.unwrap()
    for link in article.find_all("a", href=True):
        if re.match(r"[a-z]+:", link["href"]):
            continue
        path, _, fragment = link["href"].partition("#")
        target = ((site / page).parent / path).resolve() if path else (site / page)
        name = target.with_suffix("").relative_to(site).as_posix()
        if name in known:
            link["href"] = f"#{anchor(name, fragment)}"
        else:  # an index or a source listing, which only the site has
            link.unwrap()


def reference(soup: BeautifulSoup, target: str, text: str = "") -> Tag:
    """A link whose page number is filled in after the first printing."""
    link = soup.new_tag("a", href=f"#{target}", **{"class": "page-of"})
    link.append(text)
    link.append(soup.new_tag("span", **{"class": "page", "data-target": target}))
    return link


def move_solutions(soup: BeautifulSoup, article: Tag, page: str) -> None:
    """Move what is folded away under Exercises to a section at the end of the chapter."""
    exercises = article.find("section", id=anchor(page, "exercises"))
    folded = exercises.find_all("details") if exercises else []
    if not folded:
        return
    section = soup.new_tag("section", id=anchor(page, "solutions"), **{"class": "solutions"})
    section.append(heading := soup.new_tag("h2"))
    heading.append("Solutions")
    last, count = None, 0
    for details in folded:
        title = details.find_parent("section").find(re.compile("h[23]"))
        target = f"{title.parent['id']}--solution"
        if title is not last:
            section.append(heading := soup.new_tag("h3", id=target))
            heading.append("Remarks" if title.name == "h2" else title.get_text())
            last, count = title, 0
            if title.name == "h3":
                title.append(" ")
                kind = "answers" if title.parent["id"].endswith("--questions") else "solution"
                title.append(reference(soup, target, f"{kind} on page "))
        summary, cell = details.summary.extract(), details.find_parent("div", class_="cell")
        if cell is None:
            count += 1
            label = summary.get_text(strip=True)
            section.append(note := soup.new_tag("p", **{"class": "label"}))
            note.append(f"{label} {count}" if label == "Answer" else label)
        details.name = "div"
        details["class"] = "cell solution" if cell else "solution"
        section.append(details.extract())
        if cell and not cell.find(True):
            cell.decompose()
    article.append(section)


def printable(page: str, known: set[str], site: Path) -> Tag:
    """The article of one page of the site, made ready for paper."""
    file = site / f"{page}.html"
    if not file.exists():
        sys.exit(f"{file} does not exist: run `make book` first.")
    soup = BeautifulSoup(file.read_text(), "html.parser")
    article = soup.find("article")
    for tag in article.select(SCREEN_ONLY):
        tag.decompose()
    localise(article, page, known, site)
    move_solutions(soup, article, page)
    for details in article.find_all("details"):  # what the site folds elsewhere is printed open
        if "hide" in details.get("class", []):
            details.summary.decompose()
        else:
            details.summary.name = "p"
            details.find("p")["class"] = "label"
        details.name = "div"
        del details["class"]
    for code in article.find_all("pre"):
        if code.get_text().count("\n") <= WHOLE:
            code["class"] = "whole"
    number = re.match(r"\d\d(?=_)", anchor(page))
    if number:
        label = soup.new_tag("span", **{"class": "number"})
        label.append(f"Chapter {number[0]}")
        article.h1.insert(0, label)
    article["id"] = anchor(page)
    article["class"] = "chapter"
    article["style"] = f"page: {page_name(page)}"
    return article


def page_name(page: str) -> str:
    """The name of the kind of paper that carries this page's running head."""
    return "p-" + anchor(page)


def title_of(article: Tag) -> str:
    """The title without the line above it."""
    return "".join(t for t in article.h1.strings if t.parent.get("class") != ["number"]).strip()


def contents_of(articles: list[tuple[str, str, Tag]]) -> str:
    """The contents page as HTML: parts, chapters, sections, each with a place for its page."""
    lines, part = ["<nav><h1>Contents</h1>"], ""

    def line(kind: str, target: str, text: str) -> str:
        number = f'<span class="page" data-target="{target}"></span>'
        return f'<a class="{kind}" href="#{target}"><span>{html.escape(text)}</span>{number}</a>'

    for caption, page, article in articles:
        if caption != part:
            lines.append(f"<h2>{html.escape(caption)}</h2>")
            part = caption
        number = re.match(r"\d\d(?=_)", anchor(page))
        title = f"{number[0]} {title_of(article)}" if number else title_of(article)
        lines.append(line("chapter", anchor(page), title))
        for heading in article.find_all("h2"):
            if heading.get_text() in ("What we saw", "References"):  # every chapter has them
                continue
            lines.append(line("section", heading.parent["id"], heading.get_text().strip()))
    return "\n".join([*lines, "</nav>"])


def document(site: Path, toc: Path) -> BeautifulSoup:
    """The whole book as one HTML page, page numbers still open."""
    order = pages(toc)
    known = {page for _, page in order}
    articles = [(caption, page, printable(page, known, site)) for caption, page in order]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    static = site / "_static"
    heads = ""  # each page carries the title of its chapter
    for _, page, article in articles:
        head = json.dumps(title_of(article), ensure_ascii=False)
        heads += f"@page {page_name(page)} {{ @top-left {{ content: {head} }} }}\n"
    title = title_of(articles[0][2])
    text = (ROOT / "tools" / "print_book.html").read_text()
    for name, value in {
        "TITLE": html.escape(title),
        "UNFINISHED": UNFINISHED,
        "VERSION": project["version"],
        "BOOK": project["urls"]["Book"],
        "STYLE": (static / "pygments.css").read_text() + heads,
        "MATHJAX": (static / "vendor/mathjax/tex-mml-chtml.js").as_uri(),
        "CONTENTS": contents_of(articles),
        "ARTICLES": "\n".join(str(article) for _, _, article in articles),
    }.items():
        text = text.replace(f"%{name}%", value)
    return BeautifulSoup(text, "html.parser")


def tool(*names: str, package: str) -> str:
    """The path of the first of these programs that is installed."""
    path = next(filter(None, map(shutil.which, names)), None)
    if path is None:
        sys.exit(f"{package} is not installed: on Debian, `apt install {package}`.")
    return path


def print_page(page: Path, pdf: Path) -> dict[str, int]:
    """Print an HTML file with Chromium; the page on which each linked place stands."""
    with tempfile.TemporaryDirectory() as profile:
        command = [tool(*CHROMIUM, package="chromium"), "--headless", "--disable-gpu"]
        # The sandbox guards against strangers' pages and cannot start in every container.
        command += ["--no-sandbox", f"--user-data-dir={profile}", "--no-pdf-header-footer"]
        command += ["--generate-pdf-document-outline", "--virtual-time-budget=600000"]
        command += [f"--print-to-pdf={pdf}", page.as_uri()]
        done = subprocess.run(command, capture_output=True, text=True, timeout=900)
    info = tool("pdfinfo", package="poppler-utils")
    if done.returncode or not pdf.exists():
        sys.exit(f"Chromium printed nothing:\n{done.stderr[-2000:]}")
    about = subprocess.run([info, pdf], capture_output=True, text=True, check=True).stdout
    if UNFINISHED in about:
        sys.exit("MathJax did not finish: the printed book would lack its formulas.")
    places = subprocess.run([info, "-dests", pdf], capture_output=True, text=True, check=True)
    return {name: int(at) for at, name in re.findall(r'^ *(\d+) .*"(.*)"$', places.stdout, re.M)}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("site", nargs="?", type=Path, default=ROOT / "_build" / "html")
    parser.add_argument("--out", type=Path, default=ROOT / "_build" / "book.pdf")
    options = parser.parse_args(arguments)
    site, out = options.site.resolve(), options.out.resolve()
    if not site.is_dir():
        sys.exit(f"{site} does not exist: run `make book` first.")
    tool(*CHROMIUM, package="chromium"), tool("pdfinfo", package="poppler-utils")
    soup = document(site, ROOT / "_toc.yml")
    page = out.with_suffix(".html")
    page.parent.mkdir(parents=True, exist_ok=True)
    for _ in range(2):  # the second time with the page numbers of the first
        page.write_text(str(soup))
        places = print_page(page, out)
        for number in soup.select(".page[data-target]"):
            number.string = str(places[number["data-target"]])
    print(f"{out}: {out.stat().st_size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
