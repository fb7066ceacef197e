/**
 * Which cameras' pictures have changed since the last look. A missing camera is a black picture each
 * time, and a stuck one repeats itself: neither has to be encoded again.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import type { RgbImage } from "../types.ts";
import type { VisionModel } from "./vision_model.ts";
import { pictureWords } from "./wgsl/patches.ts";

/** Keeps a copy of each camera's last picture. */
export class SeenPictures {
  readonly #imageSize: number;
  /** Filled up to whole words, as the GPU takes them. */
  readonly #kept: readonly Uint8Array<ArrayBuffer>[];
  #isKnown: boolean[];

  /**
   * Nothing has been seen.
   * @param model Size and number of the pictures.
   */
  constructor({ siglip, cameras }: VisionModel) {
    this.#imageSize = siglip.imageSize;
    this.#kept = Array.from({ length: cameras }, () => new Uint8Array(4 * pictureWords(siglip)));
    this.#isKnown = new Array(cameras).fill(false);
  }

  /**
   * Look at a picture of each camera. All bytes are compared (3 µs a picture of 224 × 224: a copy
   * would take longer), so no change is too small.
   *
   * @param images A picture a camera, in order.
   * @returns The cameras whose picture is another than last time, in order.
   * @throws {RangeError} If there is another number of pictures, or one has another size; nothing has
   *   been seen then.
   */
  look(images: readonly RgbImage[]): number[] {
    this.#check(images);
    const changed: number[] = [];
    for (const [camera, { data }] of images.entries()) {
      const kept = this.#kept[camera];
      if (this.#isKnown[camera] && isEqual(kept.subarray(0, data.length), data)) continue;
      kept.set(data);
      this.#isKnown[camera] = true;
      changed.push(camera);
    }
    return changed;
  }

  /**
   * The last picture of a camera, `[height, width, 3]`, filled up with zeros to a multiple of 4 bytes.
   * @param camera 0…cameras − 1.
   */
  bytes(camera: number): Uint8Array<ArrayBuffer> {
    return this.#kept[camera];
  }

  /** Take every picture for new next time. */
  forget(): void {
    this.#isKnown.fill(false);
  }

  #check(images: readonly RgbImage[]): void {
    const cameras = this.#kept.length;
    const size = this.#imageSize;
    if (images.length !== cameras) {
      throw new RangeError(
        `Cannot encode ${images.length} pictures: the policy has ${cameras} cameras`,
      );
    }
    for (const [camera, { width, height, data }] of images.entries()) {
      if (width === size && height === size && data.length === size * size * 3) continue;
      throw new RangeError(
        `Cannot encode the picture of camera ${camera}: it is ${width}×${height} with ` +
          `${data.length} bytes, the policy sees ${size}×${size} with ${
            size * size * 3
          }; resize it first`,
      );
    }
  }
}

function isEqual(a: Uint8Array<ArrayBuffer>, b: Uint8Array): boolean {
  return Buffer.from(a.buffer, a.byteOffset, a.length).equals(b);
}
