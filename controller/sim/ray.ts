/**
 * Analytic ray casting of primitive shapes into a z-buffered picture.
 *
 * Every pixel's ray starts at the camera and has direction (x, y, −1) in the camera's frame, so the
 * ray parameter t is the planar depth and goes straight into the z-buffer. In a shape's own frame the
 * direction is linear in x and y; each draw function walks the pixels of the shape's projected
 * rectangle, solves for t and the local normal, and writes a Lambert-shaded colour. Nothing is
 * allocated inside.
 *
 * @module
 */

/** A picture being drawn: colour, depth and the pinhole that maps pixels to rays. */
export interface Frame {
  /** Width and height, in pixels. */
  readonly size: number;
  /** Tangent of half the field of view divided by half the size: ray slope a pixel. */
  slope: number;
  /** Planar depth of each pixel `[size, size]`, in metres; Infinity where nothing was drawn. */
  readonly depth: Float32Array;
  /** Colours `[size, size, 3]`, 0–255. */
  rgb: Uint8Array;
}

/** A shape in the camera's frame, ready to be drawn. Reused from shape to shape. */
export interface Shape {
  /** Rotation camera → shape `[3, 3]`, row-major. */
  readonly toLocal: Float64Array;
  /** The camera's position in the shape's frame, in metres. */
  readonly origin: Float64Array;
  /** Half extents along the shape's axes, in metres (see each draw function). */
  readonly half: Float64Array;
  /** Unit vector towards the light in the shape's frame. */
  readonly light: Float64Array;
  /** Unlit colour, 0–255. */
  readonly colour: Float64Array;
  /** First column, first row, and the column and row after the last. */
  readonly rect: Int32Array;
}

/** Share of the light that comes from everywhere. */
const AMBIENT = 0.5;

/** Rays start to see at this depth, in metres. */
export const NEAR_M = 0.01;

/** A blank shape to fill and draw. */
export function createShape(): Shape {
  return {
    toLocal: new Float64Array(9),
    origin: new Float64Array(3),
    half: new Float64Array(3),
    light: new Float64Array(3),
    colour: new Float64Array(3),
    rect: new Int32Array(4),
  };
}

function put(frame: Frame, pixel: number, t: number, lambert: number, colour: Float64Array): void {
  frame.depth[pixel] = t;
  const shade = AMBIENT + (1 - AMBIENT) * (lambert > 0 ? lambert : 0);
  const at = 3 * pixel;
  frame.rgb[at] = colour[0] * shade;
  frame.rgb[at + 1] = colour[1] * shade;
  frame.rgb[at + 2] = colour[2] * shade;
}

/** Draw an unbounded plane z = 0 that is seen from above only. */
export function drawPlane(frame: Frame, shape: Shape): void {
  const { size, slope, depth } = frame;
  const { toLocal: m, origin, light, colour, rect } = shape;
  if (origin[2] <= 0) return;
  for (let row = rect[1]; row < rect[3]; row++) {
    const y = (size / 2 - row - 0.5) * slope;
    for (let col = rect[0], pixel = row * size + col; col < rect[2]; col++, pixel++) {
      const x = (col + 0.5 - size / 2) * slope;
      const dz = m[6] * x + m[7] * y - m[8];
      if (dz >= 0) continue;
      const t = -origin[2] / dz;
      if (t > NEAR_M && t < depth[pixel]) put(frame, pixel, t, light[2], colour);
    }
  }
}

/** Draw a box of half extents `half`. */
export function drawBox(frame: Frame, shape: Shape): void {
  const { size, slope, depth } = frame;
  const { toLocal: m, origin, half, light, colour, rect } = shape;
  const ox = origin[0], oy = origin[1], oz = origin[2];
  const hx = half[0], hy = half[1], hz = half[2];
  for (let row = rect[1]; row < rect[3]; row++) {
    const y = (size / 2 - row - 0.5) * slope;
    for (let col = rect[0], pixel = row * size + col; col < rect[2]; col++, pixel++) {
      const x = (col + 0.5 - size / 2) * slope;
      const dx = m[0] * x + m[1] * y - m[2];
      const dy = m[3] * x + m[4] * y - m[5];
      const dz = m[6] * x + m[7] * y - m[8];
      // Slabs: a ray is inside after the last entry and before the first exit. Division by zero
      // gives infinities of the right sign.
      const tx = dx > 0 ? (-hx - ox) / dx : (hx - ox) / dx;
      const ty = dy > 0 ? (-hy - oy) / dy : (hy - oy) / dy;
      const tz = dz > 0 ? (-hz - oz) / dz : (hz - oz) / dz;
      let t = tx, lambert = dx > 0 ? -light[0] : light[0];
      if (ty > t) t = ty, lambert = dy > 0 ? -light[1] : light[1];
      if (tz > t) t = tz, lambert = dz > 0 ? -light[2] : light[2];
      if (!(t > NEAR_M && t < depth[pixel])) continue;
      if (t > (dx > 0 ? (hx - ox) / dx : (-hx - ox) / dx)) continue;
      if (t > (dy > 0 ? (hy - oy) / dy : (-hy - oy) / dy)) continue;
      if (t > (dz > 0 ? (hz - oz) / dz : (-hz - oz) / dz)) continue;
      put(frame, pixel, t, lambert, colour);
    }
  }
}

