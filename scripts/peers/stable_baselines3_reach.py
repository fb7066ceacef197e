"""PPO of Stable-Baselines3 on the task `reach`, in native MuJoCo, on the CPU.

    pip install -r scripts/peers/requirements.txt
    deno run --allow-read --allow-write --allow-env scripts/peers/export_reach.ts --out runs/reach
    python scripts/peers/stable_baselines3_reach.py --scene runs/reach --seed 0 --out runs/sb3.jsonl

Scene, reward, success, ball, time limit, start and what a normalised action means are this project's
own, by `reach_world.py`. Different are what the policy sees (14 joint numbers and where the ball is;
no pictures), what it is (a Gaussian from an MLP) and where it starts (at random; no demonstrations).

`--chunk 1` chooses an action each control step, `--chunk 10` ten at once, as this project's policy
does. An action moves the joints from where they are when it is chosen. Success is measured without
noise on the held-out episodes of `reach.json`, at the start and after every `--eval-every` control
steps; its time is not counted in `wallSeconds`.

Lines are appended to `--out` as they come, in the form of `deno task bench learn`: `evaluation` with
variant, seed, controlSteps, wallSeconds, episodes, successRate, meanReward, meanSteps, between `begin` with the settings and
`trained`.
"""

import argparse
import json
import pathlib
import time

START = time.perf_counter()

import gymnasium
import numpy as np
import torch
from reach_world import ALOHA, ReachScene, ReachWorld
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize


def observation_of(world):
    """What the policy sees: joints, then the ball [17]."""
    return np.concatenate([world.state(), world.ball()]).astype(np.float32)


def act(world, actions, chunk):
    """Execute a choice: control steps done, sum of rewards, success, end by time."""
    targets = world.scene.targets(actions.reshape(chunk, ALOHA), world.state())
    reward = 0.0
    for done, target in enumerate(targets, start=1):
        gain, is_success = world.step(target)
        reward += gain
        is_late = not is_success and world.steps >= world.scene.max_steps
        if is_success or is_late:
            break
    return done, reward, is_success, is_late


