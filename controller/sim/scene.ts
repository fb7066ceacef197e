/**
 * The simulated table as MJCF text: two ViperX-like arms of primitive shapes, three cameras and what
 * the task needs.
 *
 * Where it departs from google-deepmind/mujoco_menagerie's `aloha.xml`, for speed: shapes are boxes
 * and capsules instead of meshes; joints have no dry friction (it would keep the constraint solver
 * busy in free space); the two fingers have an actuator each instead of an equality constraint; only
 * fingers, palms and forearms touch the table, and only fingers and palms touch the cube. The table
 * top at z = 0 collides as an unbounded plane, so nothing falls off its edge.
 *
 * @module
 */

import { ARM_NAMES, type ArmName, JOINT_RANGES_RAD } from "../../common/robot/aloha.ts";
import {
  BASE_POSES,
  FINGER,
  type LinkGeometry,
  LINKS,
  PINCH_OFFSET,
} from "../kinematics/arm_geometry.ts";
import type { TaskName } from "./task_names.ts";

/** Physics time step, in seconds. */
export const TIME_STEP_S = 0.002;

/** Physics steps of one 20 ms control step. */
export const SUBSTEPS = 10;

/** Table top: width (x) and depth (y), in metres. */
export const TABLE_SIZE_M = { width: 1.21, depth: 0.76 } as const;

/** Radius of the red ball of `reach`, in metres. */
export const BALL_RADIUS_M = 0.03;

/** Half the edge of the cube of `transfer_cube`, in metres. */
export const CUBE_HALF_SIZE_M = 0.02;

/** Collision bits: a geom touches another when one's contype meets the other's conaffinity. */
const CONTACT = {
  none: 'contype="0" conaffinity="0"',
  table: 'contype="1" conaffinity="0"',
  finger: 'contype="2" conaffinity="1" condim="4" friction="1 0.005 0.0001" solref="0.01 1"',
  link: 'contype="0" conaffinity="1"',
  palm: 'contype="2" conaffinity="1"',
  cube: 'contype="0" conaffinity="3" condim="4" friction="1 0.005 0.0001"',
} as const;

/** Plain, saturated colours: left fingers blue, right fingers green, what matters red. */
const COLOUR = {
  floor: "0.30 0.33 0.38 1",
  table: "0.80 0.76 0.68 1",
  base: "0.16 0.16 0.18 1",
  link: "0.24 0.24 0.27 1",
  joint: "0.45 0.45 0.50 1",
  palm: { left: "0.35 0.45 0.75 1", right: "0.40 0.65 0.45 1" },
  finger: { left: "0.05 0.30 0.95 1", right: "0.05 0.75 0.25 1" },
  red: "0.93 0.08 0.06 1",
  shadow: "0.42 0.33 0.30 1",
  invisible: "0 0 0 0",
} as const;

/**
 * Write the scene of a task.
 *
 * @param task Which task's object stands on the table.
 * @returns MJCF text for {@link PhysicsModel}. Joints are `left_waist` … `right_wrist_rotate` and
 * `left_finger_a`, `left_finger_b`, …; actuators have their joints' names; sites `left_pinch` and
 * `right_pinch`; cameras ALOHA's names.
 */
export function sceneXml(task: TaskName): string {
  return `<mujoco model="tendon_aloha">
  <compiler angle="radian" autolimits="true"/>
  <option timestep="${TIME_STEP_S}" integrator="implicitfast" cone="elliptic" impratio="10"/>
  <size memory="1M"/>
  <worldbody>
    <geom name="floor" type="plane" pos="0 0 -0.75" size="0 0 1" rgba="${COLOUR.floor}"
      ${CONTACT.none}/>
    <geom name="table_contact" type="plane" size="0 0 1" rgba="${COLOUR.invisible}"
      ${CONTACT.table}/>
    <geom name="table" type="box" pos="0 0 -0.02"
      size="${TABLE_SIZE_M.width / 2} ${TABLE_SIZE_M.depth / 2} 0.02" rgba="${COLOUR.table}"
      ${CONTACT.none}/>
    <camera name="cam_high" pos="0 -0.304 1.025" xyaxes="1 0 0 0 0.9063 0.4226" fovy="58"/>
    ${ARM_NAMES.map(armXml).join("\n    ")}
    ${task === "reach" ? ballXml() : cubeXml()}
  </worldbody>
  <actuator>
    ${ARM_NAMES.map(actuatorsXml).join("\n    ")}
  </actuator>
  ${task === "transfer_cube" ? contactSensorsXml() : ""}
</mujoco>`;
}

/** One arm: the base, then each link nested in the one before. */
function armXml(arm: ArmName): string {
  const { position, yawRad } = BASE_POSES[arm];
  return `<body name="${arm}_base" pos="${position.join(" ")}" euler="0 0 ${yawRad}">
      <geom type="box" pos="-0.03 0 0.02" size="0.1 0.06 0.04" rgba="${COLOUR.base}"
        ${CONTACT.none}/>
      <geom type="cylinder" pos="0 0 0.06" size="0.045 0.02" rgba="${COLOUR.joint}"
        ${CONTACT.none}/>
      ${LINKS.reduceRight((child, link, i) => linkXml(arm, link, i, child), "")}
    </body>`;
}

function linkXml(arm: ArmName, link: LinkGeometry, index: number, child: string): string {
  const axis = ["1 0 0", "0 1 0", "0 0 1"][link.axis];
  const { min, max } = JOINT_RANGES_RAD[index];
  return `<body name="${arm}_${link.name}" pos="${link.offset.join(" ")}">
      <inertial pos="${link.com.join(" ")}" mass="${link.mass}"
        diaginertia="${link.inertia.join(" ")}"/>
      <joint name="${arm}_${link.name}" axis="${axis}" range="${min} ${max}"
        damping="${link.damping}" armature="${link.armature}"
        actuatorfrcrange="${-link.maxTorque} ${link.maxTorque}"/>
      ${LINK_SHAPES[index]}
      ${index === LINKS.length - 1 ? gripperXml(arm) : child}
    </body>`;
}

