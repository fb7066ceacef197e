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

let loading: Promise<MainModule> | undefined;

/**
 * Load MuJoCo once a process; later calls share the first one's module.
 *
 * @returns The instantiated WebAssembly module.
 */
export function loadMujoco(): Promise<MainModule> {
  loading ??= loadModule();
  return loading;
}

/** What {@link PhysicsModel.id} can look up. */
export type ObjectKind = "body" | "joint" | "geom" | "site" | "camera" | "actuator" | "sensor";

/** A compiled scene. Many {@link PhysicsData} share one. */
export class PhysicsModel implements Disposable {
  /** The WebAssembly module that owns the model. */
  readonly module: MainModule;
  /** MuJoCo's own model. */
  readonly raw: MjModel;
  /** How many position coordinates, velocities, controls, geoms and cameras the scene has. */
  readonly sizes: Readonly<{ nq: number; nv: number; nu: number; ngeom: number; ncam: number }>;
  #isDisposed = false;

  /**
   * Compile a scene.
   *
   * @param module The module of {@link loadMujoco}.
   * @param xml The scene as MJCF text.
   * @throws {SyntaxError} MuJoCo refuses the scene.
   */
  constructor(module: MainModule, xml: string) {
    this.module = module;
    try {
      this.raw = module.MjModel.from_xml_string(xml);
    } catch (cause) {
      throw new SyntaxError(`Cannot compile the MuJoCo scene: ${cause}`, { cause });
    }
    const { nq, nv, nu, ngeom, ncam } = this.raw;
    this.sizes = { nq, nv, nu, ngeom, ncam };
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
    const types = this.module.mjtObj;
    const type = {
      body: types.mjOBJ_BODY,
      joint: types.mjOBJ_JOINT,
      geom: types.mjOBJ_GEOM,
      site: types.mjOBJ_SITE,
      camera: types.mjOBJ_CAMERA,
      actuator: types.mjOBJ_ACTUATOR,
      sensor: types.mjOBJ_SENSOR,
    }[kind];
    const id = this.module.mj_name2id(this.raw, type.value, name);
    if (id < 0) throw new RangeError(`Cannot find ${kind} "${name}" in the MuJoCo scene`);
    return id;
  }

  /** Free the model. Its data must have been freed before. */
  [Symbol.dispose](): void {
    if (this.#isDisposed) return;
    this.#isDisposed = true;
    this.raw.delete();
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
    this.#data = new model.module.MjData(model.raw);
    this.#views = takeViews(this.#data);
  }

  /** Views that are valid now. Read this again after anything that may allocate. */
  get views(): PhysicsViews {
    if (this.#views.qpos.length === 0) this.#views = takeViews(this.#data);
    return this.#views;
  }

  /** Return to the scene's default pose at rest. */
  reset(): void {
    this.model.module.mj_resetData(this.model.raw, this.#data);
  }

  /**
   * Advance the simulation. Geom, site and camera poses then lag by one time step: call
   * {@link updatePoses} before reading them.
   *
   * @param count Time steps.
   */
  step(count: number): void {
    const { module, raw } = this.model;
    for (let i = 0; i < count; i++) module.mj_step(raw, this.#data);
  }

  /** Recompute everything that follows from positions, velocities and controls. */
  forward(): void {
    this.model.module.mj_forward(this.model.raw, this.#data);
  }

  /** Recompute only the poses of bodies, geoms, sites and cameras. */
  updatePoses(): void {
    const { module, raw } = this.model;
    module.mj_kinematics(raw, this.#data);
    module.mj_camlight(raw, this.#data);
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

/** MuJoCo types its views as `any`; this is where they get their types. */
function takeViews(data: MjData): PhysicsViews {
  return {
    qpos: data.qpos,
    qvel: data.qvel,
    ctrl: data.ctrl,
    qfrcBias: data.qfrc_bias,
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
