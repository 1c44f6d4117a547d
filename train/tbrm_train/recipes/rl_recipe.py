"""A recipe of kind `rl`: reinforcement learning of a policy on problems with checkable answers. One TOML file.

    tbench train train/recipes/tiny-tbrm.toml output=/tmp/run optimizer.steps=50

The types; `rl_rules` reads and checks them. docs/train.md explains every key. Example, cut short:

    kind = "rl"
    output = "runs/tiny-tbrm"
    model = "builtin:tiny"
    [algorithm]
    name = "tbrm"
    beta = 0.1
"""

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Lt

from tbrm_bench.config import Count, NotNegative, Positive, Seed, Share, Spelt, Text
from tbrm_bench.prompts.protocol import MIN_TEMPERATURE
from tbrm_bench.records import AnswerKind
from tbrm_bench.weights import dtype_name
from tbrm_train.algorithms import ALGORITHMS
from tbrm_train.algorithms.signals import Coefficients, Needs
from tbrm_train.recipes.sft_recipe import Beta

# Rollout engines round logits to their dtype, in bfloat16 by steps of 0.125 at a logit of 20; trainers do not.
PROBE_TOLERANCE = {"float32": 0.01, "bfloat16": 0.05}


@dataclass(frozen=True, slots=True)
class Rows:
    """Prompts of your own: rows of the Hub or of a folder, and the columns to read.

    A column may be a path into nested values, `prompt.0.content`. Prefix and suffix are stripped from each question.
    """

    question: str
    answer: str
    repo: str = ""
    config: str | None = None
    split: str = "train"
    revision: str = "main"
    files: tuple[str, ...] = ()
    question_prefix: str = ""
    question_suffix: str = ""
    gold_rule: str = "latex"
    answer_kind: AnswerKind = "auto"


@dataclass(frozen=True, slots=True)
class Prompts:
    """Where prompts come from. `validation` of them are held out of training to measure progress.

    `seed` decides generated questions and the held-out set (the recipe's seed). `bad_golds`: what to do with questions
    whose gold cannot be trained on (see `gold_check`).
    """

    source: Text
    protocol: str
    num_prompts: Count | None = None
    validation: Annotated[int, Ge(0)] = 64
    data_dir: str | None = None
    rows: Rows | None = None
    seed: Seed | None = None
    bad_golds: Literal["refuse", "leave_out"] = "refuse"
    options: dict[str, dict[str, Any]] = field(default_factory=dict)  # per reasoning-gym dataset


@dataclass(frozen=True, slots=True)
class Rollout:
    """How trajectories are sampled; `max_tokens` are new ones. top-p is always 1: losses need all of the policy."""

    prompts_per_step: Count
    samples_per_prompt: Count
    max_tokens: Count
    engine: Literal["vllm", "hf"] = "vllm"
    temperature: Annotated[float, Ge(MIN_TEMPERATURE)] = 1.0  # the lowest that vLLM samples at
    probe_tolerance: Positive | None = None  # nats per token; by default PROBE_TOLERANCE of the dtype
    max_num_seqs: Count | None = None
    gpu_memory: Annotated[float, Gt(0), Lt(1)] = 0.4


@dataclass(frozen=True, slots=True)
class Rewards:
    """A correct answer earns 1, any other 0. `shuffle` and `flip` are controls that must not learn.

    `strict_boxed`: only a box holds an answer, whatever the protocol says; `answer_tags`: so do `<answer>` tags.
    """

    strict_boxed: bool = True
    answer_tags: bool = False
    shuffle: bool = False
    flip: bool = False
    workers: Count = 1
    time_limit_s: Positive = 5.0
    max_failed_share: Share = 0.2


@dataclass(frozen=True, slots=True)
class Optimizer:
    """AdamW; `steps` counts batches of rollouts. The critic of PPO has its own rate.

    `parameters`: which are trained, all or the vectors alone, gains and biases (BitFit, arXiv 2106.10199: biases only).
    """

    steps: Count
    learning_rate: NotNegative  # 0 is a control that must not learn
    parameters: Literal["all", "vectors"] = "all"
    critic_learning_rate: Positive = 1e-5
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    warmup_steps: Annotated[int, Ge(0)] = 0
    weight_decay: NotNegative = 0.0
    betas: tuple[Beta, Beta] = (0.9, 0.999)
    eps: Positive = 1e-8
    max_grad_norm: Positive = 1.0


@dataclass(frozen=True, slots=True)
class DeepSpeed:
    """The training engine. `micro_batch_tokens` is the maximum number of tokens per forward pass."""

    zero_stage: Literal[0, 1, 2, 3] = 1
    dtype: Annotated[Literal["float32", "bfloat16"], Spelt(dtype_name)] = "bfloat16"
    micro_batch_tokens: Count = 16384
    gradient_checkpointing: bool = False
    offload: bool = False
    num_threads: Count | None = None


@dataclass(frozen=True, slots=True)
class Checkpoints:
    """Written every N steps and after the last one; the best on validation is kept as well as the last ones.

    `push_to` is a Hub repository that each checkpoint is pushed to, in the background.
    """

    every: Count = 50
    keep_last: Count = 2
    push_to: str | None = None


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Validation every N steps (also before the first and after the last); tasks of the bench at every checkpoint."""

    every: Count | None = None
    samples: Count = 4
    tasks: tuple[str, ...] = ()
    protocol: str | None = None


@dataclass(frozen=True, slots=True)
class Budget:
    """Training ends after the first step that reaches one of these limits, at the latest after `optimizer.steps`."""

    generated_tokens: Count | None = None
    trained_tokens: Count | None = None
    seconds: Positive | None = None


@dataclass(frozen=True, slots=True)
class Logging:
    """metrics.jsonl is always written; these are copies of it."""

    tensorboard: bool = False
    wandb_project: str | None = None
    trackio_project: str | None = None


@dataclass(frozen=True, slots=True)
class RlRecipe:
    """Everything that decides a training."""

    kind: Literal["rl"]
    output: Text
    model: Text
    seed: Seed
    prompts: Prompts
    algorithm: Coefficients  # of the class that ALGORITHMS has for its name
    rollout: Rollout
    optimizer: Optimizer
    rewards: Rewards = Rewards()
    deepspeed: DeepSpeed = DeepSpeed()
    checkpoints: Checkpoints = Checkpoints()
    evaluation: Evaluation = Evaluation()
    logging: Logging = Logging()
    budget: Budget = Budget()

    @property
    def needs(self) -> Needs:
        """What the algorithm needs: models beside the policy, groups, updates per batch."""
        return ALGORITHMS[self.algorithm.name].needs(self.algorithm)

    @property
    def batch_size(self) -> int:
        """Trajectories per step, over all processes."""
        return self.rollout.prompts_per_step * self.rollout.samples_per_prompt

    @property
    def probe_tolerance(self) -> float:
        """The maximum mean difference of log-probabilities, in nats per token, between rollout engine and trainer."""
        chosen = self.rollout.probe_tolerance
        return PROBE_TOLERANCE[self.deepspeed.dtype] if chosen is None else chosen

    @property
    def data_seed(self) -> int:
        """The seed of the prompts and the validation split."""
        return self.seed if self.prompts.seed is None else self.prompts.seed
