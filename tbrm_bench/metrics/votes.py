"""maj@k: the score of the answer that most of a question's k samples give.

Source: Wang et al. 2022, "Self-Consistency Improves Chain of Thought Reasoning", arXiv 2203.11171. Answers that are
mathematically equal form one class and vote together; a sample without a final answer does not vote. When several
classes share the most votes one of them is drawn uniformly, and we return the expected score of that draw, so the
number does not depend on the order of the samples.

Example: the answers 12, 12.0, 7, 7, none, with 12 correct: two classes of 2 votes tie, the score is 1/2.

The score of a class is the share of its votes that were graded correct. This is 0 or 1 wherever the grader and the
equivalence of answers agree; they may not when a task grades with a tolerance, which is not an equivalence relation.
"""

import numpy as np
from numpy.typing import ArrayLike


def majority_score(class_votes: ArrayLike, class_correct: ArrayLike) -> float:
    """Return the expected score of the majority answer of one question, in [0, 1].

    `class_votes` (C,) holds the votes of each answer class, `class_correct` (C,) how many of these were graded correct.
    A question on which no sample voted scores 0: the model was asked and gave no answer, which is defined, not NaN.
    Raises ValueError unless 0 <= class_correct <= class_votes and every class has a vote.
    """
    votes, correct = np.asarray(class_votes, np.int64), np.asarray(class_correct, np.int64)
    if votes.shape != correct.shape or np.any((correct < 0) | (correct > votes) | (votes < 1)):
        raise ValueError("every answer class needs at least one vote and between 0 and all of its votes correct")
    if not votes.size:
        return 0.0
    top = votes == votes.max()
    return float(np.mean(correct[top] / votes[top]))
