"""How like an answer is to the true one: pure functions of two texts."""

from __future__ import annotations

from collections import Counter


def exact_match(answer: str, truth: str) -> bool:
    """Are they equal, white space at the ends aside?"""
    return answer.strip() == truth.strip()


def char_error_rate(answer: str, truth: str) -> float:
    """Character error rate: least insertions, deletions and substitutions ÷ the truth's characters.

    White space at the ends is no part of either. 0 is equal; above 1 when the answer is much longer.
    Of an empty truth it is 0 for an empty answer, else 1.
    """
    answer, truth = answer.strip(), truth.strip()
    if not truth:
        return float(bool(answer))
    return edit_distance(answer, truth) / len(truth)


def length_ratio(answer: str, truth: str) -> float | None:
    """The answer's characters ÷ the truth's, white space at the ends aside; None for an empty truth."""
    return len(answer.strip()) / len(truth.strip()) if truth.strip() else None


def word_overlap(answer: str, truth: str) -> float:
    """How much of their words they share: 2 · shared ÷ (words of one + words of the other), 0 to 1.

    This is the F1 of words that SQuAD uses (Rajpurkar et al. 2016): a word counts as often as it stands
    in both; case is ignored, punctuation is not. Two empty texts share all, 1.
    """
    ours, theirs = Counter(answer.casefold().split()), Counter(truth.casefold().split())
    total = ours.total() + theirs.total()
    return 2 * (ours & theirs).total() / total if total else 1.0


def edit_distance(one: str, other: str) -> int:
    """Levenshtein distance, with a column of the table as the bits of two integers.

    Myers (1999) as simplified by Hyyrö (2003): O(len(one) · len(other) / word size).
    """
    if not other:
        return len(one)
    places: dict[str, int] = {}
    for at, character in enumerate(other):
        places[character] = places.get(character, 0) | 1 << at
    last, whole = 1 << len(other) - 1, (1 << len(other)) - 1
    rises, falls, distance = whole, 0, len(other)
    for character in one:
        equal = places.get(character, 0)
        diagonal = (((equal & rises) + rises) ^ rises) | equal | falls
        right_rises, right_falls = falls | ~(diagonal | rises) & whole, rises & diagonal
        distance += bool(right_rises & last) - bool(right_falls & last)
        right_rises = (right_rises << 1 | 1) & whole
        rises = (right_falls << 1 | ~(diagonal | right_rises)) & whole
        falls = right_rises & diagonal
    return distance
