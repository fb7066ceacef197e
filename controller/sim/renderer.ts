/**
 * Renders a MuJoCo scene's primitive shapes to RGB on the CPU.
 *
 * MuJoCo's WebAssembly build has no renderer. This one casts a ray per pixel of each shape's
 * projected rectangle (see `ray.ts`), with a z-buffer, one light from above and a constant
 * background. For a camera that cannot move, the shapes that cannot move either are drawn once and
 * kept as colour and depth.
 *
 * @module
 */

import type { PhysicsData, PhysicsModel, PhysicsViews } from "./mujoco.ts";
import {
  createShape,
  drawBox,
  drawCylinder,
  drawEllipsoid,
  drawPlane,
  type Frame,
  NEAR_M,
} from "./ray.ts";

/** MuJoCo's `mjtGeom` numbers of the shapes that can be drawn. */
const GEOM = { plane: 0, sphere: 2, capsule: 3, ellipsoid: 4, cylinder: 5, box: 6 } as const;

/** Direction towards the light, in the world: from above, a little from the front left. */
const LIGHT = normalise([-0.3, -0.45, 1]);

/** Colour where no shape is. */
const BACKGROUND = [135, 150, 170] as const;

/** What does not change when a fixed camera looks at fixed shapes. */
interface StillPicture {
  readonly rgb: Uint8Array;
  readonly depth: Float32Array;
}

/** Draws the cameras of one scene at one size. One renderer may serve many states of the scene. */
export class Renderer {
  /** Width and height of the pictures, in pixels. */
  readonly size: number;
  readonly #geomTypes: Int32Array;
  readonly #geomSizes: Float64Array;
  readonly #geomColours: Float64Array;
  readonly #movingGeoms: Int32Array;
  readonly #stillGeoms: Int32Array;
  readonly #slopes: Float64Array;
  readonly #isCameraFixed: readonly boolean[];
  readonly #stillPictures = new Map<number, StillPicture>();
  readonly #frame: Frame;
  readonly #shape = createShape();

