"""Writes PPO fixtures from Stable-Baselines3 and PyTorch, on float32 inputs, in double precision.

    pip install stable-baselines3==2.9.2 torch==2.15.0 gymnasium==1.4.0 numpy==2.4.6
    python scripts/goldens/stable_baselines_goldens.py

tests/fixtures/ppo/stable_baselines.json holds
  gae       streams of control steps with several ends in them; advantages and returns by
            RolloutBuffer. A step that the time limit ended has had gamma times the final observation's
            value added to its reward, as OnPolicyAlgorithm.collect_rollouts does.
  train     batches with what PPO.train() itself logs and the gradients that it makes. Its policy is a
            stand-in whose log-probabilities, values and entropies are the parameters.
  losses    batches whose loss is written out below in PyTorch: what Stable-Baselines3 lacks (a ratio a
            token, asymmetric and dual clip, clipped values by the larger error, Huber, decoupled
            weights); gradients by autograd
  adamw     steps of torch.optim.AdamW, with decay on the matrix and none on the vector
  cosine    torch.optim.lr_scheduler.CosineAnnealingLR
"""

import json
import pathlib
import types

import gymnasium
import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.type_aliases import RolloutBufferSamples

OUT = (
    pathlib.Path(__file__).resolve().parents[2]
    / "tests"
    / "fixtures"
    / "ppo"
    / "stable_baselines.json"
)
LOGGED = (
    "loss",
    "policy_gradient_loss",
    "value_loss",
    "entropy_loss",
    "approx_kl",
    "clip_fraction",
)
BOX = gymnasium.spaces.Box(-1, 1, (1,))


def f32(x):
    """Numbers that float32 holds, in double precision."""
    return np.float32(x).astype(np.float64)


def tensor(x, requires_grad=False):
    return torch.tensor(np.asarray(x), dtype=torch.float64, requires_grad=requires_grad)


def gae_case(rng, gamma, lam, steps=24, envs=2):
    """Two robots side by side; every step may end an episode."""
    rewards, values, finals = (f32(rng.normal(0, 1, (steps, envs))) for _ in range(3))
    last_values = f32(rng.normal(0, 1, envs))
    ends = rng.choice(["", "", "", "", "terminal", "truncated"], (steps, envs))
    buffer = RolloutBuffer(steps, BOX, BOX, gamma=gamma, gae_lambda=lam, n_envs=envs)
    starts = np.ones(envs)
    for t in range(steps):
        given = rewards[t] + np.where(ends[t] == "truncated", gamma * finals[t], 0)
        empty = np.zeros((envs, 1))
        buffer.add(empty, empty, given, starts, torch.tensor(values[t]), torch.zeros(envs))
        # The buffer's own arrays are float32, too coarse for a reference.
        buffer.rewards = buffer.rewards.astype(np.float64)
        buffer.rewards[t] = given
        starts = ends[t] != ""
    for name in ("values", "advantages", "returns", "episode_starts"):
        setattr(buffer, name, getattr(buffer, name).astype(np.float64))
    buffer.compute_returns_and_advantage(torch.tensor(last_values), starts)
    return [
        {
            "gamma": gamma,
            "lambda": lam,
            "rewards": rewards[:, e].tolist(),
            "values": values[:, e].tolist(),
            "ends": ends[:, e].tolist(),
            "finalValues": np.where(ends[:, e] == "truncated", finals[:, e], 0).tolist(),
            "lastValue": float(last_values[e]),
            "advantages": buffer.advantages[:, e].tolist(),
            "returns": buffer.returns[:, e].tolist(),
        }
        for e in range(envs)
    ]


def draw_batch(rng, size, spread=0.3):
    old = rng.normal(-40, 8, size)
    return {
        "oldLogProb": f32(old),
        "logProb": f32(old + rng.normal(0, spread, size)),
        "entropy": f32(rng.uniform(0.5, 3, size)),
        "value": f32(rng.normal(0, 1, size)),
        "oldValue": f32(rng.normal(0, 1, size)),
        "advantage": f32(rng.normal(0, 1, size)),
        "valueTarget": f32(rng.normal(0, 3, size)),
    }


