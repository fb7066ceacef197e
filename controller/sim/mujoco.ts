/**
 * A thin typed wrapper of official MuJoCo WebAssembly: models, data, and views of their arrays.
 *
 * MuJoCo's arrays live on the WebAssembly heap. A view of that heap is free to read and write but is
 * detached (length 0) whenever the heap grows, so {@link PhysicsData} checks for that and takes new
 * views; callers must read the getters again after anything that allocates, and never keep a view
 * across a call. Embind objects are not garbage-collected: both classes are disposable.
 *
 * @module
 */

import loadModule, { type MainModule, type MjData, type MjModel } from "@mujoco/mujoco";

/** The loaded physics engine. */
export interface Mujoco {
  /**
   * Compile a scene.
   *
   * @param xml The scene as MJCF text.
   * @returns The model; dispose of it after its data.
   * @throws {SyntaxError} MuJoCo refuses the scene.
   */
  compile(xml: string): PhysicsModel;
}

let loading: Promise<Mujoco> | undefined;

/**
 * Load MuJoCo once a process; later calls share the first one's module.
 *
 * @returns The engine.
 */
export function loadMujoco(): Promise<Mujoco> {
  loading ??= loadModule().then((module) => ({
    compile: (xml: string) => createModel(module, xml),
  }));
  return loading;
}

/** What {@link PhysicsModel.id} can look up. */
export type ObjectKind = "body" | "joint" | "geom" | "site" | "camera" | "actuator" | "sensor";

/** What a scene consists of: copies of the model's arrays that this project reads. */
export interface SceneArrays {
  /** Shape of each geom, a `mjtGeom` number `[ngeom]`. */
  readonly geomType: Int32Array;
  /** Half extents or radii `[ngeom, 3]`, in metres. */
  readonly geomSize: Float64Array;
  /** Colours `[ngeom, 4]`, 0–1. */
  readonly geomRgba: Float32Array;
  /** Body of each geom `[ngeom]`. */
  readonly geomBody: Int32Array;
  /** Parent of each body `[nbody]`; the world is its own. */
  readonly bodyParent: Int32Array;
  /** How many joints each body has `[nbody]`. */
  readonly bodyJointCount: Int32Array;
  /** Row of each body in `mocapPos`, −1 for none `[nbody]`. */
  readonly bodyMocap: Int32Array;
  /** Vertical field of view of each camera `[ncam]`, in degrees. */
  readonly camFovy: Float64Array;
  /** Body of each camera `[ncam]`. */
  readonly camBody: Int32Array;
  /** First position coordinate of each joint `[njnt]`. */
  readonly jointQpos: Int32Array;
  /** First reading of each sensor `[nsensor]`. */
  readonly sensorAddress: Int32Array;
}

/** MuJoCo's own objects behind a model, for this file alone. */
interface RawModel {
  readonly module: MainModule;
  readonly model: MjModel;
}
let createModel: (module: MainModule, xml: string) => PhysicsModel;
let rawModelOf: (model: PhysicsModel) => RawModel;

/** A compiled scene. Many {@link PhysicsData} share one. Made by {@link Mujoco.compile}. */
export class PhysicsModel implements Disposable {
  static {
    createModel = (module, xml) => new PhysicsModel(module, xml);
    rawModelOf = (model) => model.#raw;
  }

  /** What the scene consists of. */
  readonly arrays: SceneArrays;
  readonly #raw: RawModel;
  #isDisposed = false;

  private constructor(module: MainModule, xml: string) {
    let model: MjModel;
    try {
      model = module.MjModel.from_xml_string(xml);
    } catch (cause) {
      throw new SyntaxError(`Cannot compile the MuJoCo scene: ${cause}`, { cause });
    }
    this.#raw = { module, model };
    this.arrays = copyArrays(model);
  }

  /**
   * Number of a named object.
   *
   * @param kind What it is.
   * @param name Its name in the scene.
   * @returns Its index in MuJoCo's arrays.
   * @throws {RangeError} The scene has no such object.
   */
  id(kind: ObjectKind, name: string): number {
    const { module, model } = this.#raw;
    const types = module.mjtObj;
    const type = {
      body: types.mjOBJ_BODY,
      joint: types.mjOBJ_JOINT,
      geom: types.mjOBJ_GEOM,
      site: types.mjOBJ_SITE,
      camera: types.mjOBJ_CAMERA,
      actuator: types.mjOBJ_ACTUATOR,
      sensor: types.mjOBJ_SENSOR,
    }[kind];
    const id = module.mj_name2id(model, type.value, name);
    if (id < 0) throw new RangeError(`Cannot find ${kind} "${name}" in the MuJoCo scene`);
    return id;
  }

