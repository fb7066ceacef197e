"""Writes the PPO fixtures from DeepMind's RLax and JAX, in double precision.

    pip install jax rlax numpy
    python scripts/goldens/ppo_goldens.py

tests/fixtures/ppo/golden.json holds
  gae     runs of chunks with several ends in them; advantages and returns by
          rlax.truncated_generalized_advantage_estimation
  losses  batches with the losses (policy loss by rlax.clipped_surrogate_pg_loss, the rest written
          out below) and the total's gradients by jax.grad

RLax gets one stream of rewards, discounts and values. A terminal chunk is a discount of 0. RLax has no
notion of a time limit, so a truncated chunk ends a stream of its own whose last value is the value
of the final observation.
"""

import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import rlax

jax.config.update("jax_enable_x64", True)
OUT = pathlib.Path(__file__).resolve().parents[2] / "tests" / "fixtures" / "ppo" / "golden.json"


def gae_case(rng, length, gamma, lam):
    """One stretch of consecutive chunks of one episode; the last one ends it or does not."""
    rewards = rng.normal(0, 1, length)
    values = rng.normal(0, 1, length)
    end = rng.choice(["terminal", "truncated", "going_on"])
    after = rng.normal()
    discounts = np.full(length, gamma)
    if end == "terminal":
        discounts[-1] = 0
    advantages = rlax.truncated_generalized_advantage_estimation(
        jnp.array(rewards), jnp.array(discounts), lam, jnp.append(jnp.array(values), after)
    )
    return {
        "gamma": gamma,
        "lambda": lam,
        "end": str(end),
        "after": float(after),
        "rewards": rewards.tolist(),
        "values": values.tolist(),
        "advantages": np.asarray(advantages).tolist(),
    }


def losses(log_prob, value, entropy, batch, options):
    """Total loss and its parts."""
    log_ratio = log_prob - batch["oldLogProb"]
    ratio = jnp.exp(log_ratio)
    policy = rlax.clipped_surrogate_pg_loss(ratio, batch["advantage"], options["clipRange"])
    plain = (value - batch["valueTarget"]) ** 2
    error = plain
    clip = options["valueClipRange"]
    if clip > 0:
        near = batch["oldValue"] + jnp.clip(value - batch["oldValue"], -clip, clip)
        error = jnp.maximum(plain, (near - batch["valueTarget"]) ** 2)
    value_loss = 0.5 * error.mean()
    total = (
        policy
        + options["valueLossWeight"] * value_loss
        - options["entropyWeight"] * entropy.mean()
    )
    parts = {
        "total": total,
        "policy": policy,
        "value": value_loss,
        "entropy": entropy.mean(),
        "approxKl": (ratio - 1 - log_ratio).mean(),
        "clipFraction": (jnp.abs(ratio - 1) > options["clipRange"]).mean(),
    }
    return total, parts


def loss_case(rng, size, options):
    """One batch. Log-probabilities are those of chunks of some 20 tokens."""
    old = rng.normal(-40, 8, size)
    batch = {
        "oldLogProb": old,
        "logProb": old + rng.normal(0, 0.3, size),
        "entropy": rng.uniform(0.5, 3, size),
        "value": rng.normal(0, 1, size),
        "oldValue": rng.normal(0, 1, size),
        "advantage": rng.normal(0, 1, size),
        "valueTarget": rng.normal(0, 1, size),
    }
    batch = {key: np.float32(x).astype(float) for key, x in batch.items()}
    grad = jax.grad(losses, argnums=(0, 1, 2), has_aux=True)
    by, parts = grad(batch["logProb"], batch["value"], batch["entropy"], batch, options)
    return {
        "options": options,
        "batch": {key: x.tolist() for key, x in batch.items()},
        "losses": {key: float(x) for key, x in parts.items()},
        "gradients": {
            name: np.asarray(g).tolist() for name, g in zip(("logProb", "value", "entropy"), by)
        },
    }


def main():
    rng = np.random.default_rng(7)
    gae = [
        gae_case(rng, int(rng.integers(1, 12)), gamma, lam)
        for gamma in (0.9, 0.99, 1.0)
        for lam in (0.0, 0.5, 0.95, 1.0)
        for _ in range(3)
    ]
    base = {"clipRange": 0.2, "valueClipRange": 0, "valueLossWeight": 0.5, "entropyWeight": 0}
    variants = [
        {},
        {"valueClipRange": 0.3},
        {"clipRange": 0.05, "entropyWeight": 0.01},
        {"valueClipRange": 1.0, "valueLossWeight": 2.0, "entropyWeight": 0.1},
    ]
    cases = [loss_case(rng, size, {**base, **v}) for v in variants for size in (1, 8)]
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps({"gae": gae, "losses": cases}) + "\n")


main()