class StandIn(torch.nn.Module):
    """A policy whose answers are its parameters."""

    def __init__(self, batch):
        super().__init__()
        for name in ("logProb", "value", "entropy"):
            self.register_parameter(name, torch.nn.Parameter(tensor(batch[name])))
        # No step is wanted, but train() takes one.
        self.optimizer = torch.optim.SGD(self.parameters(), lr=0.0)

    def set_training_mode(self, _mode):
        pass

    def evaluate_actions(self, _observations, _actions):
        return self.value, self.logProb, self.entropy


class Buffer:
    """Gives one batch; has what train() reads besides."""

    def __init__(self, batch):
        self.values, self.returns = batch["oldValue"], batch["valueTarget"]
        empty = torch.zeros(len(self.values), 1)
        self.samples = RolloutBufferSamples(
            observations=empty,
            actions=empty,
            old_values=tensor(batch["oldValue"]),
            old_log_prob=tensor(batch["oldLogProb"]),
            advantages=tensor(batch["advantage"]),
            returns=tensor(batch["valueTarget"]),
        )

    def get(self, _batch_size):
        yield self.samples


def train_case(rng, size, clip_range, ent_coef, vf_coef):
    """One epoch over one batch by PPO.train() itself."""
    batch = draw_batch(rng, size)
    logged = {}
    ppo = PPO.__new__(PPO)
    ppo.policy = StandIn(batch)
    ppo.rollout_buffer = Buffer(batch)
    ppo.action_space = BOX
    ppo.clip_range, ppo.clip_range_vf = (lambda _: clip_range), None
    ppo._current_progress_remaining = 1.0
    ppo._n_updates = 0
    ppo.lr_schedule = lambda _: 0.0
    ppo.n_epochs, ppo.batch_size = 1, size
    ppo.normalize_advantage, ppo.target_kl, ppo.verbose = False, None, 0
    ppo.ent_coef, ppo.vf_coef, ppo.max_grad_norm = ent_coef, vf_coef, 1e9
    ppo._logger = types.SimpleNamespace(record=lambda k, v, **_: logged.update({k: float(v)}))
    ppo.train()
    return {
        "clipRange": clip_range,
        "entropyCoefficient": ent_coef,
        "valueCoefficient": vf_coef,
        "batch": {k: x.tolist() for k, x in batch.items()},
        "logged": {name: logged[f"train/{name}"] for name in LOGGED},
        "gradients": {k: p.grad.tolist() for k, p in ppo.policy.named_parameters()},
    }


def surrogate(ratio, advantage, options):
    """A term of the policy's objective for each element."""
    low, high = 1 - options["clipRange"], 1 + options.get("clipRangeHigh", options["clipRange"])
    plain = torch.minimum(ratio * advantage, ratio.clamp(low, high) * advantage)
    dual = options.get("dualClip", 0)
    if dual == 0:
        return plain
    return torch.where(advantage < 0, torch.maximum(plain, dual * advantage), plain)


def value_loss(value, batch, options):
    def errors(x):
        target = tensor(batch["valueTarget"])
        if options.get("valueLoss") == "huber":
            return torch.nn.functional.huber_loss(
                x, target, reduction="none", delta=options["huberDelta"]
            )
        return 0.5 * (x - target) ** 2

    clip = options["valueClipRange"]
    if clip == 0:
        return errors(value).mean()
    old = tensor(batch["oldValue"])
    return torch.maximum(errors(value), errors(old + (value - old).clamp(-clip, clip))).mean()


def loss_case(rng, size, steps, options):
    """Tokens under three policies; a chunk's log-probability is the sum of its tokens'."""
    batch = draw_batch(rng, size)
    lengths = rng.integers(1, steps + 1, size)
    is_token = (np.arange(steps) < lengths[:, None]).astype(float)
    old = f32(rng.uniform(-3, 0, (size, steps)) * is_token)
    batch["oldTokens"] = old
    batch["proximalTokens"] = f32((old + rng.normal(0, 0.3, old.shape)) * is_token)
    batch["tokens"] = f32((batch["proximalTokens"] + rng.normal(0, 0.2, old.shape)) * is_token)
    batch["isToken"] = is_token
    tokens, value = (tensor(batch[k], True) for k in ("tokens", "value"))
    advantage, mask = tensor(batch["advantage"]), tensor(is_token)
    levels = [tokens, tensor(batch["proximalTokens"]), tensor(batch["oldTokens"])]
    if options["ratio"] == "chunk":
        now, proximal, behaviour = (x.sum(1) for x in levels)
        count, weight, cap = size, torch.ones(size), options.get("chunkWeightCap")
    else:
        now, proximal, behaviour = levels
        count, weight, cap = mask.sum(), mask, options.get("tokenWeightCap")
        advantage = advantage[:, None].expand_as(tokens)
    if cap is None:
        terms = surrogate((now - behaviour).exp(), advantage, options)
    else:
        w = (proximal - behaviour).exp().clamp(max=cap)
        terms = w * surrogate((now - proximal).exp(), advantage, options)
    policy = -(weight * terms).sum() / count
    error = value_loss(value, batch, options)
    total = policy + options["valueLossWeight"] * error
    total.backward()
    del batch["logProb"], batch["oldLogProb"]
    return {
        "options": {"entropyWeight": 0, **options},
        "batch": {k: x.tolist() for k, x in batch.items()},
        "losses": {"total": total.item(), "policy": policy.item(), "value": error.item()},
        "gradients": {"tokens": tokens.grad.tolist(), "value": value.grad.tolist()},
    }