  /** Free the model. Its data must have been freed before. */
  [Symbol.dispose](): void {
    if (this.#isDisposed) return;
    this.#isDisposed = true;
    this.#raw.model.delete();
  }
}

/** Live views of a state's arrays: read and write, row-major, metres, radians, seconds. */
export interface PhysicsViews {
  /** Joint positions `[nq]`. */
  readonly qpos: Float64Array;
  /** Joint velocities `[nv]`. */
  readonly qvel: Float64Array;
  /** Actuator targets `[nu]`. */
  readonly ctrl: Float64Array;
  /** Gravity and Coriolis forces on each velocity `[nv]`, as of the last step or forward. */
  readonly qfrcBias: Float64Array;
  /** Forces of contacts and limits on each velocity `[nv]`, as of the last step or forward. */
  readonly qfrcConstraint: Float64Array;
  /** Geom centres in the world `[ngeom, 3]`. */
  readonly geomXpos: Float64Array;
  /** Geom orientations `[ngeom, 3, 3]`, geom to world. */
  readonly geomXmat: Float64Array;
  /** Site positions in the world `[nsite, 3]`. */
  readonly siteXpos: Float64Array;
  /** Site orientations `[nsite, 3, 3]`, site to world. */
  readonly siteXmat: Float64Array;
  /** Camera positions in the world `[ncam, 3]`. */
  readonly camXpos: Float64Array;
  /** Camera orientations `[ncam, 3, 3]`; a camera looks along its −z and y is up. */
  readonly camXmat: Float64Array;
  /** Positions of mocap bodies `[nmocap, 3]`. */
  readonly mocapPos: Float64Array;
  /** Sensor readings `[nsensordata]`. */
  readonly sensors: Float64Array;
}

/** One state of a scene. */
export class PhysicsData implements Disposable {
  /** The scene. */
  readonly model: PhysicsModel;
  readonly #raw: RawModel;
  readonly #data: MjData;
  #views: PhysicsViews;
  #isDisposed = false;

  /**
   * Allocate a state at the scene's default pose.
   *
   * @param model The scene; it must outlive this state.
   */
  constructor(model: PhysicsModel) {
    this.model = model;
    this.#raw = rawModelOf(model);
    this.#data = new this.#raw.module.MjData(this.#raw.model);
    this.#views = takeViews(this.#data);
  }

  /** Views that are valid now. Read this again after anything that may allocate. */
  get views(): PhysicsViews {
    if (this.#views.qpos.length === 0) this.#views = takeViews(this.#data);
    return this.#views;
  }

  /** Return to the scene's default pose at rest. */
  reset(): void {
    this.#raw.module.mj_resetData(this.#raw.model, this.#data);
  }

  /**
   * Advance the simulation. Geom, site and camera poses then lag by one time step: call
   * {@link updatePoses} before reading them.
   *
   * @param count Time steps.
   */
  step(count: number): void {
    const { module, model } = this.#raw;
    for (let i = 0; i < count; i++) module.mj_step(model, this.#data);
  }

  /** Recompute everything that follows from positions, velocities and controls. */
  forward(): void {
    this.#raw.module.mj_forward(this.#raw.model, this.#data);
  }

  /** Recompute only the poses of bodies, geoms, sites and cameras. */
  updatePoses(): void {
    const { module, model } = this.#raw;
    module.mj_kinematics(model, this.#data);
    module.mj_camlight(model, this.#data);
  }

  /** Bytes of the WebAssembly heap that all models and data share. */
  get heapBytes(): number {
    return this.views.qpos.buffer.byteLength;
  }

  /** Free the state. */
  [Symbol.dispose](): void {
    if (this.#isDisposed) return;
    this.#isDisposed = true;
    this.#data.delete();
  }
}

function copyArrays(model: MjModel): SceneArrays {
  return {
    geomType: Int32Array.from(model.geom_type),
    geomSize: Float64Array.from(model.geom_size),
    geomRgba: Float32Array.from(model.geom_rgba),
    geomBody: Int32Array.from(model.geom_bodyid),
    bodyParent: Int32Array.from(model.body_parentid),
    bodyJointCount: Int32Array.from(model.body_jntnum),
    bodyMocap: Int32Array.from(model.body_mocapid),
    camFovy: Float64Array.from(model.cam_fovy),
    camBody: Int32Array.from(model.cam_bodyid),
    jointQpos: Int32Array.from(model.jnt_qposadr),
    sensorAddress: Int32Array.from(model.sensor_adr),
  };
}

/** MuJoCo's declarations type its views as `any`; this is where they get their types. */
function takeViews(data: MjData): PhysicsViews {
  return {
    qpos: data.qpos,
    qvel: data.qvel,
    ctrl: data.ctrl,
    qfrcBias: data.qfrc_bias,
    qfrcConstraint: data.qfrc_constraint,
    geomXpos: data.geom_xpos,
    geomXmat: data.geom_xmat,
    siteXpos: data.site_xpos,
    siteXmat: data.site_xmat,
    camXpos: data.cam_xpos,
    camXmat: data.cam_xmat,
    mocapPos: data.mocap_pos,
    sensors: data.sensordata,
  };
}
