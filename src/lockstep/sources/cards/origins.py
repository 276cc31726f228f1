"""Where a set comes from, and from when."""

from __future__ import annotations

from lockstep.sources.cards.subject import Subject, plain


def origin(subject: Subject) -> str:
    """One or two paragraphs of Markdown."""
    if subject.is_of_board:
        return _of_board(subject)
    if subject.is_downloaded:
        return _of_table(subject)
    if subject.paths:
        return _of_paths(subject)
    values = subject.values
    return (
        f"Drawn by Lockstep's ray-caster: {values['source.count']:,} scenes of the seed "
        f"{values['source.seed']}. The same values draw the same images."
    )


def _of_board(subject: Subject) -> str:
    values = subject.values
    board, source = plain(values["crawl.board"]), plain(values["crawl.source"])
    if subject.is_replica:
        text = (
            f"The board {board} of Lockstep's replica of a web board, with portraits that the "
            f"project draws ({values['crawl.replica_articles']:,} articles of the seed "
            f"{values['crawl.replica_seed']})."
        )
    else:
        text = f"The board {board} of {source}."
    pushes = values["crawl.min_pushes"]
    chosen = "" if pushes is None else f", with {pushes} pushes at least"
    replies = "with" if values["crawl.replies"] else "without"
    return (
        f"{text} Articles of {values['crawl.start']} to {values['crawl.end']}, both days in Taipei "
        f"and both included, {replies} replies{chosen}; announcements are out. Of each image it is "
        "noted which article or push names it (`manifest.jsonl` of the download).\n\n"
        "These are the days on which the articles were written. When the images were fetched is "
        "not noted."
    )


def _of_table(subject: Subject) -> str:
    values = subject.values
    column, text = values["crawl.column"], values["crawl.text_column"]
    place = "" if column is None else f" in the column {plain(column)} of a table,"
    sentences = "" if text is None else f", with the sentences in the column {plain(text)}"
    return (
        f"Downloaded from the addresses{place or ' in a text,'} "
        f"{plain(values['crawl.table'])}, SHA-256 `{values['crawl.table_sha256']}`{sentences}. "
        "Which address gave which image is noted (`manifest.jsonl` of the download), when it did "
        "is not.\n\n"
        "Where the table comes from, and from when, is for whoever made it to say, in the table "
        "above."
    )


def _of_paths(subject: Subject) -> str:
    lines = []
    for name, sha256 in zip(subject.paths, subject.hashes, strict=True):
        if sha256 is None:
            values = subject.values
            lines.append(
                f"- two archives of heads that Lockstep draws ({values['source.synthetic_count']:,}"
                f" of the seed {values['source.synthetic_seed']})"
            )
        else:
            lines.append(f"- {plain(name)}, SHA-256 `{sha256}`")
    if subject.is_drawn:
        return "\n".join(lines)
    return (
        "\n".join(lines) + "\n\nWhere these come from, and from when, is for whoever gathered them "
        "to say, in the table above."
    )