class ReachEnv(gymnasium.Env):
    """Training episodes."""

    def __init__(self, scene, chunk):
        self.chunk = chunk
        self.world = ReachWorld(scene)
        self.control_steps = 0
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (ALOHA + 3,), np.float32)
        self.action_space = gymnasium.spaces.Box(-1, 1, (chunk * ALOHA,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.world.start(*self.world.scene.random_beginning(self.np_random))
        return observation_of(self.world), {}

    def step(self, action):
        done, reward, is_success, is_late = act(self.world, action, self.chunk)
        self.control_steps += done
        return observation_of(self.world), reward, is_success, is_late, {}


def evaluate(model, normalizer, scene, chunk):
    """Every held-out episode once, all in step, without noise."""
    worlds = []
    for episode in scene.held_out:
        world = ReachWorld(scene)
        world.start(np.array(episode["qpos"]), np.array(episode["ball"]))
        worlds.append(world)
    rewards, steps, successes = 0.0, 0, 0
    busy = worlds
    while busy:
        seen = normalizer.normalize_obs(np.stack([observation_of(w) for w in busy]))
        actions, _ = model.predict(seen, deterministic=True)
        left = []
        for world, action in zip(busy, actions):
            done, reward, is_success, is_late = act(world, action, chunk)
            rewards += reward
            steps += done
            successes += is_success
            if not is_success and not is_late:
                left.append(world)
        busy = left
    count = len(worlds)
    return {
        "episodes": count,
        "successRate": successes / count,
        "meanReward": rewards / count,
        "meanSteps": steps / count,
    }


class Measured(BaseCallback):
    """Evaluates between two updates, and keeps that out of the time."""

    def __init__(self, arguments, scene, facts, write):
        super().__init__()
        self.arguments, self.scene, self.facts, self.write = arguments, scene, facts, write
        self.next_steps = 0
        self.update = 0
        self.evaluating = 0.0

    def control_steps(self):
        return sum(self.training_env.get_attr("control_steps"))

    def seconds(self):
        return time.perf_counter() - START - self.evaluating

    def measure(self):
        seconds = self.seconds()
        start = time.perf_counter()
        steps = self.control_steps()
        line = {
            "kind": "evaluation",
            **self.facts,
            "update": self.update,
            "controlSteps": steps,
            "wallSeconds": round(seconds, 2),
            **evaluate(self.model, self.training_env, self.scene, self.arguments.chunk),
        }
        self.write(line)
        self.next_steps = (steps // self.arguments.eval_every + 1) * self.arguments.eval_every
        self.evaluating += time.perf_counter() - start

    def _on_rollout_start(self):
        # The weights are those after the last update; nothing of the next rollout has run.
        if self.control_steps() >= self.next_steps:
            self.measure()
        self.update += 1

    def _on_step(self):
        return self.control_steps() < self.arguments.steps


def parse():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--scene", required=True, help="folder of export_reach.ts")
    parser.add_argument("--out", required=True, help="JSONL file; lines are appended")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--chunk", type=int, default=1, help="control steps an action decides")
    parser.add_argument("--steps", type=int, default=1_000_000, help="control steps of the run")
    parser.add_argument("--eval-every", type=int, default=20_480, help="control steps")
    parser.add_argument("--envs", type=int, default=32)
    parser.add_argument("--rollout", type=int, default=64, help="choices an environment an update")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--learning-rate", type=float, default=3e-4)
    parser.add_argument("--gamma", type=float, default=0.97)
    parser.add_argument("--gae-lambda", type=float, default=0.95)
    parser.add_argument("--log-std", type=float, default=-1.0)
    parser.add_argument("--threads", type=int, default=1, help="of PyTorch; more are slower here")
    return parser.parse_args()


def main():
    arguments = parse()
    torch.set_num_threads(arguments.threads)
    scene = ReachScene(arguments.scene)
    out = pathlib.Path(arguments.out)
    out.parent.mkdir(parents=True, exist_ok=True)

    def write(line):
        with out.open("a") as file:
            file.write(json.dumps(line) + "\n")
        if line["kind"] == "evaluation":
            print(
                f"{line['controlSteps']:>9} steps {line['wallSeconds']:>8.1f} s "
                f"{100 * line['successRate']:.1f} %",
                flush=True,
            )

    environment = VecNormalize(
        DummyVecEnv([lambda: ReachEnv(scene, arguments.chunk)] * arguments.envs),
        norm_obs=True,
        norm_reward=False,
        gamma=arguments.gamma,
    )
    environment.seed(arguments.seed)
    model = PPO(
        "MlpPolicy",
        environment,
        n_steps=arguments.rollout,
        batch_size=arguments.batch,
        n_epochs=arguments.epochs,
        learning_rate=arguments.learning_rate,
        gamma=arguments.gamma,
        gae_lambda=arguments.gae_lambda,
        policy_kwargs={
            "net_arch": [256, 256],
            "log_std_init": arguments.log_std,
        },
        seed=arguments.seed,
        device="cpu",
    )
    facts = {
        "experiment": "reach",
        "variant": f"stable_baselines3_chunk_{arguments.chunk}",
        "seed": arguments.seed,
    }
    names = ("chunk", "steps", "envs", "rollout", "batch", "epochs", "learning_rate", "gamma")
    names += ("gae_lambda", "log_std", "threads")
    write({"kind": "begin", **facts, "settings": {n: getattr(arguments, n) for n in names}})
    callback = Measured(arguments, scene, facts, write)
    # The callback ends it; a choice is at least one control step.
    model.learn(total_timesteps=10**12, callback=callback)
    callback.update += 1
    callback.measure()
    write(
        {
            "kind": "trained",
            **facts,
            "updates": callback.update,
            "controlSteps": callback.control_steps(),
            "wallSeconds": round(callback.seconds(), 2),
        }
    )


if __name__ == "__main__":
    main()
