"""The task `reach` in native MuJoCo, from the files that `export_reach.ts` writes.

    pip install mujoco==3.14.0 numpy==2.4.6
    python scripts/peers/reach_world.py FOLDER CHECK.json

plays the episodes of CHECK.json and prints what came of them as one JSON object, for the test that
compares them with this project's own simulation. CHECK.json holds `episodes`, each with `qpos`
[16] and `ball` [3] at the start and `targets` [steps, 14]; the answer holds for each `qpos`
[steps, 16], `states` [steps, 14], `rewards` [steps] and `successes` [steps].
"""

import json
import pathlib
import sys

import mujoco
import numpy as np

JOINTS = 6
ARM = JOINTS + 1
ALOHA = 2 * ARM
SERVOS = JOINTS + 2


class ReachScene:
    """The compiled scene and its rules, shared by many `ReachWorld`s."""

    def __init__(self, folder):
        folder = pathlib.Path(folder)
        self.model = mujoco.MjModel.from_xml_path(str(folder / "reach.xml"))
        facts = json.loads((folder / "reach.json").read_text())
        self.substeps = facts["substeps"]
        self.max_steps = facts["maxEpisodeSteps"]
        self.horizon = facts["horizon"]
        self.start_targets = np.array(facts["startTargets"])
        self.start_noise = facts["startNoiseRad"]
        self.lowest = np.array([r["min"] for r in facts["targetRanges"]])
        self.highest = np.array([r["max"] for r in facts["targetRanges"]])
        self.finger_m = facts["fingerM"]
        self.box = np.array(facts["box"]["min"]), np.array(facts["box"]["max"])
        self.success_radius = facts["successRadiusM"]
        self.progress_scale = facts["progressScale"]
        self.success_bonus = facts["successBonus"]
        self.time_penalty = facts["timePenalty"]
        self.action_low = np.array(facts["actions"]["low"])
        self.action_high = np.array(facts["actions"]["high"])
        self.held_out = facts["heldOut"]
        self.pinch = self.model.site("left_pinch").id
        self.ball = int(self.model.body("ball").mocapid[0])
        self.is_joint = np.arange(ALOHA) % ARM < JOINTS

    def servos(self, targets):
        """Spread 14 numbers over the 16 servos: a gripper is two fingers."""
        out = np.empty(2 * SERVOS)
        span = self.finger_m["max"] - self.finger_m["min"]
        for arm in range(2):
            mine = targets[arm * ARM : (arm + 1) * ARM]
            out[arm * SERVOS : arm * SERVOS + JOINTS] = mine[:JOINTS]
            out[arm * SERVOS + JOINTS : (arm + 1) * SERVOS] = self.finger_m["min"] + mine[-1] * span
        return out

    def random_beginning(self, random):
        """Joint positions [16] and a ball [3], as training episodes draw them."""
        qpos = self.servos(self.start_targets)
        for arm in range(2):
            qpos[arm * SERVOS : arm * SERVOS + JOINTS] += random.uniform(
                -self.start_noise, self.start_noise, JOINTS
            )
        return qpos, random.uniform(*self.box)

    def targets(self, actions, state):
        """Normalised actions [..., 14] as absolute targets, from the state at the chunk's start."""
        raw = self.action_low + (np.asarray(actions) + 1) / 2 * (self.action_high - self.action_low)
        return raw + np.where(self.is_joint, state, 0.0)


class ReachWorld:
    """One episode after the other."""

    def __init__(self, scene):
        self.scene = scene
        self.data = mujoco.MjData(scene.model)
        self.steps = 0

    def start(self, qpos, ball):
        """Begin an episode at rest."""
        scene, data = self.scene, self.data
        mujoco.mj_resetData(scene.model, data)
        data.ctrl[:] = scene.servos(scene.start_targets)
        data.qpos[:] = qpos
        data.mocap_pos[scene.ball] = ball
        mujoco.mj_forward(scene.model, data)
        self.distance = self._distance()
        self.steps = 0

    def step(self, targets):
        """Drive towards absolute targets [14] for one control step: reward, success."""
        scene, data = self.scene, self.data
        data.ctrl[:] = scene.servos(np.clip(targets, scene.lowest, scene.highest))
        mujoco.mj_step(scene.model, data, nstep=scene.substeps)
        mujoco.mj_kinematics(scene.model, data)
        self.steps += 1
        before, self.distance = self.distance, self._distance()
        is_success = bool(self.distance <= scene.success_radius)
        reward = scene.progress_scale * (before - self.distance) - scene.time_penalty
        return reward + (scene.success_bonus if is_success else 0.0), is_success

    def state(self):
        """ALOHA's 14 numbers: per arm 6 joints (rad) and the gripper 0-1."""
        scene, qpos = self.scene, self.data.qpos
        out = np.empty(ALOHA)
        span = scene.finger_m["max"] - scene.finger_m["min"]
        for arm in range(2):
            mine = qpos[arm * SERVOS : (arm + 1) * SERVOS]
            out[arm * ARM : arm * ARM + JOINTS] = mine[:JOINTS]
            finger = (mine[JOINTS] + mine[JOINTS + 1]) / 2
            out[arm * ARM + JOINTS] = np.clip((finger - scene.finger_m["min"]) / span, 0, 1)
        return out

    def ball(self):
        """The ball's centre in the world, in metres [3]."""
        return self.data.mocap_pos[self.scene.ball].copy()

    def _distance(self):
        data = self.data
        return float(
            np.linalg.norm(data.site_xpos[self.scene.pinch] - data.mocap_pos[self.scene.ball])
        )


def play(scene, episode):
    """Play one episode of a check."""
    world = ReachWorld(scene)
    world.start(np.array(episode["qpos"]), np.array(episode["ball"]))
    out = {"qpos": [], "states": [], "rewards": [], "successes": []}
    for targets in episode["targets"]:
        reward, is_success = world.step(np.array(targets))
        out["qpos"].append(world.data.qpos.tolist())
        out["states"].append(world.state().tolist())
        out["rewards"].append(reward)
        out["successes"].append(is_success)
    return out


if __name__ == "__main__":
    checked = json.loads(pathlib.Path(sys.argv[2]).read_text())
    scene = ReachScene(sys.argv[1])
    print(json.dumps({"episodes": [play(scene, episode) for episode in checked["episodes"]]}))
