"""What may be in a set that should not, and how somebody is taken out of it."""

from __future__ import annotations

from lockstep.sources.cards.subject import Subject, table

_DRAWN = (
    "All images are drawn by the project's own code: there is nobody in them, and nobody else's "
    "picture."
)
_AFTER = (
    "What was published or trained before stays as it is: publish and train anew, and tell those "
    "who have a copy."
)


def risks(subject: Subject) -> str:
    """A table of what may be there, what was done about it, and what was not."""
    if subject.is_drawn:
        return _DRAWN
    values = subject.values
    bits = values.get("source.duplicate_bits")
    excluded = f"who is named in `exclude.txt` is out, with {_copies(subject)}"
    rows = [
        (
            "people who did not agree",
            _consent(subject),
            "Lockstep asks nobody, and recognises nobody",
        ),
        ("minors", excluded if subject.excludes else "nothing", "no age is estimated"),
        ("private pictures, nudity, violence", "nothing", "what an image shows is not judged"),
        ("others' works, watermarks, logos, captions", "nothing", "none is looked for"),
        (
            "copies of one picture",
            ("of equal files one is kept" if subject.is_downloaded else "nothing")
            if bits is None
            else f"of equal files, and of images alike but for {bits} of 256 bits, one is kept",
            "mirrored, turned and closely cropped copies are not found",
        ),
    ]
    if "source.detector" in values:
        rows.append(
            (
                "some faces more often than others",
                "nothing",
                f"the detector ({values['source.detector']}) and the rules on colour, pose and "
                "sharpness may leave out more of some people than of others; it is not measured",
            )
        )
    where = "one board's authors" if subject.is_of_board else "whoever gathered them"
    rows.append(("a bias of the source", "nothing", f"they show what {where} chose to show"))
    return table(("what", "what was done", "what was not"), rows)


def _copies(subject: Subject) -> str:
    """What goes with an excluded image."""
    return "copies of the image" if subject.chooses else "files of the same bytes"


def _consent(subject: Subject) -> str:
    done = []
    if subject.is_downloaded:
        respected = subject.values["download.respect_opt_outs"]
        done.append(
            "what robots.txt or X-Robots-Tag keeps out was "
            + ("not taken" if respected else "taken (`download.respect_opt_outs` was false)")
        )
    if subject.excludes:
        done.append(f"who is named in `exclude.txt` is out, with {_copies(subject)}")
    return "; ".join(done) or "nothing"


def removal(subject: Subject) -> str:
    """How somebody is taken out, in Markdown."""
    if subject.is_drawn:
        return "There is nobody to be taken out."
    ask = f"Write to {subject.said.contact or '**(to be filled in)**'}. "
    if not subject.excludes:
        return (
            f"{ask}Whoever runs Lockstep removes the image and what names it from the folder above "
            f"and runs `lockstep add` and `dvc repro`. {_AFTER}"
        )
    if subject.is_of_board:
        named = "the address of the image, its article, its author, or the SHA-256 of its file"
    elif subject.is_downloaded:
        named = "the address of the image, or the SHA-256 of its file"
    else:
        named = "the SHA-256 of the image's file, or `source:path` as `decisions.csv` has them"
    alike = "images that look like it" if subject.chooses else "files of the same bytes"
    return (
        f"{ask}Whoever runs Lockstep writes a line into `exclude.txt` ({named}) and runs "
        f"`dvc repro`: the image, and {alike}, leave this set and all that is made of it. {_AFTER}"
    )