/** Looks of the six links, in their own frames. */
const LINK_SHAPES: readonly string[] = [
  `<geom type="cylinder" fromto="0 -0.055 0.048 0 0.055 0.048" size="0.04"
    rgba="${COLOUR.joint}" ${CONTACT.none}/>`,
  `<geom type="capsule" fromto="0 0 0.02 0.01 0 0.29" size="0.032" rgba="${COLOUR.link}"
    ${CONTACT.none}/>
   <geom type="capsule" fromto="0.01 0 0.3 0.05955 0 0.3" size="0.03" rgba="${COLOUR.link}"
    ${CONTACT.none}/>`,
  `<geom type="cylinder" fromto="0 -0.045 0 0 0.045 0" size="0.033" rgba="${COLOUR.joint}"
    ${CONTACT.none}/>
   <geom type="capsule" fromto="0.03 0 0 0.19 0 0" size="0.026" rgba="${COLOUR.link}"
    ${CONTACT.none}/>`,
  `<geom type="capsule" fromto="0.01 0 0 0.09 0 0" size="0.026" rgba="${COLOUR.link}"
    ${CONTACT.link}/>`,
  `<geom type="cylinder" fromto="0 -0.035 0 0 0.035 0" size="0.027" rgba="${COLOUR.joint}"
    ${CONTACT.none}/>
   <geom type="box" pos="0.04 0 0" size="0.03 0.022 0.02" rgba="${COLOUR.link}"
    ${CONTACT.none}/>`,
  "",
];

/** Palm, wrist camera, pinch site and two fingers, in the frame of the last link. */
function gripperXml(arm: ArmName): string {
  const [halfX, halfY, halfZ] = FINGER.halfSizeM;
  const { min, max } = FINGER.jointRangeM;
  const finger = (name: "a" | "b", side: 1 | -1) =>
    `<body name="${arm}_finger_${name}">
        <inertial pos="${FINGER.centreXM} 0 0" mass="${FINGER.massKg}" diaginertia="6e-5 5e-5 2e-5"/>
        <joint name="${arm}_finger_${name}" type="slide" axis="0 ${side} 0" range="${min} ${max}"
          damping="40" armature="0.243" actuatorfrcrange="-35 35"/>
        <geom name="${arm}_finger_${name}" type="box" pos="${FINGER.centreXM} ${side * halfY} 0"
          size="${halfX} ${halfY} ${halfZ}" rgba="${COLOUR.finger[arm]}" ${CONTACT.finger}/>
      </body>`;
  // The camera sits above the palm and looks 25 degrees down onto the fingers, as the D405 in
  // Menagerie's model does.
  return `<geom name="${arm}_palm" type="box" pos="0.03 0 0" size="0.025 0.055 0.025"
        rgba="${COLOUR.palm[arm]}" ${CONTACT.palm}/>
      <camera name="cam_${arm}_wrist" pos="0.0254 0 0.0825" xyaxes="0 -1 0 0.4226 0 0.9063"
        fovy="58"/>
      <site name="${arm}_pinch" pos="${PINCH_OFFSET.join(" ")}" size="0.005"/>
      ${finger("a", 1)}
      ${finger("b", -1)}`;
}

function actuatorsXml(arm: ArmName): string {
  const joints = LINKS.map((link, i) => {
    const { min, max } = JOINT_RANGES_RAD[i];
    const name = `${arm}_${link.name}`;
    return `<position name="${name}" joint="${name}" kp="${link.kp}" ctrlrange="${min} ${max}"/>`;
  });
  const { min, max } = FINGER.commandRangeM;
  const fingers = ["a", "b"].map((name) =>
    `<position name="${arm}_finger_${name}" joint="${arm}_finger_${name}" kp="2000" kv="124"
      ctrlrange="${min} ${max}"/>`
  );
  return [...joints, ...fingers].join("\n    ");
}

/**
 * The ball floats, touches nothing and is placed by the task. The dark disc is its shadow under a
 * light straight above: the task keeps it on the table below the ball, so that one overhead picture
 * tells the ball's height.
 */
function ballXml(): string {
  return `<body name="ball" mocap="true">
      <geom name="ball" type="sphere" size="${BALL_RADIUS_M}" rgba="${COLOUR.red}"
        ${CONTACT.none}/>
    </body>
    <body name="ball_shadow" mocap="true">
      <geom name="ball_shadow" type="cylinder" size="${BALL_RADIUS_M} 0.0005"
        rgba="${COLOUR.shadow}" ${CONTACT.none}/>
    </body>`;
}

function cubeXml(): string {
  const half = CUBE_HALF_SIZE_M;
  return `<body name="cube" pos="0.12 0 ${half}">
      <freejoint name="cube"/>
      <geom name="cube" type="box" size="${half} ${half} ${half}" mass="0.05"
        rgba="${COLOUR.red}" ${CONTACT.cube}/>
    </body>`;
}

/** Whether the cube touches either gripper and the table: 0 when not. */
function contactSensorsXml(): string {
  const arms = ARM_NAMES.map((arm) =>
    `<contact name="${arm}_touch" subtree1="${arm}_wrist_rotate" geom2="cube" data="found"/>`
  );
  return `<sensor>
    ${arms.join("\n    ")}
    <contact name="table_touch" geom1="table_contact" geom2="cube" data="found"/>
  </sensor>`;
}