/** Draw an ellipsoid of half axes `half`; a sphere has three equal ones. */
export function drawEllipsoid(frame: Frame, shape: Shape): void {
  const { size, slope, depth } = frame;
  const { toLocal: m, origin, half, light, colour, rect } = shape;
  const ix = 1 / half[0], iy = 1 / half[1], iz = 1 / half[2];
  const ox = origin[0] * ix, oy = origin[1] * iy, oz = origin[2] * iz;
  const c = ox * ox + oy * oy + oz * oz - 1;
  if (c <= 0) return;
  for (let row = rect[1]; row < rect[3]; row++) {
    const y = (size / 2 - row - 0.5) * slope;
    for (let col = rect[0], pixel = row * size + col; col < rect[2]; col++, pixel++) {
      const x = (col + 0.5 - size / 2) * slope;
      const dx = (m[0] * x + m[1] * y - m[2]) * ix;
      const dy = (m[3] * x + m[4] * y - m[5]) * iy;
      const dz = (m[6] * x + m[7] * y - m[8]) * iz;
      const a = dx * dx + dy * dy + dz * dz;
      const b = ox * dx + oy * dy + oz * dz;
      const discriminant = b * b - a * c;
      if (discriminant < 0) continue;
      const t = (-b - Math.sqrt(discriminant)) / a;
      if (!(t > NEAR_M && t < depth[pixel])) continue;
      const nx = (ox + t * dx) * ix, ny = (oy + t * dy) * iy, nz = (oz + t * dz) * iz;
      const lambert = (nx * light[0] + ny * light[1] + nz * light[2]) /
        Math.sqrt(nx * nx + ny * ny + nz * nz);
      put(frame, pixel, t, lambert, colour);
    }
  }
}

/**
 * Draw a cylinder along z with radius `half[0]` and half length `half[2]`.
 *
 * @param isCapsule Close the ends with half spheres instead of flat discs.
 */
export function drawCylinder(frame: Frame, shape: Shape, isCapsule: boolean): void {
  const { size, slope, depth } = frame;
  const { toLocal: m, origin, half, light, colour, rect } = shape;
  const ox = origin[0], oy = origin[1], oz = origin[2];
  const radius = half[0], halfLength = half[2];
  const radius2 = radius * radius;
  const cSide = ox * ox + oy * oy - radius2;
  for (let row = rect[1]; row < rect[3]; row++) {
    const y = (size / 2 - row - 0.5) * slope;
    for (let col = rect[0], pixel = row * size + col; col < rect[2]; col++, pixel++) {
      const x = (col + 0.5 - size / 2) * slope;
      const dx = m[0] * x + m[1] * y - m[2];
      const dy = m[3] * x + m[4] * y - m[5];
      const dz = m[6] * x + m[7] * y - m[8];
      const a = dx * dx + dy * dy;
      const b = ox * dx + oy * dy;
      const discriminant = b * b - a * cSide;
      if (discriminant < 0) continue;
      const tSide = (-b - Math.sqrt(discriminant)) / a;
      const zSide = oz + tSide * dz;
      if (zSide >= -halfLength && zSide <= halfLength) {
        if (tSide > NEAR_M && tSide < depth[pixel]) {
          const lambert = ((ox + tSide * dx) * light[0] + (oy + tSide * dy) * light[1]) / radius;
          put(frame, pixel, tSide, lambert, colour);
        }
        continue;
      }
      if (isCapsule) {
        const end = zSide > 0 ? halfLength : -halfLength;
        const ez = oz - end;
        const bEnd = b + ez * dz, aEnd = a + dz * dz;
        const discriminantEnd = bEnd * bEnd - aEnd * (cSide + ez * ez);
        if (discriminantEnd < 0) continue;
        const t = (-bEnd - Math.sqrt(discriminantEnd)) / aEnd;
        if (!(t > NEAR_M && t < depth[pixel])) continue;
        const lambert = ((ox + t * dx) * light[0] + (oy + t * dy) * light[1] +
          (ez + t * dz) * light[2]) / radius;
        put(frame, pixel, t, lambert, colour);
      } else {
        const side = oz > 0 ? 1 : -1;
        if (dz * side >= 0) continue;
        const t = (side * halfLength - oz) / dz;
        if (!(t > NEAR_M && t < depth[pixel])) continue;
        const hitX = ox + t * dx, hitY = oy + t * dy;
        if (hitX * hitX + hitY * hitY > radius2) continue;
        put(frame, pixel, t, side * light[2], colour);
      }
    }
  }
}