def adamw_case(rng, steps=8):
    """A matrix with decay and a vector without, as parameter groups."""
    matrix, vector = f32(rng.normal(0, 1, (3, 2))), f32(rng.normal(0, 1, 3))
    gradients = [[f32(rng.normal(0, 1, x.shape)) for x in (matrix, vector)] for _ in range(steps)]
    settings = {"lr": 0.01, "betas": (0.9, 0.95), "eps": 1e-8, "weight_decay": 0.1}
    parameters = [torch.nn.Parameter(tensor(x)) for x in (matrix, vector)]
    optimizer = torch.optim.AdamW(
        [{"params": parameters[:1]}, {"params": parameters[1:], "weight_decay": 0.0}], **settings
    )
    after = []
    for t, pair in enumerate(gradients):
        scale = 1 - t / (2 * steps)
        for group in optimizer.param_groups:
            group["lr"] = settings["lr"] * scale
        for parameter, gradient in zip(parameters, pair):
            parameter.grad = tensor(gradient)
        optimizer.step()
        after.append([p.detach().numpy().copy().tolist() for p in parameters])
    return {
        "learningRate": settings["lr"],
        "beta1": settings["betas"][0],
        "beta2": settings["betas"][1],
        "epsilon": settings["eps"],
        "weightDecay": settings["weight_decay"],
        "scales": [1 - t / (2 * steps) for t in range(steps)],
        "start": [matrix.tolist(), vector.tolist()],
        "gradients": [[x.tolist() for x in pair] for pair in gradients],
        "after": after,
    }


def cosine_case(total, final):
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, total, eta_min=final)
    scales = []
    for _ in range(total + 1):
        scales.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    return {"totalSteps": total, "finalFraction": final, "scales": scales}


def main():
    rng = np.random.default_rng(11)
    gae = [
        case
        for gamma in (0.9, 0.99, 1.0)
        for lam in (0.0, 0.95, 1.0)
        for case in gae_case(rng, gamma, lam)
    ]
    train = [
        train_case(rng, size, clip, ent, vf)
        for size in (1, 6)
        for clip, ent, vf in ((0.2, 0.0, 0.5), (0.05, 0.01, 1.0))
    ]
    base = {"clipRange": 0.2, "valueClipRange": 0, "valueLossWeight": 0.5}
    variants = [
        {},
        {"clipRangeHigh": 0.28, "valueLoss": "huber", "huberDelta": 1.0},
        {"clipRange": 0.05, "dualClip": 1.1, "valueClipRange": 0.4},
        {"tokenWeightCap": 1.2, "chunkWeightCap": 1.5, "clipRangeHigh": 0.3},
        {
            "dualClip": 3.0,
            "tokenWeightCap": 1.1,
            "chunkWeightCap": 2.0,
            "valueClipRange": 0.3,
            "valueLoss": "huber",
            "huberDelta": 0.5,
        },
    ]
    losses = [
        loss_case(rng, 6, 5, {**base, **variant, "ratio": ratio})
        for variant in variants
        for ratio in ("chunk", "token")
    ]
    golden = {
        "gae": gae,
        "train": train,
        "losses": losses,
        "adamw": adamw_case(rng),
        "cosine": cosine_case(12, 0.1),
    }
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps(golden, allow_nan=False) + "\n")


main()