  /**
   * Copy what the pictures need out of a scene.
   *
   * @param model The scene.
   * @param size Width and height of the pictures, 1–4096 pixels.
   * @throws {RangeError} The size is out of range or a visible shape cannot be drawn.
   */
  constructor(model: PhysicsModel, size: number) {
    if (!Number.isInteger(size) || size < 1 || size > 4096) {
      throw new RangeError(`Cannot render at ${size} pixels: choose an integer in 1–4096`);
    }
    this.size = size;
    const { geomType, geomSize, geomRgba, geomBody, camFovy, camBody } = model.arrays;
    this.#geomTypes = geomType;
    this.#geomSizes = geomSize;
    this.#geomColours = Float64Array.from(
      { length: 3 * geomType.length },
      (_, i) => 255 * geomRgba[4 * Math.floor(i / 3) + (i % 3)],
    );
    const isStill = bodiesThatCannotMove(model);
    const drawable: readonly number[] = Object.values(GEOM);
    const visible = Array.from(geomType.keys()).filter((geom) => geomRgba[4 * geom + 3] > 0);
    for (const geom of visible) {
      if (!drawable.includes(geomType[geom])) {
        throw new RangeError(
          `Cannot render geom ${geom}: its MuJoCo type is ${geomType[geom]}, expected one of ` +
            `${Object.entries(GEOM).map(([name, number]) => `${number} (${name})`).join(", ")}`,
        );
      }
    }
    this.#stillGeoms = Int32Array.from(visible.filter((geom) => isStill[geomBody[geom]]));
    this.#movingGeoms = Int32Array.from(visible.filter((geom) => !isStill[geomBody[geom]]));
    this.#slopes = camFovy.map((degrees) => Math.tan(degrees * Math.PI / 360) * 2 / size);
    this.#isCameraFixed = Array.from(camBody, (body) => isStill[body]);
    this.#frame = {
      size,
      slope: 0,
      depth: new Float32Array(size * size),
      rgb: new Uint8Array(0),
    };
  }

  /**
   * Draw what a camera sees. The state's poses must be up to date (`updatePoses()`).
   *
   * @param data A state of this renderer's scene.
   * @param camera The camera's number in the scene.
   * @param out Receives the picture `[size, size, 3]`, rows from top to bottom.
   * @returns `out`.
   * @throws {RangeError} `out` has another length.
   */
  render(
    data: PhysicsData,
    camera: number,
    out: Uint8Array = new Uint8Array(3 * this.size * this.size),
  ): Uint8Array {
    const frame = this.#frame;
    if (out.length !== 3 * this.size * this.size) {
      throw new RangeError(
        `Cannot render into ${out.length} bytes: ${this.size}×${this.size} RGB needs ` +
          `${3 * this.size * this.size}`,
      );
    }
    const views = data.views;
    frame.slope = this.#slopes[camera];
    frame.rgb = out;
    if (this.#isCameraFixed[camera]) {
      let still = this.#stillPictures.get(camera);
      if (still === undefined) {
        this.#drawBackground();
        this.#drawGeoms(views, camera, this.#stillGeoms);
        still = { rgb: out.slice(), depth: frame.depth.slice() };
        this.#stillPictures.set(camera, still);
      } else {
        out.set(still.rgb);
        frame.depth.set(still.depth);
      }
    } else {
      this.#drawBackground();
      this.#drawGeoms(views, camera, this.#stillGeoms);
    }
    this.#drawGeoms(views, camera, this.#movingGeoms);
    return out;
  }

  #drawBackground(): void {
    const { rgb, depth } = this.#frame;
    depth.fill(Infinity);
    for (let i = 0; i < rgb.length; i += 3) {
      rgb[i] = BACKGROUND[0];
      rgb[i + 1] = BACKGROUND[1];
      rgb[i + 2] = BACKGROUND[2];
    }
  }

  #drawGeoms(views: PhysicsViews, camera: number, geoms: Int32Array): void {
    for (let i = 0; i < geoms.length; i++) {
      const geom = geoms[i];
      if (!this.#placeGeom(views, camera, geom)) continue;
      switch (this.#geomTypes[geom]) {
        case GEOM.plane:
          drawPlane(this.#frame, this.#shape);
          break;
        case GEOM.box:
          drawBox(this.#frame, this.#shape);
          break;
        case GEOM.cylinder:
          drawCylinder(this.#frame, this.#shape, false);
          break;
        case GEOM.capsule:
          drawCylinder(this.#frame, this.#shape, true);
          break;
        default:
          drawEllipsoid(this.#frame, this.#shape);
      }
    }
  }

  /** Bring a geom into the camera's frame and project it. False: nothing of it is in the picture. */
  #placeGeom(views: PhysicsViews, camera: number, geom: number): boolean {
    const { geomXpos, geomXmat, camXpos, camXmat } = views;
    const { toLocal, origin, half, light, colour } = this.#shape;
    const g = 9 * geom, c = 9 * camera;
    const px = camXpos[3 * camera] - geomXpos[3 * geom];
    const py = camXpos[3 * camera + 1] - geomXpos[3 * geom + 1];
    const pz = camXpos[3 * camera + 2] - geomXpos[3 * geom + 2];
    for (let i = 0; i < 3; i++) {
      // Column i of the geom's orientation is its axis i in the world.
      const ax = geomXmat[g + i], ay = geomXmat[g + 3 + i], az = geomXmat[g + 6 + i];
      for (let j = 0; j < 3; j++) {
        toLocal[3 * i + j] = ax * camXmat[c + j] + ay * camXmat[c + 3 + j] +
          az * camXmat[c + 6 + j];
      }
      origin[i] = ax * px + ay * py + az * pz;
      light[i] = ax * LIGHT[0] + ay * LIGHT[1] + az * LIGHT[2];
      colour[i] = this.#geomColours[3 * geom + i];
    }
    const s = this.#geomSizes, at = 3 * geom;
    const type = this.#geomTypes[geom];
    if (type === GEOM.plane) {
      this.#shape.rect.set([0, 0, this.size, this.size]);
      return true;
    }
    if (type === GEOM.sphere) half.fill(s[at]);
    else if (type === GEOM.capsule || type === GEOM.cylinder) {
      half[0] = half[1] = s[at];
      half[2] = s[at + 1];
    } else half[0] = s[at], half[1] = s[at + 1], half[2] = s[at + 2];
    return this.#project(half[2] + (type === GEOM.capsule ? half[0] : 0));
  }

  /** Set the shape's pixel rectangle from the corners of its bounding box; false when empty. */
  #project(halfZ: number): boolean {
    const { toLocal: m, origin, half, rect } = this.#shape;
    const { size, slope } = this.#frame;
    let minX = Infinity, maxX = -Infinity, minY = Infinity, maxY = -Infinity;
    let behind = 0;
    for (let corner = 0; corner < 8; corner++) {
      const lx = (corner & 1 ? half[0] : -half[0]) - origin[0];
      const ly = (corner & 2 ? half[1] : -half[1]) - origin[1];
      const lz = (corner & 4 ? halfZ : -halfZ) - origin[2];
      const depth = -(m[2] * lx + m[5] * ly + m[8] * lz);
      if (depth < NEAR_M) {
        behind++;
        continue;
      }
      const x = (m[0] * lx + m[3] * ly + m[6] * lz) / depth;
      const y = (m[1] * lx + m[4] * ly + m[7] * lz) / depth;
      if (x < minX) minX = x;
      if (x > maxX) maxX = x;
      if (y < minY) minY = y;
      if (y > maxY) maxY = y;
    }
    if (behind === 8) return false;
    if (behind > 0) {
      // Part of the box is behind the camera, where projection means nothing: look everywhere.
      rect[0] = rect[1] = 0;
      rect[2] = rect[3] = size;
      return true;
    }
    rect[0] = Math.max(0, Math.floor(minX / slope + size / 2 - 0.5));
    rect[2] = Math.min(size, Math.ceil(maxX / slope + size / 2 + 0.5));
    rect[1] = Math.max(0, Math.floor(size / 2 - maxY / slope - 0.5));
    rect[3] = Math.min(size, Math.ceil(size / 2 - minY / slope + 0.5));
    return rect[0] < rect[2] && rect[1] < rect[3];
  }
}

/** For each body: no joint and no mocap body on its way to the world. */
function bodiesThatCannotMove(model: PhysicsModel): boolean[] {
  const { bodyParent, bodyJointCount, bodyMocap } = model.arrays;
  const isStill: boolean[] = [];
  for (let body = 0; body < bodyParent.length; body++) {
    // Parents come before their children, and the world is its own parent.
    isStill[body] = bodyJointCount[body] === 0 && bodyMocap[body] < 0 &&
      (body === 0 || isStill[bodyParent[body]]);
  }
  return isStill;
}

function normalise(v: readonly number[]): readonly number[] {
  const length = Math.hypot(...v);
  return v.map((x) => x / length);
}
