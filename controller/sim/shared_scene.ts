/**
 * One compiled scene and its renderers, shared by every environment of a task in this process.
 *
 * @module
 */

import { CAMERA_NAMES } from "../../common/types.ts";
import { loadMujoco, type PhysicsModel } from "./mujoco.ts";
import { Renderer } from "./renderer.ts";
import { sceneXml } from "./scene.ts";
import type { TaskName } from "./task_names.ts";

const openScenes = new Map<TaskName, SharedScene>();

/** A compiled scene that counts its users; the last one frees it. */
export class SharedScene implements Disposable {
  /** The compiled scene. */
  readonly model: PhysicsModel;
  /** Numbers of the cameras in the scene, in the order of `CAMERA_NAMES`. */
  readonly cameraIds: readonly number[];
  readonly #task: TaskName;
  readonly #renderers = new Map<number, Renderer>();
  #users = 0;

  private constructor(task: TaskName, model: PhysicsModel) {
    this.#task = task;
    this.model = model;
    this.cameraIds = CAMERA_NAMES.map((name) => model.id("camera", name));
  }

  /**
   * Use the scene of a task. Every call needs one disposal.
   *
   * @param task Which scene.
   * @returns The scene that all users of the task share.
   */
  static async open(task: TaskName): Promise<SharedScene> {
    const mujoco = await loadMujoco();
    // Nothing is awaited from here on, so two openers cannot both compile.
    let scene = openScenes.get(task);
    if (scene === undefined) {
      scene = new SharedScene(task, mujoco.compile(sceneXml(task)));
      openScenes.set(task, scene);
    }
    scene.#users++;
    return scene;
  }

  /**
   * The renderer of a picture size.
   *
   * @param size Width and height in pixels.
   * @returns The renderer that all users of the size share.
   */
  renderer(size: number): Renderer {
    let renderer = this.#renderers.get(size);
    if (renderer === undefined) {
      renderer = new Renderer(this.model, size);
      this.#renderers.set(size, renderer);
    }
    return renderer;
  }

  /** Stop using the scene; the last user frees it. */
  [Symbol.dispose](): void {
    if (--this.#users > 0) return;
    openScenes.delete(this.#task);
    this.model[Symbol.dispose]();
  }
}
